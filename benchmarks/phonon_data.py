"""The target's part of the phonon benchmark: its labels, its Hessian, and what phonons follow from force constants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mace  # noqa: F401  # before e3nn
import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.optimize import BFGS
from ase.spacegroup import crystal
from ase.stress import full_3x3_to_voigt_6_stress
from phonopy import Phonopy
from phonopy.harmonic.force_constants import compact_fc_to_full_fc
from phonopy.structure.atoms import PhonopyAtoms

from aiida_slhmc.standin.potential import SPECIES, VARIANTS, evaluate, md_frames
from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
from aiida_slhmc.worker.dataset import frame_graphs, make_graph, read_block
from aiida_slhmc.worker.evaluation import evaluate as evaluate_model
from aiida_slhmc.worker.evaluation import make_batches, make_loss
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.hessian import hessian_columns

FUNCTIONAL = "pbe"
SUPERCELL, MESH = ((1, 1, 0), (-1, 1, 0), (0, 0, 2)), (4, 4, 6)  # √2 × √2 × 2
DISPLACEMENT, DIFFERENCE = 0.01, 1e-3  # Å: of phonopy's supercells, of the exact differences
TEMPERATURE = 300.0  # K
CUTOFF = 0.1  # THz: lower modes, such as the three of zero frequency, are not in the free energy
N_THERMAL, N_TEST = 6, 20
STEPS_PER_FRAME = 200  # of 1 fs


@dataclass
class Phonons:
    """Frequencies (THz) on the mesh's irreducible points, their weights, and the free energy (kJ/mol of unit cells)."""

    frequencies: np.ndarray  # (n_points, n_bands)
    weights: np.ndarray  # (n_points,)
    free_energy: float


def labelled(atoms: Atoms) -> Atoms:
    """A copy with the target's energy, forces and stress."""
    atoms = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell.array, pbc=True)
    values = evaluate(atoms, VARIANTS[FUNCTIONAL])
    atoms.calc = SinglePointCalculator(atoms, energy=values.energy, forces=values.forces, stress=values.stress)
    atoms.info |= {"functional": FUNCTIONAL, "engine": "stand-in"}
    return atoms


def relaxed_unit_cell() -> Atoms:
    """Six atoms of rutile at rest under the target."""
    atoms = crystal(SPECIES, [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.65, 4.65, 3.0, 90, 90, 90])
    atoms = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell.array, pbc=True)
    atoms.calc = _Target()
    BFGS(FrechetCellFilter(atoms, mask=[True, True, True, False, False, False]), logfile=None).run(fmax=1e-4, steps=60)
    return atoms


def phonopy_of(unit: Atoms) -> Phonopy:
    """Phonopy's object for the supercell."""
    cell = PhonopyAtoms(symbols=unit.get_chemical_symbols(), cell=unit.cell.array, positions=unit.positions)
    return Phonopy(cell, SUPERCELL, primitive_matrix="P")


def to_ase(cell: PhonopyAtoms) -> Atoms:
    """The same for ASE."""
    return Atoms(cell.symbols, positions=cell.positions, cell=cell.cell, pbc=True)


def exact_force_constants(phonons: Phonopy) -> np.ndarray:
    """The target's Hessian: central differences for all atoms and axes of the unit cell, repeated by translation."""
    supercell, compact = to_ase(phonons.supercell), []
    for atom in phonons.primitive.p2s_map:
        rows = []
        for axis in range(3):
            forces = []
            for sign in (1, -1):
                moved = supercell.copy()
                moved.positions[atom, axis] += sign * DIFFERENCE
                forces.append(evaluate(moved, VARIANTS[FUNCTIONAL]).forces)
            rows.append(-(forces[0] - forces[1]) / (2 * DIFFERENCE))
        compact.append(np.stack(rows, axis=1))  # (n, 3 of the displaced, 3)
    return expand(phonons, np.array(compact))


def model_force_constants(phonons: Phonopy, checkpoint: Path) -> np.ndarray:
    """The same of a model, by Hessian-vector products."""
    model = load_checkpoint(checkpoint)
    graph = make_batches([make_graph(to_ase(phonons.supercell), model)], 1, torch.device("cpu"))[0].to_dict()
    columns = [3 * int(atom) + axis for atom in phonons.primitive.p2s_map for axis in range(3)]
    found = torch.stack(hessian_columns(model, graph, columns, differentiable=False)).numpy()
    return expand(phonons, found.reshape(-1, 3, len(phonons.supercell), 3).transpose(0, 2, 1, 3))


def expand(phonons: Phonopy, compact: np.ndarray) -> np.ndarray:
    """Rows of the unit cell's atoms repeated by translation, with the noise of differences symmetrised away."""
    full = compact_fc_to_full_fc(phonons.primitive, np.ascontiguousarray(compact))
    return (full + full.transpose(1, 0, 3, 2)) / 2


def phonons_of(phonons: Phonopy, constants: np.ndarray) -> Phonons:
    """Frequencies and free energy of force constants."""
    phonons.force_constants = constants
    phonons.run_mesh(MESH, is_gamma_center=True)
    phonons.run_thermal_properties(temperatures=[TEMPERATURE], cutoff_frequency=CUTOFF)
    free_energy = float(phonons.get_thermal_properties_dict()["free_energy"][0])
    mesh = phonons.get_mesh_dict()
    return Phonons(mesh["frequencies"].copy(), mesh["weights"].copy(), free_energy)


class Data:
    """All evaluations of the target, made once and kept in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        if not (folder / "exact.npy").is_file():
            self._make()
        self.phonons = phonopy_of(read(folder / "unit.extxyz"))
        self.phonons.generate_displacements(distance=DISPLACEMENT)
        self.exact = phonons_of(self.phonons, np.load(folder / "exact.npy"))

    def _make(self) -> None:
        unit = relaxed_unit_cell()
        write(self.folder / "unit.extxyz", Atoms(unit.symbols, positions=unit.positions, cell=unit.cell, pbc=True))
        phonons = phonopy_of(read(self.folder / "unit.extxyz"))
        phonons.generate_displacements(distance=DISPLACEMENT)
        displaced = [labelled(to_ase(cell)) for cell in phonons.supercells_with_displacements]
        frames = md_frames(
            to_ase(phonons.supercell),
            VARIANTS[FUNCTIONAL],
            self.folder / "md",
            temperature=TEMPERATURE,
            n_frames=N_THERMAL + N_TEST,
            steps_per_frame=STEPS_PER_FRAME,
        )
        frames = [labelled(atoms) for atoms in frames]
        write(self.folder / "displaced.extxyz", displaced)
        write(self.folder / "thermal.extxyz", frames[:N_THERMAL])
        write(self.folder / "test.extxyz", frames[N_THERMAL:])
        phonons.forces = [atoms.get_forces() for atoms in displaced]
        phonons.produce_force_constants(show_drift=False)
        phonons.symmetrize_force_constants(show_drift=False)
        supercell = phonons.supercell
        np.savez(
            self.folder / "force_constants.npz",
            numbers=supercell.numbers,
            positions=supercell.positions,
            cell=supercell.cell,
            force_constants=phonons.force_constants,
        )
        np.save(self.folder / "exact.npy", exact_force_constants(phonons))

    def report(self, checkpoint: Path) -> dict[str, float]:
        """Errors of a model's phonons and of its forces on the test configurations."""
        with default_dtype(torch.float64):
            found = phonons_of(self.phonons, model_force_constants(self.phonons, checkpoint))
            model = load_checkpoint(checkpoint)
            graphs = frame_graphs(read_block(self.folder / "test.extxyz", list(SPECIES)), model)
            batches = make_batches(graphs, 10, torch.device("cpu"))
            errors = evaluate_model(model, batches, make_loss(FineTuneParameters()), stress=True)
        return compare(found, self.exact) | {"force_rmse": errors.force_rmse_mev_per_angstrom}

    def phonopy_report(self) -> dict[str, float]:
        """Errors of the force constants that are trained on."""
        constants = np.load(self.folder / "force_constants.npz")["force_constants"]
        return compare(phonons_of(self.phonons, constants), self.exact) | {"force_rmse": float("nan")}


def compare(found: Phonons, exact: Phonons) -> dict[str, float]:
    """Errors of the frequencies (THz) and of the free energy (meV per unit cell)."""
    difference = found.frequencies - exact.frequencies
    return {
        "frequency_rmse": float(np.sqrt(np.average(np.mean(difference**2, axis=1), weights=exact.weights))),
        "frequency_max": float(np.abs(difference).max()),
        "lowest": float(found.frequencies.min()),
        "free_energy": 1000 / 96.48533 * (found.free_energy - exact.free_energy),
    }


class _Target(Calculator):
    """The target for ASE's relaxation."""

    implemented_properties = ["energy", "forces", "stress"]

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = tuple(all_changes)
    ) -> None:
        """All of them at once."""
        super().calculate(atoms, properties, system_changes)
        values = evaluate(self.atoms, VARIANTS[FUNCTIONAL])
        stress = full_3x3_to_voigt_6_stress(values.stress)
        self.results = {"energy": values.energy, "forces": values.forces, "stress": stress}

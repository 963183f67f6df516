"""What the Hessian term is for: better phonons from the same labels, and worse ones from wrong force constants."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.spacegroup import crystal
from worker_examples import write_block, write_parameters

from aiida_slhmc.standin.potential import VARIANTS, evaluate
from aiida_slhmc.worker.checkpoint import load_checkpoint
from aiida_slhmc.worker.dataset import make_graph
from aiida_slhmc.worker.evaluation import make_batches
from aiida_slhmc.worker.fine_tune import run
from aiida_slhmc.worker.hessian import hessian_columns

phonopy = pytest.importorskip("phonopy")

FOUNDATION = Path(__file__).parents[2] / "examples" / "foundation" / "foundation.safetensors"
TERAHERTZ = 15.633302  # of the square root of 1 eV/(Å² u), divided by 2π
DISPLACEMENT = 0.01  # Å
N_THERMAL, N_EPOCHS = 3, 14


def labelled(atoms: Atoms, variant: str) -> Atoms:
    atoms = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell.array, pbc=True)
    values = evaluate(atoms, VARIANTS[variant])
    atoms.calc = SinglePointCalculator(atoms, energy=values.energy, forces=values.forces, stress=values.stress)
    return atoms


def frequencies(constants: np.ndarray, atoms: Atoms) -> np.ndarray:
    """Those of the supercell in THz, imaginary ones negative."""
    roots = np.sqrt(atoms.get_masses())
    dynamical = (constants / (roots[:, None] * roots)[:, :, None, None]).transpose(0, 2, 1, 3)
    values = np.linalg.eigvalsh(dynamical.reshape(3 * len(atoms), -1))
    return np.sign(values) * np.sqrt(np.abs(values)) * TERAHERTZ


class Rutile:
    """Twelve atoms: thermal configurations, displaced supercells and the force constants made of them."""

    def __init__(self) -> None:
        cell = crystal(
            ["Ti", "O"], [(0, 0, 0), (0.3042, 0.3042, 0)], spacegroup=136, cellpar=[4.66, 4.66, 2.995, 90, 90, 90]
        )
        unit = phonopy.structure.atoms.PhonopyAtoms(
            symbols=cell.get_chemical_symbols(), cell=cell.cell.array, positions=cell.positions
        )
        self.phonons = phonopy.Phonopy(unit, np.diag([1, 1, 2]), primitive_matrix="P")
        self.phonons.generate_displacements(distance=DISPLACEMENT)
        self.atoms = self._to_ase(self.phonons.supercell)
        generator = np.random.default_rng(7)
        moved = []
        for _ in range(N_THERMAL):
            moved.append(self.atoms.copy())
            moved[-1].positions += generator.normal(0, 0.06, self.atoms.positions.shape)
        self.thermal = [labelled(atoms, "pbe") for atoms in moved]
        self.displaced = [labelled(atoms, "pbe") for atoms in self._displaced()]
        self.constants = {"pbe": self._constants(self.displaced)}
        self.constants["matsui_akaogi"] = self._constants(
            [labelled(atoms, "matsui_akaogi") for atoms in self._displaced()]
        )

    def _to_ase(self, cell) -> Atoms:
        return Atoms(cell.symbols, positions=cell.positions, cell=cell.cell, pbc=True)

    def _displaced(self) -> list[Atoms]:
        return [self._to_ase(cell) for cell in self.phonons.supercells_with_displacements]

    def _constants(self, frames: list[Atoms]) -> np.ndarray:
        self.phonons.forces = [atoms.get_forces() for atoms in frames]
        self.phonons.produce_force_constants(show_drift=False)
        self.phonons.symmetrize_force_constants(show_drift=False)
        return self.phonons.force_constants.copy()

    def train(self, folder: Path, variant: str | None) -> dict:
        """Fine-tune the foundation on all labels, and on force constants if asked for."""
        (folder / "datasets").mkdir(parents=True)
        write_block(folder / "datasets" / "block_000.extxyz", [*self.thermal, *self.displaced])
        shutil.copy(FOUNDATION, folder / "model.safetensors")
        options = {"max_epochs": N_EPOCHS, "batch_size": 2, "scheduler": "cosine", "gate_factor": None}
        if variant is not None:
            (folder / "force_constants").mkdir()
            arrays = {"numbers": self.atoms.numbers, "positions": self.atoms.positions, "cell": self.atoms.cell.array}
            np.savez(folder / "force_constants" / "rutile.npz", **arrays, force_constants=self.constants[variant])
            options["hessian"] = {"weight": 10.0, "n_columns": 2}
        write_parameters(folder, **options)
        return run(folder)

    def error(self, checkpoint: Path) -> float:
        """Root-mean-square error of a model's frequencies in THz."""
        model = load_checkpoint(checkpoint)
        graph = make_batches([make_graph(self.atoms, model)], 1, torch.device("cpu"))[0].to_dict()
        columns = hessian_columns(model, graph, range(3 * len(self.atoms)), differentiable=False)
        found = torch.stack(columns).numpy().reshape(len(self.atoms), 3, -1, 3).transpose(0, 2, 1, 3)
        difference = frequencies(found, self.atoms) - frequencies(self.constants["pbe"], self.atoms)
        return float(np.sqrt(np.mean(difference**2)))


@pytest.fixture(scope="module")
def rutile() -> Rutile:
    return Rutile()


@pytest.mark.slow
def test_force_constants_bring_the_phonons_closer(rutile: Rutile, tmp_path: Path):
    """Fails where the term does not reach the training, or teaches something else than the force constants given.

    All three trainings have the same labels; the control has force constants of the foundation's own potential.
    """
    errors = {"foundation": rutile.error(FOUNDATION)}
    for name, variant in (("without", None), ("with", "pbe"), ("wrong", "matsui_akaogi")):
        metrics = rutile.train(tmp_path / name, variant)
        assert metrics["status"] == "finished", metrics["message"]
        assert ("force_constants" in metrics) == (variant is not None)
        errors[name] = rutile.error(tmp_path / name / "trained.safetensors")

    assert errors["with"] < 0.8 * errors["without"]
    assert errors["without"] < errors["wrong"]
    # so short a training ends elsewhere on each machine: 0.12 of it was seen
    assert errors["with"] < 0.2 * errors["foundation"]

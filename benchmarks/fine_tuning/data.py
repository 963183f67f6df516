"""Labelled configurations of a stand-in functional, for what the other files here measure.

    python benchmarks/fine_tuning/data.py          # prints the cells below, measured again

12-atom rutile (1x1x2): molecular dynamics of LAMMPS with the functional's own potential at 300 K, in its own cell at
that temperature or in cells around it. The stand-ins are rigid-ion potentials, no DFT. The same seed gives the same
configurations.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.spacegroup import crystal
from numpy.typing import NDArray

from aiida_slhmc.standin.potential import (
    BAR_TO_EV_PER_CUBIC_ANGSTROM,
    SPECIES,
    VARIANTS,
    data_file,
    run_lammps,
    setup_commands,
)

__all__ = ("CELLS", "FOUNDATION", "FOUNDATION_FUNCTIONAL", "ROOT", "configurations", "rutile", "write_block")

ROOT = Path(__file__).resolve().parents[2]
FOUNDATION = ROOT / "examples" / "foundation" / "foundation.safetensors"
FOUNDATION_FUNCTIONAL = "matsui_akaogi"  # what the foundation was trained on
TEMPERATURE = 300.0  # K
# a and c (Å) of the unit cell: means of NPT at 300 K and 1 bar, by :func:`mean_cell`
CELLS = {
    "matsui_akaogi": (4.500, 3.018),
    "pbe": (4.678, 3.007),
    "r2scan": (4.598, 2.990),
    "hse06": (4.595, 2.975),
}
REPEATS = (1, 1, 2)


def rutile(functional: str, repeats: tuple[int, int, int] = REPEATS) -> Atoms:
    """Ideal rutile in the functional's own cell, titanium first."""
    a, c = CELLS[functional]
    unit = crystal(SPECIES, [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[a, a, c, 90, 90, 90])
    cell = Atoms(unit.symbols, positions=unit.positions, cell=unit.cell.array, pbc=True) * repeats
    return cell[np.argsort(cell.numbers == 8, kind="stable")]


def configurations(
    functional: str,
    n_frames: int,
    *,
    seed: int,
    strain: float = 0.0,
    stretch: Sequence[float] | None = None,
    steps_per_frame: int = 200,
) -> list[Atoms]:
    """Frames of molecular dynamics with their energies, forces and stresses.

    :param functional: one of the stand-in's variants
    :param seed: of the velocities and the strains
    :param strain: standard deviation of the strain of each cell length, drawn anew for each frame
    :param stretch: of each frame, a factor of all cell lengths; 1 where it is not given
    :param steps_per_frame: of 1 fs, between frames; 2 ps come before the first
    """
    atoms, random = rutile(functional), np.random.default_rng(seed)
    factors = 1 + strain * random.standard_normal((n_frames, 3))
    factors *= np.ones((n_frames, 1)) if stretch is None else np.asarray(stretch)[:, None]
    commands = [
        setup_commands("data", VARIANTS[functional]),
        "timestep 0.001",
        f"velocity all create {2 * TEMPERATURE} {random.integers(1, 10**6)} mom yes dist gaussian",
        f"fix md all nvt temp {TEMPERATURE} {TEMPERATURE} 0.1",
        "compute virial all pressure NULL virial",
        "thermo_style custom step pe c_virial[*]",
        "thermo_modify norm no",
        "run 2000",
    ]
    for index, lengths in enumerate(factors * atoms.cell.lengths()):
        commands += _frame_commands(index, lengths, steps_per_frame)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").write_text(data_file(atoms, Prism(atoms.cell.array)))
        run_lammps(folder, "\n".join(commands))
        return [_read_frame(folder, index, functional) for index in range(n_frames)]


def write_block(path: Path, frames: list[Atoms]) -> None:
    """Write frames as a block that the fine-tuning reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, frames, format="extxyz")


def mean_cell(functional: str, *, steps: int = 8000) -> tuple[float, float]:
    """Mean a and c (Å) of the unit cell in NPT at 300 K and 1 bar: 72 atoms, steps of 2 fs after 4 ps."""
    repeats = (2, 2, 3)
    atoms = rutile(functional, repeats)
    commands = (
        setup_commands("data", VARIANTS[functional]),
        "timestep 0.002",
        f"velocity all create {2 * TEMPERATURE} 2026 mom yes dist gaussian",
        f"fix md all npt temp {TEMPERATURE} {TEMPERATURE} 0.1 aniso 1 1 0.5",
        "run 2000",
        "fix lengths all print 10 '$(lx) $(ly) $(lz)' file lengths title '#' screen no",
        f"run {steps}",
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").write_text(data_file(atoms, Prism(atoms.cell.array)))
        run_lammps(folder, "\n".join(commands))
        x, y, z = np.loadtxt(folder / "lengths").mean(axis=0) / repeats
    return float((x + y) / 2), float(z)


def _frame_commands(index: int, lengths: NDArray[np.float64], steps: int) -> list[str]:
    """Deform the cell, run on, and write the last step."""
    new = " ".join(f"{axis} final 0 {length:.10f}" for axis, length in zip("xyz", lengths, strict=True))
    names = ("pe", *(f"c_virial[{component}]" for component in range(1, 7)))
    labels = " ".join(f"$({name}:%.17g)" for name in names)
    return [
        f"change_box all {new} remap units box",
        f"run {steps}",
        f'print "{labels}" file labels_{index} screen no',
        f"write_dump all custom frame_{index} id element xu yu zu fx fy fz"
        f" modify sort id format float %.17g element {' '.join(SPECIES)}",
    ]


def _read_frame(folder: Path, index: int, functional: str) -> Atoms:
    """A frame of LAMMPS with its labels in ASE's units and signs."""
    raw = read(folder / f"frame_{index}", format="lammps-dump-text")
    assert isinstance(raw, Atoms)
    energy, xx, yy, zz, xy, xz, yz = np.loadtxt(folder / f"labels_{index}")
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    atoms = Atoms(raw.symbols, positions=raw.positions, cell=raw.cell.array, pbc=True)
    stress = -BAR_TO_EV_PER_CUBIC_ANGSTROM * pressure
    atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=raw.get_forces(), stress=stress)
    atoms.info |= {"functional": functional, "engine": "stand-in"}
    return atoms


def main() -> None:
    """Measure the cells."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for functional in VARIANTS:
        a, c = mean_cell(functional)
        print(f'    "{functional}": ({a:.3f}, {c:.3f}),', flush=True)


if __name__ == "__main__":
    main()

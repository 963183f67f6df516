from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal

from aiida_slhmc.standin import main
from aiida_slhmc.standin.potcar import write_potcar_family

DATA_SETS = {"Ti": "Ti_pv", "O": "O"}


@pytest.fixture
def rutile() -> Atoms:
    """Six atoms of rutile off their sites, in a cell without symmetry, species sorted."""
    atoms = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.64, 4.64, 2.99, 90, 90, 90])
    atoms = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    shear = np.array([[0.0, 0.1, 0.0], [0.3, 0.0, -0.1], [-0.2, 0.15, 0.1]])
    atoms.set_cell(atoms.cell.array + shear, scale_atoms=True)
    atoms.positions += np.random.default_rng(1).normal(0, 0.05, (6, 3))
    return atoms


@dataclass
class Run:
    """A folder where the stand-in runs, with what it wrote there."""

    folder: Path
    potcars: Path
    executable: Path

    def write_inputs(self, atoms: Atoms, **incar: object) -> None:
        """Write the four input files, POSCAR and POTCAR with a group for each run of equal neighbours."""
        groups = [(symbol, len(list(run))) for symbol, run in groupby(atoms.get_chemical_symbols())]
        lines = ["test", "1.0", *(" ".join(f"{x:.17g}" for x in vector) for vector in atoms.cell.array)]
        lines += [" ".join(g[0] for g in groups), " ".join(str(g[1]) for g in groups), "Cartesian"]
        lines += [" ".join(f"{x:.17g}" for x in position) for position in atoms.positions]
        (self.folder / "POSCAR").write_text("\n".join(lines) + "\n")
        potcars = [(self.potcars / DATA_SETS[symbol] / "POTCAR").read_text() for symbol, _ in groups]
        (self.folder / "POTCAR").write_text("".join(potcars))
        (self.folder / "KPOINTS").write_text("mesh\n0\nGamma\n2 2 3\n0 0 0\n")
        tags = {"EDIFF": "1E-6", "ISMEAR": 0, "SIGMA": 0.05, **incar}
        (self.folder / "INCAR").write_text("".join(f"{tag} = {value}\n" for tag, value in tags.items()))

    def compute(self, atoms: Atoms, environment: dict[str, str] | None = None, **incar: object) -> None:
        """Write the input files and run the stand-in on them within this process."""
        self.write_inputs(atoms, **incar)
        main.run(self.folder, environment or {})

    def program(self, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the installed program in the folder."""
        return subprocess.run(
            [self.executable], cwd=self.folder, env=environment or {}, capture_output=True, text=True, check=False
        )

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def array(self, name: str) -> np.ndarray:
        """A table of vasprun.xml's calculation: forces (eV/Å) or stress (kB)."""
        xml = ElementTree.fromstring(self.text("vasprun.xml"))
        return np.array(
            [[float(x) for x in v.text.split()] for v in xml.findall(f"calculation/varray[@name='{name}']/v")]
        )

    def energy(self, name: str) -> float:
        """One of the final energies (eV) in vasprun.xml."""
        xml = ElementTree.fromstring(self.text("vasprun.xml"))
        return float(xml.find(f"calculation/energy/i[@name='{name}']").text)


@pytest.fixture(scope="session")
def program() -> Path:
    """The installed ``vasp-standin``."""
    return Path(sys.executable).parent / "vasp-standin"


@pytest.fixture(scope="session")
def potcar_family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("potcars") / "dummy"
    write_potcar_family(folder)
    return folder


@pytest.fixture
def make_run(tmp_path: Path, potcar_family: Path, program: Path) -> Callable[[str], Run]:
    def make(name: str) -> Run:
        folder = tmp_path / name
        folder.mkdir()
        return Run(folder, potcar_family, program)

    return make


@pytest.fixture
def run(make_run: Callable[[str], Run]) -> Run:
    return make_run("run")

"""What tests with the real pw.x share: where it is, or why the test is skipped, the code and the pseudopotentials."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.plugins import DataFactory, GroupFactory
from ase import Atoms
from ase.spacegroup import crystal

PSEUDO_FAMILY = "espresso-lda"
# where Debian's quantum-espresso-data puts them
PSEUDO_FOLDER = Path(os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo"))
PSEUDO_FILES = {"Ti": "Ti.pz-sp-van_ak.UPF", "O": "O.pz-van_ak.UPF"}

PW = shutil.which("pw.x")
IS_INSTALLED = PW is not None and all((PSEUDO_FOLDER / name).is_file() for name in PSEUDO_FILES.values())
needs_pw = pytest.mark.skipif(
    not IS_INSTALLED,
    reason="pw.x or its pseudopotentials are missing: apt-get install quantum-espresso quantum-espresso-data",
)


def small_rutile() -> Atoms:
    """Six atoms of rutile in the experimental cell at 300 K, titanium first."""
    perfect = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )
    return Atoms(perfect.symbols, positions=perfect.positions, cell=perfect.cell, pbc=True)


@pytest.fixture(scope="session")
def pw_code(computer: orm.Computer) -> orm.InstalledCode:
    """The installed pw.x, on one core."""
    made = orm.InstalledCode(
        label="pw", computer=computer, filepath_executable=str(PW), default_calc_job_plugin="quantumespresso.pw"
    )
    made.with_mpi = False
    return made.store()


@pytest.fixture(scope="session")
def pseudo_family(aiida_profile: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Label of the family of ultrasoft LDA potentials of titanium and oxygen."""
    folder = tmp_path_factory.mktemp("pseudos")
    for name in PSEUDO_FILES.values():
        shutil.copy(PSEUDO_FOLDER / name, folder)
    family = GroupFactory("pseudo.family")
    family.create_from_folder(folder, PSEUDO_FAMILY, pseudo_type=DataFactory("pseudo.upf"))
    return PSEUDO_FAMILY

"""What tests with the real CP2K share: where it is, or why the test is skipped, the code, a crystal, settings."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.build import bulk

CP2K = shutil.which("cp2k.psmp") or shutil.which("cp2k")
needs_plugin = pytest.mark.skipif(
    find_spec("aiida_cp2k") is None, reason="aiida-cp2k is missing: pip install 'aiida-slhmc[cp2k]'"
)
needs_cp2k = pytest.mark.skipif(
    CP2K is None or find_spec("aiida_cp2k") is None,
    reason="CP2K or aiida-cp2k is missing: apt-get install cp2k libopenblas0-openmp; pip install 'aiida-slhmc[cp2k]'",
)

# cheap: a few seconds for eight atoms
CHEAP: dict[str, Any] = {
    "kinds": {"Si": {"BASIS_SET": "SZV-MOLOPT-SR-GTH", "POTENTIAL": "GTH-PBE-q4"}},
    "parameters": {"FORCE_EVAL": {"DFT": {"MGRID": {"CUTOFF": 200, "REL_CUTOFF": 40}, "QS": {"EPS_DEFAULT": 1e-10}}}},
    "options": {"withmpi": False},
}


def silicon(seed: int = 1, amplitude: float = 0.05) -> Atoms:
    """Eight atoms of silicon off their sites (Å, standard deviation *amplitude*), in a sheared cell."""
    atoms = bulk("Si", a=5.43, cubic=True)
    atoms.positions += np.random.default_rng(seed).normal(0, amplitude, (8, 3))
    atoms.set_cell(atoms.cell.array + np.array([[0, 0.05, 0], [0.1, 0, 0], [0, 0.03, 0.08]]), scale_atoms=True)
    return atoms


@pytest.fixture(scope="session")
def cp2k_code(computer: orm.Computer) -> orm.InstalledCode:
    """The installed CP2K, on one core."""
    made = orm.InstalledCode(
        label="cp2k", computer=computer, filepath_executable=str(CP2K or "/bin/false"), default_calc_job_plugin="cp2k"
    )
    made.with_mpi = False
    return made.store()

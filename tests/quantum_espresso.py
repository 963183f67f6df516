"""What tests with the real pw.x share: where it is, or why a test is skipped, code, pseudopotentials, labels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, GroupFactory
from ase import Atoms, units
from ase.build import bulk
from ase.spacegroup import crystal

from aiida_slhmc.targets.quantum_espresso import QuantumEspressoLabelWorkChain, QuantumEspressoTarget

PSEUDO_FAMILY = "espresso-lda"
# where Debian's quantum-espresso-data puts them
PSEUDO_FOLDER = Path(os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo"))
PSEUDO_FILES = {"Al": "Al.pz-vbc.UPF", "O": "O.pz-van_ak.UPF", "Si": "Si.pz-vbc.UPF", "Ti": "Ti.pz-sp-van_ak.UPF"}

PW = shutil.which("pw.x")
IS_INSTALLED = PW is not None and all((PSEUDO_FOLDER / name).is_file() for name in PSEUDO_FILES.values())
needs_pw = pytest.mark.skipif(
    not IS_INSTALLED,
    reason="pw.x or its pseudopotentials are missing: apt-get install quantum-espresso quantum-espresso-data",
)

# for norm-conserving potentials, and without the smooth cutoff of the kinetic energy
SMALL_CUTOFFS = {"ecutwfc": 16, "ecutrho": 64, "ecfixed": None, "qcutz": None, "q2sigma": None}

Label = Callable[..., orm.WorkChainNode]


def small_rutile(seed: int | None = None, amplitude: float = 0.03) -> Atoms:
    """Six atoms of rutile in the experimental cell at 300 K, titanium first; with a *seed*, off their sites (Å)."""
    perfect = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )
    atoms = Atoms(perfect.symbols, positions=perfect.positions, cell=perfect.cell, pbc=True)
    return atoms if seed is None else moved(atoms, seed, amplitude)


def silicon() -> Atoms:
    """Two atoms of silicon off their sites: with small cutoffs a label in a fraction of a second."""
    return moved(bulk("Si", a=5.4), seed=1, amplitude=0.05)


def moved(atoms: Atoms, seed: int, amplitude: float) -> Atoms:
    """*atoms*, each moved at random; *amplitude* in Å is the standard deviation of a component."""
    made = atoms.copy()
    made.positions += np.random.default_rng(seed).normal(0, amplitude, (len(atoms), 3))
    return made


@pytest.fixture(scope="session")
def pw_code(computer: orm.Computer) -> orm.InstalledCode:
    """The installed pw.x, on one core."""
    return make_code("pw", str(PW), computer)


def make_code(label: str, executable: str, computer: orm.Computer) -> orm.InstalledCode:
    """A stored code for PwCalculation that runs without MPI."""
    made = orm.InstalledCode(
        label=label, computer=computer, filepath_executable=executable, default_calc_job_plugin="quantumespresso.pw"
    )
    made.with_mpi = False
    return made.store()


@pytest.fixture(scope="session")
def pseudo_family(aiida_profile: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Label of a family of LDA potentials, ultrasoft for titanium and oxygen."""
    folder = tmp_path_factory.mktemp("pseudos")
    for name in PSEUDO_FILES.values():
        shutil.copy(PSEUDO_FOLDER / name, folder)
    GroupFactory("pseudo.family").create_from_folder(folder, PSEUDO_FAMILY, pseudo_type=DataFactory("pseudo.upf"))
    return PSEUDO_FAMILY


@pytest.fixture(scope="session")
def pw_label(pw_code: orm.InstalledCode, pseudo_family: str) -> Label:
    """Function that runs the label work chain and returns its node.

    It takes *atoms*, namelists to put on top, a *restart_folder*, other *settings* than the target's, and its options.
    """

    def run(
        atoms: Atoms,
        parameters: dict[str, Any] | None = None,
        restart_folder: orm.RemoteData | None = None,
        settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> orm.WorkChainNode:
        structure = orm.StructureData(ase=atoms).store()
        options = {"code": pw_code, "pseudo_family": pseudo_family, "options": {"withmpi": False}} | options
        inputs = QuantumEspressoTarget.get_inputs(
            structure=structure, functional="pbe", parameters=parameters, **options
        )
        if restart_folder is not None:
            inputs["restart_folder"] = restart_folder
        if settings is not None:
            inputs["settings"] = orm.Dict(settings)
        _, node = run_get_node(QuantumEspressoLabelWorkChain, structure=structure, **inputs)
        assert isinstance(node, orm.WorkChainNode)
        return node

    return run


def calculations(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    """The runs of pw.x, in their order."""
    return [child for child in node.called if isinstance(child, orm.CalcJobNode)]


def assert_same_label(node: orm.WorkChainNode, expected: orm.WorkChainNode) -> None:
    """Energies agree to 0.01 meV, forces to 1 meV/Å, stresses to 0.05 GPa: what conv_thr leaves open."""
    assert node.is_finished_ok, node.exit_message
    found, reference = node.outputs.label.arrays(), expected.outputs.label.arrays()
    assert float(found["energy"]) == pytest.approx(float(reference["energy"]), abs=1e-5)
    np.testing.assert_allclose(found["forces"], reference["forces"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found["stress"], reference["stress"], rtol=0, atol=0.05 * units.GPa)

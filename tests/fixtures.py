"""What tests of the AiiDA layer share: a computer without waiting, codes, POTCARs, a model, a structure, labels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida_vasp.data.potcar import PotcarData
from ase import Atoms
from ase.spacegroup import crystal

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.standin.potcar import write_potcar_family
from aiida_slhmc.standin.potential import VARIANTS, evaluate

FAMILY = "standin-pbe"
FOUNDATION_FILE = Path(__file__).parents[1] / "examples" / "foundation" / "foundation.safetensors"
OPTIONS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "withmpi": False}


def rutile_atoms(seed: int | None = None, amplitude: float = 0.03) -> Atoms:
    """Six atoms of rutile, titanium first; with a *seed*, off their sites by *amplitude* (Å, standard deviation)."""
    perfect = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.68, 4.68, 3.006, 90, 90, 90]
    )
    atoms = Atoms(perfect.symbols, positions=perfect.positions, cell=perfect.cell, pbc=True)
    if seed is not None:
        atoms.positions += np.random.default_rng(seed).normal(0, amplitude, (len(atoms), 3))
    return atoms


def label_of(atoms: Atoms, variant: str = "pbe") -> dict[str, Any]:
    """The label that the stand-in gives these atoms, without running it."""
    result = evaluate(atoms, VARIANTS[variant])
    source = {"functional": variant, "engine": "vasp-standin", "stand_in": True}
    return {"energy": result.energy, "forces": result.forces, "stress": result.stress, **source}


def configuration(atoms: Atoms, label: dict[str, Any] | None = None, **kwargs: Any) -> ConfigurationData:
    """An unstored node of *atoms*."""
    return ConfigurationData(
        numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, label=label, **kwargs
    )


@pytest.fixture(scope="session")
def computer(aiida_profile: Any, tmp_path_factory: pytest.TempPathFactory) -> orm.Computer:
    """The machine itself, polled without waiting."""
    made = orm.Computer(
        label="here",
        hostname="localhost",
        transport_type="core.local",
        scheduler_type="core.direct",
        workdir=str(tmp_path_factory.mktemp("work")),
    ).store()
    made.set_default_mpiprocs_per_machine(1)
    made.set_minimum_job_poll_interval(0.3)  # asking all the time takes a core from the jobs
    made.configure(safe_interval=0.0, use_login_shell=False)
    return made


def _code(label: str, executable: str, plugin: str, computer: orm.Computer) -> orm.InstalledCode:
    made = orm.InstalledCode(
        label=label, computer=computer, filepath_executable=executable, default_calc_job_plugin=plugin
    )
    made.with_mpi = False
    return made.store()


@pytest.fixture(scope="session")
def python_code(computer: orm.Computer) -> orm.InstalledCode:
    return _code("python", sys.executable, "slhmc.mace_proposal", computer)


@pytest.fixture(scope="session")
def vasp_code(computer: orm.Computer) -> orm.InstalledCode:
    return _code("vasp-standin", str(Path(sys.executable).parent / "vasp-standin"), "vasp.vasp", computer)


@pytest.fixture(scope="session")
def family(aiida_profile: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A family of dummies in the place of POTCARs."""
    folder = tmp_path_factory.mktemp("family")
    write_potcar_family(folder)
    PotcarData.upload_potcar_family(str(folder), FAMILY, "dummies")
    return FAMILY


@pytest.fixture(scope="session")
def foundation(aiida_profile: Any) -> MaceModelData:
    return MaceModelData(checkpoint=FOUNDATION_FILE).store()


@pytest.fixture(scope="session")
def structure(aiida_profile: Any) -> orm.StructureData:
    return orm.StructureData(ase=rutile_atoms(seed=1)).store()


@pytest.fixture(scope="session")
def labelled(aiida_profile: Any) -> Callable[..., ConfigurationData]:
    """Function that makes a stored, labelled configuration: six atoms off their sites, by the number of the draw."""

    def make(seed: int, variant: str = "pbe", **kwargs: Any) -> ConfigurationData:
        atoms = rutile_atoms(seed=seed)
        return configuration(atoms, label_of(atoms, variant), **kwargs).store()

    return make


@pytest.fixture(scope="session")
def walkers(labelled: Callable[..., ConfigurationData]) -> dict[str, ConfigurationData]:
    """Two labelled states."""
    return {f"walker_{k}": labelled(k + 1) for k in range(2)}

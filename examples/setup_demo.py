"""Set up what the examples need in the loaded profile: localhost, codes, POTCAR family, foundation model.

    verdi run examples/setup_demo.py

Run it as often as you like: what is there already is kept. On your own cluster you set up the same four things once
with `verdi computer setup`, `verdi code create core.code.installed`, `aiida-vasp potcar uploadfamily` and
`MaceModelData(checkpoint=...)`; see the README.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.manage import get_manager
from aiida_vasp.data.potcar import PotcarData

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.standin.potcar import write_potcar_family

# under `verdi run`, __file__ is only the file's name
FOUNDATION = Path(sys.argv[0]).resolve().parent / "foundation" / "foundation.safetensors"
POTENTIAL_FAMILY = "standin-pbe"


def localhost() -> orm.Computer:
    """The local computer, with the settings that keep many short jobs from waiting (for real DFT: poll every 5 s)."""
    created, computer = orm.Computer.collection.get_or_create(
        label="localhost", hostname="localhost", transport_type="core.local", scheduler_type="core.direct"
    )
    if created:
        computer.store()
    computer.set_workdir(str(Path(tempfile.gettempdir()) / "aiida-slhmc-demo"))
    computer.set_default_mpiprocs_per_machine(1)
    computer.set_minimum_job_poll_interval(0.5)
    computer.configure(safe_interval=0.0, use_login_shell=False)
    return computer


def use_write_ahead_log() -> None:
    """Let SQLite keep a write-ahead log: AiiDA commits some hundred times for each label, each with one sync of the
    disk instead of several (measured: 4 ms against 18 ms). It is as safe, and the database file remembers it.
    """
    profile = get_manager().get_profile()
    if profile is not None and profile.storage_backend == "core.sqlite_dos":
        with closing(sqlite3.connect(Path(profile.storage_config["filepath"]) / "database.sqlite")) as database:
            database.execute("PRAGMA journal_mode=WAL")


def code(label: str, executable: Path, plugin: str, computer: orm.Computer) -> orm.InstalledCode:
    """An installed code, found by its label or made."""
    try:
        return orm.load_code(f"{label}@{computer.label}")
    except NotExistent:
        made = orm.InstalledCode(
            label=label, computer=computer, filepath_executable=str(executable), default_calc_job_plugin=plugin
        )
        made.with_mpi = False
        return made.store()


def potential_family() -> str:
    """Header-only dummies in the place of POTCARs, which may not be shared; only the stand-in accepts them."""
    if POTENTIAL_FAMILY not in [group.label for group in PotcarData.get_potcar_groups()]:
        with tempfile.TemporaryDirectory() as folder:
            write_potcar_family(Path(folder))
            description = "Dummies for the stand-in; no POTCARs of VASP"
            PotcarData.upload_potcar_family(folder, POTENTIAL_FAMILY, description, stop_if_existing=False)
    return POTENTIAL_FAMILY


def foundation() -> MaceModelData:
    """The demo's foundation model."""
    query = orm.QueryBuilder().append(MaceModelData, filters={"label": "foundation"})
    found = query.first(flat=True)
    if found is not None:
        return found
    return MaceModelData(checkpoint=FOUNDATION, label="foundation").store()


if __name__ == "__main__":
    use_write_ahead_log()
    here = localhost()
    environment = Path(sys.executable).parent
    code("python", Path(sys.executable), "slhmc.mace_proposal", here)
    code("vasp-standin", environment / "vasp-standin", "vasp.vasp", here)
    print(f"localhost, codes, potentials '{potential_family()}' and model {foundation().pk} are ready")

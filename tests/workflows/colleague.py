"""What a colleague does with a shared data set, in a profile of their own that holds nothing else: run as a script.

python colleague.py PROFILE DATA_SET RUN_UUID FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiida import load_profile, orm
from aiida.engine import run_get_node
from aiida_vasp.data.potcar import PotcarData

from aiida_slhmc.sharing.data_set import load_data_set
from aiida_slhmc.standin.potcar import write_potcar_family
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain
from aiida_slhmc.workflows.restart import get_restart_builder

OPTIONS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "withmpi": False}


def own_codes(folder: Path) -> tuple[orm.InstalledCode, orm.InstalledCode]:
    """The colleague's Python and engine, on a computer of their own."""
    computer = orm.Computer(
        label="mine",
        hostname="localhost",
        transport_type="core.local",
        scheduler_type="core.direct",
        workdir=str(folder / "work"),
    ).store()
    computer.set_minimum_job_poll_interval(0.3)
    computer.configure(safe_interval=0.0, use_login_shell=False)
    engine = str(Path(sys.executable).parent / "vasp-standin")
    programs = {"python": (sys.executable, "slhmc.mace_proposal"), "engine": (engine, "vasp.vasp")}
    made = {}
    for label, (path, plugin) in programs.items():
        code = orm.InstalledCode(
            label=label, computer=computer, filepath_executable=path, default_calc_job_plugin=plugin
        )
        code.with_mpi = False
        made[label] = code.store()
    return made["python"], made["engine"]


def main(profile: str, name: str, run_uuid: str, folder: Path) -> None:
    """Train from the data set's block, then go on with the run that its labels are from; print what came of both."""
    load_profile(profile)
    python, engine = own_codes(folder)
    (folder / "potcars").mkdir()
    write_potcar_family(folder / "potcars")
    # the names and sha512 of the run's have come with the archive, and are no reason to stop
    PotcarData.upload_potcar_family(str(folder / "potcars"), "own", "own copies", stop_if_existing=False)
    run, block = orm.load_node(run_uuid), load_data_set(name).block
    parameters = orm.Dict({"max_epochs": 1, "device": "cpu", "seed": 1})
    inputs = {"code": python, "model": run.inputs.model, "parameters": parameters, "options": orm.Dict(OPTIONS)}
    _, training = run_get_node(FineTuneWorkChain, **inputs, datasets={"shared": block})
    print(f"training {training.exit_status} {training.exit_message or ''}")
    builder = get_restart_builder(
        run,
        label_budget=4,
        python_code=python,
        python_options=OPTIONS,
        target_code=engine,
        target_options=OPTIONS,
    )
    _, further = run_get_node(builder)
    labels = [node for node in further.called_descendants if node.process_label == "read_vasp_label"]
    print(f"run {further.exit_status} {further.exit_message or ''} with {len(labels)} labels")


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]))

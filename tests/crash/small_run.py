"""A small self-learning run for the crash tests: ``verdi run small_run.py (run|submit [OVERRIDES]|restart PK)``.

Two walkers on six atoms, two epochs of one cycle, trainings of two epochs, where OVERRIDES in JSON do not say
otherwise; the profile is set up by setup_demo.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aiida import orm
from aiida.engine import run_get_node, submit
from aiida.manage.caching import enable_caching
from ase.io import read

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.restart import get_restart_builder
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

EXAMPLES = Path(sys.argv[0]).resolve().parents[2] / "examples"
OVERRIDES = {
    "kernel": {"seed": 7},
    "trajectory": {"n_steps": 3, "timestep": 1.0},
    "adaptation": {"n_steps_min": 3},
    "n_walkers": 2,
    "n_cycles": 1,
    "label_budget": 4,
    "fine_tune": {"max_epochs": 2, "batch_size": 4},
}


def get_builder(overrides):
    atoms = read(EXAMPLES / "rutile.vasp")
    unit = atoms[[0, 1, 16, 17, 18, 19]]
    unit.set_cell(atoms.cell.array / 2)
    unit.rattle(0.02, seed=3)
    return SlhmcWorkChain.get_builder_from_protocol(
        structure=orm.StructureData(ase=unit),
        model=orm.QueryBuilder().append(MaceModelData, filters={"label": "foundation"}).first(flat=True),
        python_code=orm.load_code("python@localhost"),
        functional="pbe",
        target_options={
            "code": orm.load_code("vasp-standin@localhost"),
            "potential_family": "standin-pbe",
            "options": {"withmpi": False},
        },
        protocol="fast",
        overrides=OVERRIDES | overrides,
    )


def main() -> None:
    if sys.argv[1] == "submit":
        print(submit(get_builder(json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})).pk)
    elif sys.argv[1] == "restart":
        with enable_caching():
            _, node = run_get_node(get_restart_builder(orm.load_node(sys.argv[2])))
        print(node.pk)
    else:
        _, node = run_get_node(get_builder({}))
        print(node.pk)


if __name__ == "__main__":
    main()

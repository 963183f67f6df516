"""A transfer in the graph without its jobs: its own steps are executed, and what it would launch is made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from fixtures import rutile_atoms

from aiida_slhmc.workflows.transfer import TransferWorkChain

KINDS = {
    "transfer": "slhmc.transfer",
    "run": "slhmc.slhmc",
    "training": "slhmc.fine_tune",
    "md": "slhmc.md",
    "reference": "slhmc.epoch",
}
SERIES = ("accepted", "diverged", "probability", "delta_h", "integration", "mismatch", "energy", "volume")
SERIES = (*SERIES, "energy_error", "force_rmse", "stress_rmse", "expected_squared_jump")
ABOUT = {"epoch": 0, "temperature": 300.0, "n_atoms": 6, "ensemble": "nvt", "pressure": None}


def started(inputs: dict[str, Any]) -> TransferWorkChain:
    """The work chain with these inputs, before its first step."""
    return instantiate_process(get_manager().get_runner(), TransferWorkChain, **inputs)


@contextmanager
def steps_of(process: TransferWorkChain) -> Iterator[None]:
    """What is called in here is called by the process; afterwards its outputs are in the graph."""
    with process._process_scope():
        yield
    process.update_outputs()


def child(
    caller: orm.WorkChainNode,
    label: str,
    kind: str,
    inputs: dict[str, orm.Data],
    outputs: dict[str, orm.Data],
    exit_status: int = 0,
) -> orm.WorkChainNode:
    """A work chain that *caller* has called, and that has ended."""
    node = orm.WorkChainNode(process_type=f"aiida.workflows:{KINDS[kind]}")
    node.base.attributes.set("process_label", kind)
    for name, data in inputs.items():
        node.base.links.add_incoming(data, link_type=LinkType.INPUT_WORK, link_label=name)
    node.base.links.add_incoming(caller, link_type=LinkType.CALL_WORK, link_label=label)
    node.store()
    for name, data in outputs.items():
        data.base.links.add_incoming(node, link_type=LinkType.RETURN, link_label=name)
    node.set_process_state(ProcessState.FINISHED)
    node.set_exit_status(exit_status)
    return node


def made_by_md(computer: orm.Computer, model: orm.Data, trajectory: orm.TrajectoryData) -> orm.TrajectoryData:
    """The trajectory, as the output of a job with this model."""
    job = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:slhmc.mace_md")
    job.set_option("resources", {"num_machines": 1, "tot_num_mpiprocs": 1})
    job.base.links.add_incoming(model, link_type=LinkType.INPUT_CALC, link_label="model")
    job.store()
    trajectory.base.links.add_incoming(job, link_type=LinkType.CREATE, link_label="trajectory")
    return trajectory.store()


def swinging(stretch: float = 1.0, **attributes: Any) -> orm.TrajectoryData:
    """Unstored frames of rutile, larger by the factor *stretch*."""
    atoms, generator = rutile_atoms(), np.random.default_rng(1)
    node = orm.TrajectoryData()
    shape = (24, len(atoms), 3)
    positions = stretch * atoms.positions + 0.02 * generator.standard_normal(shape)
    cells = np.tile(stretch * atoms.cell.array, (24, 1, 1))
    node.set_trajectory(list(atoms.symbols), positions, cells=cells, pbc=[True, True, True])
    node.base.attributes.set_many({"ensemble": "nvt", "temperature": 300.0} | attributes)
    return node


def chain() -> orm.ArrayData:
    """Of an epoch of three cycles and two walkers."""
    node = orm.ArrayData({name: np.full((3, 2), 0.1) for name in SERIES} | {"n_steps": np.full(3, 5)})
    node.base.attributes.set_many(ABOUT)
    return node.store()

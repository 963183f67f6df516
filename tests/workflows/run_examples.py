"""Settings of the small run, ways to disturb it, and ways to look at what it called."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.standin.misbehave import FAILURE, FRACTION

PROPOSALS = "aiida.calculations:slhmc.mace_proposal"
SETTINGS = {
    "n_walkers": 2,
    "n_cycles": 2,
    "label_budget": 8,
    "trajectory": {"n_steps": 5, "timestep": 2.0},
    "kernel": {"seed": 3, "device": "cpu"},
    "fine_tune": {"max_epochs": 2, "device": "cpu"},
    "adaptation": {"n_steps_min": 3, "n_steps_max": 20},
}
# of ten steps of molecular dynamics
MD_OPTIONS = {"n_steps": 10, "sampling_interval": 2, "temperature": 300.0, "seed": 5, "device": "cpu"}


class CrashError(Exception):
    """The end of the Python process, as far as the work chain can tell."""


def failing(mode: str | None, fraction: float = 1.0) -> dict[str, Any]:
    """Options of the target that let this fraction of the labels fail in this way."""
    exports = f"export {FAILURE}={mode} {FRACTION}={fraction}"
    return {"withmpi": False} | ({"prepend_text": exports} if mode else {})


def called(node: orm.ProcessNode, label: str) -> list[orm.ProcessNode]:
    """All descendants of this process label, in the order of their creation."""
    found = [child for child in node.called_descendants if child.process_label == label]
    return sorted(found, key=lambda child: child.pk)


def computed(node: orm.ProcessNode, label: str) -> list[orm.ProcessNode]:
    """Those that were not taken from the cache."""
    return [child for child in called(node, label) if not child.base.caching.is_created_from_cache]


def last_run() -> orm.WorkChainNode:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"process_type": {"like": "%slhmc.slhmc"}}, tag="run")
    return query.order_by({"run": {"id": "desc"}}).first(flat=True)


def crash_at(patch: pytest.MonkeyPatch, module: ModuleType, name: str, label: str) -> None:
    """Let the *module*'s launching function *name* raise instead of launching the child *label*."""
    launch = getattr(module, name)

    def crashing(parent: Any, process: Any, child: str, inputs: Any, **options: Any) -> Any:
        if child == label:
            raise CrashError
        return launch(parent, process, child, inputs, **options)

    patch.setattr(module, name, crashing)


def lose_first_call(patch: pytest.MonkeyPatch, process: type, name: str) -> None:
    """Let the first call of *process*'s method *name* raise, as where AiiDA's broker is away."""
    method, calls = getattr(process, name), []

    def losing(instance: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(instance)
        if len(calls) == 1:
            raise TimeoutError("the broker does not answer")
        return method(instance, *arguments, **options)

    patch.setattr(process, name, losing)


def training_that_ended(
    status: int,
    *,
    model: MaceModelData | None = None,
    run: orm.WorkChainNode | None = None,
    label: str = "",
    **more: Any,
) -> orm.WorkChainNode:
    """A FineTuneWorkChain's node that ended with this status and handed out this model; a child of *run*, if given.

    *more* are ``datasets``, its inputs by name, and ``metrics``, a dictionary.
    """
    node = orm.WorkChainNode(process_type="aiida.workflows:slhmc.fine_tune")
    node.base.attributes.set("process_label", "FineTuneWorkChain")
    for name, block in more.get("datasets", {}).items():
        node.base.links.add_incoming(block, link_type=LinkType.INPUT_WORK, link_label=f"datasets__{name}")
    if run is not None:
        node.base.links.add_incoming(run, link_type=LinkType.CALL_WORK, link_label=label)
    node.store()
    node.set_process_state(ProcessState.FINISHED)
    node.set_exit_status(status)
    node.set_exit_message("so and so." if status else None)
    outputs = {"model": model, "metrics": orm.Dict(more.get("metrics", {})).store()}
    for name, data in outputs.items():
        if data is not None:
            data.base.links.add_incoming(node, link_type=LinkType.RETURN, link_label=name)
    return node

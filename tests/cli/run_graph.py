"""Nodes of a self-learning run as the work chains leave them, without running anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_slhmc.calculations.epoch import collect_chain

STATES = {"finished": ProcessState.FINISHED, "running": ProcessState.RUNNING, "killed": ProcessState.KILLED}

NAMES = {"SlhmcWorkChain": "slhmc", "EpochWorkChain": "epoch", "MdWorkChain": "md"}
TYPES = {label: f"aiida.workflows:slhmc.{name}" for label, name in NAMES.items()}


def process(
    kind: type[orm.ProcessNode],
    label: str,
    inputs: dict[str, Any],
    parent: tuple[orm.ProcessNode, str] | None = None,
    computer: orm.Computer | None = None,
) -> Any:
    """A stored process node that runs; inputs of namespaces are named as `target__engine`.

    :param parent: the process that called it and the call-link label.
    """
    node = kind(process_type=TYPES.get(label), computer=computer)
    node.base.attributes.set("process_label", label)
    is_work = issubclass(kind, orm.WorkChainNode)
    for name, data in inputs.items():
        link = LinkType.INPUT_WORK if is_work else LinkType.INPUT_CALC
        # a POTCAR that is stored cannot be asked once more
        node.base.links.add_incoming(data if data.is_stored else data.store(), link_type=link, link_label=name)
    if parent is not None:
        link = LinkType.CALL_WORK if is_work else LinkType.CALL_CALC
        node.base.links.add_incoming(parent[0], link_type=link, link_label=parent[1])
    node.store()
    node.set_process_state(ProcessState.RUNNING)
    return node


def end(node: Any, outputs: dict[str, orm.Data], *, status: int = 0, state: str = "finished") -> None:
    """Let the process end, with these outputs."""
    is_work = isinstance(node, orm.WorkChainNode)
    for name, data in outputs.items():
        link = LinkType.RETURN if is_work else LinkType.CREATE
        if is_work:  # a work chain hands out what is stored; a calculation makes it
            data.store()
        data.base.links.add_incoming(node, link_type=link, link_label=name)
        data.store()
    node.set_process_state(STATES[state])
    if state == "finished":
        node.set_exit_status(status)
        node.set_exit_message("so and so." if status else None)
    node.seal()


def decision(epoch: int, cycle: int, accepted: tuple[bool, ...], *, diverged: tuple[int, ...] = ()) -> dict[str, Any]:
    """What metropolis puts out; each number tells its epoch, cycle and walker. Walkers in *diverged* have no label."""
    walkers = range(len(accepted))

    def column(base: float) -> list[float | None]:
        return [None if k in diverged else base + 0.01 * epoch + 0.001 * cycle + 0.0001 * k for k in walkers]

    numbers = {"delta_h": 0.5, "integration": 0.1, "mismatch": 0.4, "energy_error": 0.3, "force_rmse": 0.2}
    return {
        "accepted": list(accepted),
        "diverged": [k in diverged for k in walkers],
        "probability": [0.0 if k in diverged else 0.25 for k in walkers],
        "random_number": [0.5 for _ in walkers],
        **{name: column(base) for name, base in numbers.items()},
        "stress_rmse": [None for _ in walkers],
        "energy": [-100.0 - epoch - 0.1 * cycle - 0.01 * k for k in walkers],
        "volume": [60.0 + k for k in walkers],
        "expected_squared_jump": [0.01 for _ in walkers],
        "epoch": epoch,
        "cycle": cycle,
        "n_steps": 7 + cycle,
        "timestep": 1.0,
        "n_walkers": len(accepted),
        "n_atoms": 6,
        "temperature": 300.0,
        "ensemble": "nvt",
        "pressure": None,
        "cell_degrees_of_freedom": None,
        "acceptance": sum(accepted) / len(accepted),
    }


def add_epoch(run: orm.WorkChainNode, number: int, decisions: list[dict[str, Any]], *, is_finished: bool) -> Any:
    """An epoch of *run* with these decisions; one that is finished has a chain, made by the package's own function."""
    epoch = process(orm.WorkChainNode, "EpochWorkChain", {"epoch": orm.Int(number)}, (run, f"epoch_{number:04d}"))
    for content in decisions:
        call = process(orm.CalcFunctionNode, "metropolis", {}, (epoch, f"decide_{content['cycle']:05d}"))
        end(call, {"result": orm.Dict(content)})
    if is_finished:
        chain = chain_of(decisions)
        chain.base.links.add_incoming(epoch, link_type=LinkType.RETURN, link_label="chain")
        end(epoch, {})
    return epoch


def chain_of(decisions: list[dict[str, Any]]) -> orm.ArrayData:
    """The stored chain of these decisions."""
    make: Callable[..., orm.ArrayData] = collect_chain
    return make(**{f"decide_{content['cycle']:05d}": orm.Dict(content) for content in decisions})


def new_run(**inputs: orm.Data) -> Any:
    """A self-learning run that has begun."""
    numbers = {"label_budget": orm.Int(24), "n_cycles": orm.Int(3)}
    return process(orm.WorkChainNode, "SlhmcWorkChain", numbers | inputs)

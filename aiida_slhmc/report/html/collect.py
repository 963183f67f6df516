"""Everything that the page says, gathered from the graph. Nothing is written into it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_slhmc.analysis.run_summary import summarise_chains
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.report.html.checkpoints import read_checkpoints
from aiida_slhmc.report.html.citations import citations_for
from aiida_slhmc.report.html.contents import Epoch, NodeName, Report, State
from aiida_slhmc.report.html.cycle_graph import read_cycle_graph
from aiida_slhmc.report.html.epochs import read_epochs
from aiida_slhmc.report.html.problems import read_problems
from aiida_slhmc.report.html.processes import Process, costs_of, failures_of, read_processes
from aiida_slhmc.report.html.reproduction import commands, inputs_as_yaml
from aiida_slhmc.report.html.structures import read_structures
from aiida_slhmc.report.html.versions import read_versions
from aiida_slhmc.report.run_state import EPOCH, SLHMC, read_run_state

__all__ = ("load_run", "read_report")

MAX_LOG_LINES = 300


def load_run(pk: int | None) -> Any:
    """The run or epoch of this pk, loaded anew.

    :raises ValueError: where it is neither.
    """
    node: Any = orm.load_node(pk)
    if not isinstance(node, orm.WorkChainNode) or node.process_label not in (SLHMC, EPOCH):
        what = getattr(node, "process_label", None) or type(node).__name__
        raise ValueError(
            f"node {pk} is of type {what}; a report is made of a {SLHMC} or an {EPOCH}. "
            f"`verdi process list -a -L {SLHMC}` lists the runs of this profile"
        )
    return node


def read_report(run: Any) -> Report:
    """Gather the report of a SlhmcWorkChain or an EpochWorkChain, whether it runs, has finished or has failed."""
    now = datetime.now(tz=timezone.utc)
    epochs, processes = read_epochs(run), read_processes(run.pk)
    checkpoints = read_checkpoints(run, epochs)
    about = _about(run, epochs)
    return Report(
        node=NodeName(pk=run.pk, uuid=run.uuid, label=run.label),
        made=now,
        state=_state(run, epochs, processes, now),
        about=about,
        epochs=epochs,
        warnings=_warnings(epochs),
        structures=read_structures(epochs),
        checkpoints=checkpoints,
        problems=read_problems(epochs),
        failed=failures_of(processes),
        costs=costs_of(processes, now),
        graph=read_cycle_graph(epochs),
        versions=read_versions(processes, checkpoints),
        citations=citations_for(about),
        inputs=inputs_as_yaml(run),
        commands=commands(run),
        log=_log(run),
    )


def _state(run: Any, epochs: list[Epoch], processes: list[Process], now: datetime) -> State:
    own = [epoch.summary for epoch in epochs if not epoch.is_earlier]
    labels = sum(summary["labels"] + summary["failed_labels"] for summary in own)
    state = read_run_state(run.pk) if run.process_label == SLHMC and not run.is_terminated else None
    budget = run.inputs.label_budget.value if "label_budget" in run.inputs else None
    return State(
        process=str(run.process_label),
        words=_words(run),
        is_terminated=run.is_terminated,
        is_ok=run.is_finished_ok,
        activity=state.activity if state else _activity(processes),
        started=run.ctime,
        elapsed=_end(run, processes, now) - run.ctime,
        left=state.time_left(now) if state else None,
        labels=state.labels if state else labels,
        label_budget=budget,
    )


def _words(run: orm.WorkChainNode) -> str:
    """How it stands or ended, with the reason of a failure."""
    if run.is_excepted:
        # the last line of a traceback says what it was
        lines = (run.exception or "").strip().splitlines()
        return f"excepted: {lines[-1] if lines else 'no reason is on record'}"
    if run.is_killed:
        return "killed" + (f": {run.process_status}" if run.process_status else "")
    if run.is_finished:
        return "finished" if run.is_finished_ok else f"failed with exit code {run.exit_status}: {run.exit_message}"
    return "running"


def _activity(processes: Iterable[Process]) -> str:
    active = {str(process.label) for process in processes if process.is_active}
    return ", ".join(sorted(active))


def _end(run: orm.WorkChainNode, processes: list[Process], now: datetime) -> datetime:
    """When it ended: a comment or an extra that was set later changes a node's own time."""
    if not run.is_terminated:
        return now
    return max((process.changed for process in processes), default=run.mtime) if run.is_finished_ok else run.mtime


def _about(run: orm.WorkChainNode, epochs: list[Epoch]) -> dict[str, Any]:
    """What was sampled, with what: from the inputs, and from a label where there is one."""
    inputs = run.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
    kernel = inputs["parameters"].get_dict() if "parameters" in inputs else {}
    about: dict[str, Any] = {
        "ensemble": kernel.get("ensemble", "nvt"),
        "temperature": kernel.get("temperature"),
        "seed": kernel.get("seed"),
        "pressure": epochs[-1].about.get("pressure") if epochs else kernel.get("pressure"),
        "cell": epochs[-1].about.get("cell_degrees_of_freedom") if epochs else None,
        "timestep": epochs[-1].about.get("timestep") if epochs else None,
        "n_walkers": epochs[-1].summary["n_walkers"] if epochs else _value(inputs, "n_walkers"),
        "target": inputs["target"]["engine"].value if "engine" in inputs.get("target", {}) else None,
        "committee_size": _value(inputs, "committee_size"),
    }
    example = _example(inputs, epochs)
    if example is not None:
        attributes = example.base.attributes
        about |= {key: attributes.get(key, None) for key in ("formula", "n_atoms", "functional", "engine", "stand_in")}
    elif "structure" in inputs:
        structure = inputs["structure"]
        about |= {"formula": structure.get_formula(), "n_atoms": len(structure.sites)}
    return about


def _example(inputs: dict[str, Any], epochs: list[Epoch]) -> Any:
    """A labelled configuration of the run, where there is one."""
    if inputs.get("walkers"):
        return next(iter(inputs["walkers"].values()))
    nodes = [epoch.node for epoch in epochs if epoch.node is not None]
    if not nodes:
        return None
    links = orm.load_node(nodes[0].pk).base.links.get_incoming(
        node_class=ConfigurationData, link_type=LinkType.INPUT_WORK, link_label_filter="walkers__%"
    )
    first = links.first()
    return first.node if first else None


def _value(inputs: dict[str, Any], name: str) -> Any:
    return inputs[name].value if name in inputs else None


def _warnings(epochs: list[Epoch]) -> list[str]:
    """What makes epochs, or all of them together, untrustworthy."""
    if not epochs:
        return []
    lines = [f"Epoch {epoch.number}: {sentence}" for epoch in epochs for sentence in epoch.summary["warnings"]]
    run = summarise_chains([(epoch.chain, epoch.about) for epoch in epochs])["run"] if len(epochs) > 1 else {}
    return lines + [f"All epochs: {sentence}" for sentence in run.get("warnings", [])]


def _log(run: orm.WorkChainNode) -> list[str]:
    """What the work chain reported, the newest last; tracebacks are left out."""
    logs = orm.Log.collection.get_logs_for(run, order_by=[{"time": "asc"}])
    lines = [f"{log.time:%Y-%m-%d %H:%M:%S}  {log.message}" for log in logs if log.levelname == "REPORT"]
    return lines[-MAX_LOG_LINES:]

"""The state of any other process of this package: how far it is, what it called, and what its jobs say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiida import orm

__all__ = ("ChildState", "JobState", "ProcessState", "find_launched", "read_process_state", "state_in_words")

ENDED = ("finished", "excepted", "killed")
OURS = "aiida.workflows:slhmc."
LAUNCHED = [f"{name}WorkChain" for name in ("Slhmc", "Epoch", "Md", "Relabel", "FineTune", "Transfer", "Study")]
# a process, those that it called, and those that they called: a job is at most that deep where people look
DEPTH = 3
OUTPUT = "worker.out"
TAIL = 4096  # bytes


@dataclass(frozen=True, kw_only=True)
class ChildState:
    """All children of one type, by number."""

    label: str
    number: int
    ended: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A job that has not ended; ``progress`` is the last line that its worker printed, where it can be read here."""

    pk: int
    label: str
    words: str
    progress: str | None


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """A process as it stands."""

    pk: int
    label: str
    words: str
    started: datetime
    is_terminated: bool
    children: list[ChildState] = field(default_factory=list)
    jobs: list[JobState] = field(default_factory=list)


def find_launched(last: int, *, only_unfinished: bool = False) -> list[orm.WorkChainNode]:
    """The newest *last* work chains of this package that no other process called, the newest last."""
    filters: dict[str, Any] = {"process_type": {"like": f"{OURS}%"}, "attributes.process_label": {"in": LAUNCHED}}
    if only_unfinished:
        filters["attributes.process_state"] = {"!in": list(ENDED)}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters, project="id")
    called = orm.QueryBuilder().append(orm.WorkflowNode, tag="caller")
    called.append(orm.WorkChainNode, filters=filters, with_incoming="caller", project="id")
    pks = sorted(set(query.all(flat=True)) - set(called.all(flat=True)))[-last:]
    nodes: list[Any] = [orm.load_node(pk) for pk in pks]
    return nodes


def read_process_state(pk: int) -> ProcessState:
    """Read the state of the process *pk*."""
    node: Any = orm.load_node(pk)
    return ProcessState(
        pk=pk,
        label=node.process_label or type(node).__name__,
        words=state_in_words(node),
        started=node.ctime,
        is_terminated=node.is_terminated,
        children=_children(pk),
        jobs=[] if node.is_terminated else [_job(job) for job in _active_jobs(node)],
    )


def state_in_words(node: orm.ProcessNode) -> str:
    """How a process stands, or has ended."""
    if node.is_finished:
        return "finished" if node.is_finished_ok else f"exit status {node.exit_status}"
    if node.paused:
        return "paused"
    return str(node.process_state.value) if node.process_state else "created"


def _children(pk: int) -> list[ChildState]:
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={"id": pk}, tag="process")
    keys = ["attributes.process_label", "attributes.process_state", "attributes.exit_status"]
    query.append(orm.ProcessNode, with_incoming="process", project=keys, tag="child").order_by({"child": "ctime"})
    groups: dict[str, list[tuple[str, int | None]]] = {}
    for label, state, status in query.all():
        groups.setdefault(str(label), []).append((state, status))
    return [
        ChildState(
            label=label,
            number=len(group),
            ended=sum(state in ENDED for state, _ in group),
            failed=sum(state in ENDED[1:] or bool(status) for state, status in group),
        )
        for label, group in groups.items()
    ]


def _active_jobs(node: orm.ProcessNode) -> Iterator[orm.CalcJobNode]:
    """The jobs of a process that have not ended, itself included."""
    if isinstance(node, orm.CalcJobNode):
        yield node
    filters = {"attributes.process_state": {"!in": list(ENDED)}}
    for depth in range(1, DEPTH + 1):
        query = orm.QueryBuilder().append(orm.ProcessNode, filters={"id": node.pk}, tag="level_0")
        for level in range(1, depth):
            query.append(orm.ProcessNode, with_incoming=f"level_{level - 1}", tag=f"level_{level}", filters=filters)
        query.append(orm.CalcJobNode, with_incoming=f"level_{depth - 1}", filters=filters, tag="job", project="*")
        yield from query.order_by({"job": "id"}).all(flat=True)


def _job(job: orm.CalcJobNode) -> JobState:
    scheduler, number = job.get_scheduler_state(), job.get_job_id()
    computer = job.computer.label if job.computer is not None else "?"
    words = f"{scheduler.value if scheduler else 'not submitted yet'} on {computer}"
    return JobState(
        pk=int(job.pk or 0),
        label=job.process_label or "job",
        words=f"{words}, job {number}" if number else words,
        progress=_last_line(job),
    )


def _last_line(job: orm.CalcJobNode) -> str | None:
    """What the worker printed last. Only on this machine: elsewhere each look would open a connection."""
    folder = job.get_remote_workdir()
    if folder is None or job.computer is None or job.computer.transport_type != "core.local":
        return None
    try:
        with (Path(folder) / OUTPUT).open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - TAIL))
            lines = handle.read().decode(errors="replace").split("\n")
    except OSError:  # not begun, no job of ours, or cleaned
        return None
    # what comes after the last end of line may still be written
    return next((line.strip() for line in reversed(lines[:-1]) if line.strip()), None)

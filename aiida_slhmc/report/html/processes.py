"""Everything that a run called, at any depth: what it cost, what failed, and with which versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiida import orm

from aiida_slhmc.report.html.contents import Cost, FailedProcess

__all__ = ("Process", "costs_of", "failures_of", "read_processes")

ACTIVE = {"created", "running", "waiting"}
KINDS = {
    "process.calculation.calcjob": "job",
    "process.calculation.calcfunction": "function",
    "process.workflow.workchain": "work chain",
    "process.workflow.workfunction": "work function",
}
ORDER = ("job", "function", "work chain", "work function", "process")
FIELDS = {
    "pk": "id",
    "node_type": "node_type",
    "process_type": "process_type",
    "created": "ctime",
    "changed": "mtime",
    "label": "attributes.process_label",
    "state": "attributes.process_state",
    "exit_status": "attributes.exit_status",
    "exit_message": "attributes.exit_message",
    "exception": "attributes.exception",
    "version": "attributes.version",
    "job_info": "attributes.last_job_info",
    "cached_from": "extras._aiida_cached_from",
}


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process as the database has it; ``job_info`` is what the scheduler last said of a job."""

    pk: int
    node_type: str
    process_type: str | None
    created: datetime
    changed: datetime
    label: str | None
    state: str | None
    exit_status: int | None
    exit_message: str | None
    exception: str | None
    version: dict[str, str] | None
    job_info: dict[str, Any] | None
    cached_from: str | None

    @property
    def kind(self) -> str:
        """Job, function or work chain."""
        return next((kind for start, kind in KINDS.items() if self.node_type.startswith(start)), "process")

    @property
    def is_active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE

    @property
    def has_failed(self) -> bool:
        """Whether it ended, and not well."""
        return self.state in ("excepted", "killed") or (self.state == "finished" and bool(self.exit_status))

    def elapsed(self, now: datetime) -> timedelta:
        """From its creation to its end, the waiting for the computer included."""
        return max(timedelta(0), (now if self.is_active else self.changed) - self.created)


def read_processes(pk: int) -> list[Process]:
    """All that the process *pk* called, directly or not, by pk: one query for each level of calls."""
    found: dict[int, Process] = {}
    for depth in range(1, 20):
        rows = _level(pk, depth)
        if not rows:
            break
        for row in rows:
            process = Process(**{name: row[key] for name, key in FIELDS.items()})
            found[process.pk] = process
    return [found[key] for key in sorted(found)]


def _level(pk: int, depth: int) -> list[dict[str, Any]]:
    # between processes there are no other links than calls
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={"id": pk}, tag="level_0")
    for level in range(1, depth + 1):
        project = list(FIELDS.values()) if level == depth else []
        query.append(orm.ProcessNode, with_incoming=f"level_{level - 1}", tag=f"level_{level}", project=project)
    return [row[f"level_{depth}"] for row in query.dict()]


def costs_of(processes: Iterable[Process], now: datetime) -> list[Cost]:
    """Number and time by type of process, jobs first, the dearest first."""
    groups: dict[tuple[str, str], list[Process]] = {}
    for process in processes:
        groups.setdefault((process.kind, process.label or process.process_type or "?"), []).append(process)
    rows = [_cost(kind, label, group, now) for (kind, label), group in groups.items()]
    return sorted(rows, key=lambda row: (ORDER.index(row.kind), -row.elapsed, row.label))


def _cost(kind: str, label: str, group: list[Process], now: datetime) -> Cost:
    # what came from the cache cost nothing in this run
    computed = [process for process in group if process.cached_from is None]
    seconds = [_scheduler_seconds(process) for process in computed]
    counted = [value for value in seconds if value]
    return Cost(
        kind=kind,
        label=label,
        number=len(group),
        failed=sum(process.has_failed for process in group),
        cached=len(group) - len(computed),
        active=sum(process.is_active for process in group),
        elapsed=sum((process.elapsed(now) for process in computed), timedelta(0)),
        scheduler=timedelta(seconds=sum(counted)) if counted else None,
    )


def _scheduler_seconds(process: Process) -> float | None:
    info = process.job_info if isinstance(process.job_info, dict) else {}
    value = info.get("wallclock_time_seconds")
    return float(value) if isinstance(value, int | float) else None


def failures_of(processes: Iterable[Process]) -> list[FailedProcess]:
    """What ended with an exit code, excepted or was killed, in the order of its creation."""
    return [
        FailedProcess(
            pk=process.pk, label=process.label or "?", exit_status=process.exit_status, message=_message(process)
        )
        for process in processes
        if process.has_failed
    ]


def _message(process: Process) -> str:
    if process.state == "finished":
        return process.exit_message or ""
    # the last line of a traceback says what it was
    lines = (process.exception or "").strip().splitlines()
    return ": ".join([str(process.state), *lines[-1:]])

"""How a process that is no self-learning run is shown in the terminal: its children, its jobs, their progress."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from aiida_slhmc.report.process_state import ChildState, JobState, ProcessState

__all__ = ("process_line", "render_process")


def render_process(state: ProcessState) -> Group:
    """The display on a terminal."""
    table = Table(title=f"{state.label} {state.pk}: {state.words}", title_justify="left")
    for name, justify in (("what", "left"), ("ended", "right"), ("failed", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for child in state.children:
        table.add_row(Text(child.label), f"{child.ended}/{child.number}", str(child.failed or "–"))
    return Group(table, *(Text(_job(job)) for job in state.jobs))


def process_line(state: ProcessState) -> str:
    """One line, which changes when a child begins or ends, or a job goes on."""
    parts = [f"{state.label} {state.pk}: {state.words}", *map(_child, state.children), *map(_job, state.jobs)]
    return "; ".join(parts)


def _child(child: ChildState) -> str:
    failed = f", {child.failed} failed" if child.failed else ""
    return f"{child.label} {child.ended}/{child.number} ended{failed}"


def _job(job: JobState) -> str:
    return f"{job.label} {job.pk}: {job.words}" + (f", {job.progress}" if job.progress else "")

"""A live display of a run in the terminal, and the table of its epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, cast

from aiida import orm
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aiida_slhmc.report.database import read_patiently
from aiida_slhmc.report.process_display import process_line, render_process
from aiida_slhmc.report.process_state import read_process_state
from aiida_slhmc.report.run_state import EPOCH, SLHMC, RunState, read_run_state

__all__ = ("epoch_table", "watch")


class State(Protocol):
    """What the display needs to know of any state."""

    @property
    def is_terminated(self) -> bool:
        """Whether nothing changes any more."""


@dataclass(frozen=True)
class View:
    """How a kind of process is read, and shown on a terminal and in a log."""

    read: Callable[[int], Any]
    render: Callable[[Any], Group]
    line: Callable[[Any], str]


def watch(pk: int, *, is_alive: Callable[[], bool], console: Console, interval: float = 1.0) -> State:
    """Show a process until it has ended or *is_alive* says that nobody works on it any more; returns its last state.

    On a terminal the display refreshes in place; elsewhere (a log file) a line is printed when something has changed:
    of a run or an epoch for each decided cycle.
    """
    view = _view_of(pk)

    def look() -> Any:
        return read_patiently(lambda: view.read(pk), interval=interval, say=console.print)

    if not console.is_terminal:
        return _log(view, look, is_alive, console, interval)
    state = look()
    with Live(view.render(state), console=console, refresh_per_second=4) as live:
        while not state.is_terminated and is_alive():
            time.sleep(interval)
            state = look()
            live.update(view.render(state))
    return cast(State, state)


def _view_of(pk: int) -> View:
    if getattr(orm.load_node(pk), "process_label", None) in (SLHMC, EPOCH):
        return View(read_run_state, _render, _line)
    return View(read_process_state, render_process, process_line)


def _log(view: View, look: Callable[[], Any], is_alive: Callable[[], bool], console: Console, interval: float) -> State:
    shown = None
    while True:
        state = look()
        line = view.line(state)
        if line != shown:
            console.print(line, soft_wrap=True, markup=False)
            shown = line
        if state.is_terminated or not is_alive():
            return cast(State, state)
        time.sleep(interval)


def _line(state: RunState) -> str:
    """One line that changes when a cycle is decided or a training begins."""
    if not state.epochs:
        begun = "ended before its first epoch" if state.is_terminated else "labelling the start"
        return f"{begun}, {state.labels}/{state.label_budget} labels"
    last = state.epochs[-1]
    activity = state.activity if "tuning" in state.activity else "sampling"
    return (
        f"epoch {last.epoch}, cycle {last.cycle}/{state.n_cycles}, {state.labels}/{state.label_budget} labels, "
        f"acceptance {_number(last.acceptance, '.2f')}, force RMSE {_number(last.force_rmse, '.1f')} meV/Å, "
        f"{'ended' if state.is_terminated else activity}"
    )


def _render(state: RunState) -> Group:
    table = Table(title=f"SLHMC run {state.pk}", title_justify="left")
    for name in ("epoch", "cycle", "labels", "acceptance", "force RMSE (meV/Å)"):
        table.add_column(name, justify="right")
    for epoch in state.epochs:
        table.add_row(
            str(epoch.epoch),
            f"{epoch.cycle}/{state.n_cycles}",
            str(epoch.labels),
            _number(epoch.acceptance, ".2f"),
            _number(epoch.force_rmse, ".1f"),
        )
    left = None if state.is_terminated else state.time_left()
    words = "" if left is None else f", about {_duration(left)} left"
    bar = ProgressBar(total=state.label_budget, completed=state.labels, width=60)
    text = f"{state.labels}/{state.label_budget} labels{words}; {state.activity or 'ended'}"
    # a bar does not end its line, so it comes last
    return Group(table, Text(text), bar)


def epoch_table(history: dict[str, Any]) -> Group:
    """The epochs of a finished run, from the ``history`` output, and below them the warnings."""
    table = Table(title="Epochs; the errors are those of forward predictions", title_justify="left")
    table.box, table.padding, table.pad_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    headers = (
        "epoch",
        "labels",
        "acceptance\n(95 %)",
        "steps",
        "force RMSE\nmeV/Å",
        "energy RMSE\nmeV/atom",
        "… offset\nremoved",
        "⟨exp(−βΔH)⟩",
    )
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    for epoch in history["epochs"]:
        low, high = epoch["acceptance_interval"]
        table.add_row(
            str(epoch["epoch"]),
            str(epoch["labels"]),
            f"{epoch['acceptance']:.2f} ({low:.2f}–{high:.2f})",
            _number(epoch["n_steps"], ".0f"),
            _number(epoch["force_rmse_mev_per_angstrom"], ".1f"),
            _number(epoch["energy_rmse_mev_per_atom"], ".2f"),
            _number(epoch["energy_rmse_centred_mev_per_atom"], ".2f"),
            f"{_number(epoch['creutz'], '.3g')} ± {_number(epoch['creutz_error'], '.2g')}",
        )
    return Group(table, *_warnings(history))


def _warnings(history: dict[str, Any]) -> list[Text]:
    """One line for each warning of an epoch, then those of the whole run."""
    lines = [f"Epoch {epoch['epoch']}: {sentence}" for epoch in history["epochs"] for sentence in epoch["warnings"]]
    lines += [f"All epochs: {sentence}" for sentence in history["run"]["warnings"]]
    return [Text(line, style="yellow") for line in lines]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _duration(delta: timedelta) -> str:
    minutes, seconds = divmod(int(delta.total_seconds()), 60)
    return f"{minutes} min {seconds:02d} s"

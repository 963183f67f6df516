"""A live display of a run in the terminal, and the table of its epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aiida_slhmc.report.run_state import RunState, read_run_state

__all__ = ("epoch_table", "watch")


def watch(pk: int, *, is_alive: Callable[[], bool], console: Console, interval: float = 1.0) -> RunState:
    """Show the run until it has ended or *is_alive* says that nobody works on it any more; returns its last state.

    On a terminal the display refreshes in place; elsewhere (a log file) each decided cycle prints one line.
    """
    state = read_run_state(pk)
    if not console.is_terminal:
        return _log(state, is_alive, console, interval)
    with Live(_render(state), console=console, refresh_per_second=4) as live:
        while not state.is_terminated and is_alive():
            time.sleep(interval)
            state = read_run_state(pk)
            live.update(_render(state))
    return state


def _log(state: RunState, is_alive: Callable[[], bool], console: Console, interval: float) -> RunState:
    shown = None
    while True:
        line = _line(state)
        if line != shown:
            console.print(line, soft_wrap=True)
            shown = line
        if state.is_terminated or not is_alive():
            return state
        time.sleep(interval)
        state = read_run_state(state.pk)


def _line(state: RunState) -> str:
    """One line that changes when a cycle is decided or a training begins."""
    activity = state.activity if "tuning" in state.activity else "sampling"
    if not state.epochs:
        return f"labelling the start, {state.labels}/{state.label_budget} labels"
    last = state.epochs[-1]
    return (
        f"epoch {last.epoch}, cycle {last.cycle}/{state.n_cycles}, {state.labels}/{state.label_budget} labels, "
        f"acceptance {_number(last.acceptance, '.2f')}, force RMSE {_number(last.force_rmse, '.1f')} meV/Å, {activity}"
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
    left = state.time_left()
    words = "" if left is None else f", about {_duration(left)} left"
    bar = ProgressBar(total=state.label_budget, completed=state.labels, width=60)
    text = f"{state.labels}/{state.label_budget} labels{words}; {state.activity}"
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

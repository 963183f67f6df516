"""Figures with one point for each cycle and walker: ΔH, energies, and the cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from aiida_slhmc.report.html.contents import Epoch
from aiida_slhmc.report.html.structures import EpochStructure
from aiida_slhmc.report.html.style import (
    ACCENT,
    ACCEPTED,
    GREY,
    REJECTED,
    SECOND,
    THIRD,
    finish,
    grid,
    walker_colour,
)

__all__ = ("cell_lengths", "committee", "decisions", "energies", "volumes")

MEV = 1000.0
CYCLE = "cycle, all epochs"
# more points than these make a page slow; longer series are thinned evenly, which their captions say
MAX_POINTS = 4000
FEW_CYCLES = 12
PARTS = {"delta_h": "ΔH", "mismatch": "mismatch", "integration": "integration"}
LOOKS = {"accepted": (ACCEPTED, "circle"), "rejected": (REJECTED, "x-thin")}

Series = NDArray[Any]


def decisions(epochs: list[Epoch]) -> go.Figure:
    """ΔH of every labelled proposal, its mismatch and its integration part; accepted ones and rejected ones."""
    figure = grid(len(PARTS), 1, shared_xaxes=True, vertical_spacing=0.04)
    # a walker that an epoch did not have is neither, and has no ΔH
    accepted = _joined(epochs, "accepted").ravel() == 1
    for row, (name, title) in enumerate(PARTS.items(), start=1):
        values = MEV * _joined(epochs, name)
        for words, which in (("accepted", accepted), ("rejected", ~accepted)):
            trace = _scatter(values, which & np.isfinite(values.ravel()), words)
            trace.showlegend = row == 1
            figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(title_text=f"{title} (meV)", row=row, col=1)
        figure.add_hline(y=0, line={"color": GREY, "width": 1, "dash": "dot"}, row=row, col=1)
    _mark_epochs(figure, epochs)
    figure.update_xaxes(title_text=CYCLE, row=len(PARTS))
    return finish(figure, rows=2)


def _scatter(values: Series, which: NDArray[np.bool_], words: str) -> go.Scatter:
    """Points of a series (n_cycles, n_walkers), those of a flat mask."""
    kept = _thinned(np.flatnonzero(which))
    cycles, walkers = np.divmod(kept, values.shape[1])
    colour, symbol = LOOKS[words]
    return go.Scatter(
        x=cycles.tolist(),
        y=values.ravel()[kept].tolist(),
        customdata=walkers.tolist(),
        hovertemplate="cycle %{x}, walker %{customdata}: %{y:.2f} meV",
        mode="markers",
        name=words,
        legendgroup=words,
        marker={"color": colour, "size": 6, "opacity": 0.8, "symbol": symbol, "line": {"width": 1.4, "color": colour}},
    )


def energies(epochs: list[Epoch]) -> go.Figure:
    """The target's energy of each walker's state, from the mean of the last epoch, per atom."""
    n_atoms = epochs[-1].about["n_atoms"]
    zero = float(np.mean(epochs[-1].chain["energy"]))
    figure = grid(1, 1)
    _walkers(figure, MEV * (_joined(epochs, "energy") - zero) / n_atoms)
    _mark_epochs(figure, epochs)
    figure.update_yaxes(title_text="energy (meV/atom)")
    figure.update_xaxes(title_text=CYCLE)
    return finish(figure)


def volumes(epochs: list[Epoch]) -> go.Figure:
    """Volume of each walker's cell."""
    figure = grid(1, 1)
    _walkers(figure, _joined(epochs, "volume"))
    _mark_epochs(figure, epochs)
    figure.update_yaxes(title_text="volume of the cell (Å³)")
    figure.update_xaxes(title_text=CYCLE)
    return finish(figure)


def cell_lengths(epochs: list[Epoch], structures: dict[int, EpochStructure]) -> go.Figure:
    """a, b and c of the cell, the mean over the walkers in each cycle that was read."""
    figure = grid(1, 1)
    starts = dict(zip([epoch.number for epoch in epochs], _starts(epochs), strict=True))
    for column, (name, colour) in enumerate((("a", ACCENT), ("b", SECOND), ("c", THIRD))):
        x: list[float] = []
        y: list[float] = []
        for number, structure in structures.items():
            cycles = np.unique(structure.cycles)
            x += (starts[number] + cycles).tolist()
            y += [float(structure.cells[structure.cycles == cycle, column].mean()) for cycle in cycles]
        line = {"color": colour, "width": 1.4}
        figure.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines+markers", line=line, marker={"size": 4}))
    _mark_epochs(figure, epochs)
    figure.update_yaxes(title_text="length of the cell (Å)")
    figure.update_xaxes(title_text=CYCLE)
    return finish(figure)


def committee(epochs: list[Epoch]) -> go.Figure | None:
    """How much the committee's forces spread against how wrong the model's are; None without a committee."""
    figure = grid(1, 1)
    for epoch in epochs:
        if "committee_force_spread" in epoch.chain:
            spread, error = (MEV * epoch.chain[name].ravel() for name in ("committee_force_spread", "force_rmse"))
            both = np.isfinite(spread) & np.isfinite(error)
            marker = {"size": 7, "opacity": 0.8}
            figure.add_trace(
                go.Scatter(
                    x=spread[both].tolist(),
                    y=error[both].tolist(),
                    mode="markers",
                    name=f"epoch {epoch.number}",
                    marker=marker,
                )
            )
    if not figure.data:
        return None
    figure.update_xaxes(title_text="spread of the committee's forces (meV/Å)", rangemode="tozero")
    figure.update_yaxes(title_text="force RMSE of the model (meV/Å)", rangemode="tozero")
    return finish(figure)


def _joined(epochs: list[Epoch], name: str) -> Series:
    """A series of all epochs, one after the other, (n_cycles, n_walkers); NaN where an epoch had fewer walkers."""
    width = max(epoch.chain[name].shape[1] for epoch in epochs)
    padded = []
    for epoch in epochs:
        series = np.asarray(epoch.chain[name], dtype=float)
        padded.append(np.pad(series, ((0, 0), (0, width - series.shape[1])), constant_values=np.nan))
    return np.concatenate(padded)


def _starts(epochs: list[Epoch]) -> list[int]:
    """Where each epoch begins, counted in cycles."""
    return [0, *np.cumsum([epoch.n_cycles for epoch in epochs]).tolist()][: len(epochs)]


def _thinned(indices: Series) -> Series:
    if len(indices) <= MAX_POINTS:
        return indices
    return indices[np.linspace(0, len(indices) - 1, MAX_POINTS).round().astype(int)]


def _walkers(figure: go.Figure, values: Series) -> None:
    """A line for each walker."""
    n_cycles, n_walkers = values.shape
    kept = np.arange(n_cycles)
    if values.size > MAX_POINTS:
        kept = np.unique(np.linspace(0, n_cycles - 1, max(2, MAX_POINTS // n_walkers)).round().astype(int))
    for walker in range(n_walkers):
        figure.add_trace(
            go.Scatter(
                x=kept.tolist(),
                y=_listed(values[kept, walker]),
                mode="lines+markers" if len(kept) < 120 else "lines",
                name=f"walker {walker}",
                line={"color": walker_colour(walker), "width": 1.4, "shape": "hv"},
                marker={"size": 4},
            )
        )


def _mark_epochs(figure: go.Figure, epochs: list[Epoch]) -> None:
    """A line where an epoch begins, but for the first."""
    for start in _starts(epochs)[1:]:
        figure.add_vline(x=start - 0.5, line={"color": "#7d868e", "width": 1, "dash": "dash"}, layer="below")
    n_cycles = sum(epoch.n_cycles for epoch in epochs)
    if n_cycles <= FEW_CYCLES:  # there is nothing between two cycles
        figure.update_xaxes(dtick=1)


def _listed(values: Series) -> list[float | None]:
    """JSON has no NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]

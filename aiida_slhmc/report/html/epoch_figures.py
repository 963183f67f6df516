"""Figures with one point for each epoch: forward errors, acceptance, length of the proposals, deviations of ΔH."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from aiida_slhmc.analysis.forward_errors import forward_error_curve
from aiida_slhmc.report.html.contents import Epoch
from aiida_slhmc.report.html.style import ACCENT, GREY, SECOND, THIRD, finish, grid

__all__ = ("delta_h_parts", "forward_errors", "sampling")

FORWARD = {
    "force_rmse_mev_per_angstrom": ("force RMSE", ACCENT, "circle"),
    "energy_rmse_mev_per_atom": ("energy RMSE", SECOND, "circle"),
    "energy_rmse_centred_mev_per_atom": ("energy RMSE, mean offset removed", THIRD, "square"),
}
PARTS = {
    "sigma_delta_h": ("ΔH", ACCENT, "circle"),
    "sigma_mismatch": ("mismatch of model and target", SECOND, "square"),
    "sigma_integration": ("integration", THIRD, "diamond"),
}
MEV = 1000.0


def forward_errors(epochs: list[Epoch]) -> go.Figure:
    """Each model on the labels that came after it, against the labels before."""
    curve = forward_error_curve([(epoch.chain, epoch.about) for epoch in epochs])
    figure = grid(1, 2, horizontal_spacing=0.12)
    x = [row["labels_before"] for row in curve]
    words = [f"epoch {row['epoch']}, {row['labels']} labels" for row in curve]
    for name, (title, colour, symbol) in FORWARD.items():
        column = 1 if name.startswith("force") else 2
        values = [_positive(row[name]) for row in curve]
        errors = [row[f"{name}_error"] for row in curve]
        trace = _points(x, values, title, colour, symbol, text=words)
        trace.error_y = {"type": "data", "array": errors, "thickness": 1.2, "width": 4, "visible": True}
        # the first one is on the axis
        trace.cliponaxis = False
        figure.add_trace(trace, row=1, col=column)
    figure.update_yaxes(type="log", dtick="D2", tickformat="~g")
    figure.update_xaxes(title_text="labels of the epochs before", rangemode="tozero")
    figure.update_yaxes(title_text="force RMSE (meV/Å)", row=1, col=1)
    figure.update_yaxes(title_text="energy RMSE (meV/atom)", row=1, col=2)
    return finish(figure)


def sampling(epochs: list[Epoch]) -> go.Figure:
    """Acceptance with its interval and its prediction, proposal length, ⟨exp(−βΔH)⟩, and what a label moves."""
    summaries = [epoch.summary for epoch in epochs]
    x = [epoch.number for epoch in epochs]
    figure = grid(2, 2, shared_xaxes=True, horizontal_spacing=0.12, vertical_spacing=0.09)
    _acceptance(figure, x, summaries)
    steps = _points(x, [row["n_steps"] for row in summaries], "steps of a proposal (mean)", SECOND, "triangle-up")
    steps.customdata = [row["timestep"] for row in summaries]
    steps.hovertemplate = "epoch %{x}: %{y:.1f} steps of %{customdata} fs<extra></extra>"
    figure.add_trace(steps, row=1, col=2)
    creutz = _points(x, [row["creutz"] for row in summaries], "⟨exp(−βΔH)⟩, 1 where stationary", THIRD, "circle")
    creutz.error_y = {"type": "data", "array": [row["creutz_error"] for row in summaries], "thickness": 1.2, "width": 4}
    figure.add_trace(creutz, row=2, col=1)
    figure.add_hline(y=1, line={"color": GREY, "width": 1, "dash": "dot"}, row=2, col=1)
    jumps = [row["expected_squared_jump_per_label"] for row in summaries]
    figure.add_trace(_points(x, jumps, "expected squared jump per label", "#5c4b99", "diamond"), row=2, col=2)
    titles = ("acceptance", "proposal length (steps)", "⟨exp(−βΔH)⟩", "jump per label (Å²/atom)")
    for k, title in enumerate(titles):
        figure.update_yaxes(title_text=title, row=k // 2 + 1, col=k % 2 + 1)
    figure.update_yaxes(range=[-0.03, 1.03], row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_yaxes(rangemode="tozero", row=2, col=2)
    figure.update_xaxes(title_text="epoch", row=2)
    figure.update_xaxes(dtick=max(1, len(x) // 10))
    return finish(figure, rows=2)


def delta_h_parts(epochs: list[Epoch]) -> go.Figure:
    """Standard deviations of ΔH and of its two parts."""
    figure = grid(1, 1)
    x = [epoch.number for epoch in epochs]
    for name, (title, colour, symbol) in PARTS.items():
        values = [_positive(epoch.summary[name], MEV) for epoch in epochs]
        figure.add_trace(_points(x, values, f"σ of {title}", colour, symbol))
    figure.update_yaxes(type="log", dtick="D2", tickformat="~g", title_text="standard deviation (meV per cell)")
    figure.update_xaxes(title_text="epoch", dtick=max(1, len(x) // 10))
    return finish(figure)


def _acceptance(figure: go.Figure, x: list[int], summaries: list[dict[str, Any]]) -> None:
    values = [row["acceptance"] for row in summaries]
    low = [max(0.0, row["acceptance"] - row["acceptance_interval"][0]) for row in summaries]
    high = [max(0.0, row["acceptance_interval"][1] - row["acceptance"]) for row in summaries]
    trace = _points(x, values, "acceptance (95 % interval)", ACCENT, "circle")
    trace.error_y = {"type": "data", "array": high, "arrayminus": low, "symmetric": False, "thickness": 1.2, "width": 4}
    figure.add_trace(trace, row=1, col=1)
    predicted = _points(x, [row["predicted_acceptance"] for row in summaries], "predicted from σ(ΔH)", GREY, "x")
    predicted.line.dash = "dot"
    figure.add_trace(predicted, row=1, col=1)


def _points(
    x: list[Any], y: list[Any], name: str, colour: str, symbol: str, text: list[str] | None = None
) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 1.6},
        marker={"symbol": symbol, "size": 8, "color": colour},
        text=text,
    )


def _positive(value: float | None, factor: float = 1.0) -> float | None:
    """An axis of logarithms has no place for zero."""
    return factor * value if value is not None and value > 0 else None

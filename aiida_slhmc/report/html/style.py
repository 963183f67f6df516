"""Colours and form that all figures of the page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

__all__ = (
    "ACCENT",
    "ACCEPTED",
    "GREY",
    "REJECTED",
    "SECOND",
    "THIRD",
    "epoch_colours",
    "finish",
    "grid",
    "walker_colour",
)

# Okabe and Ito's colours, which people with colour blindness can tell apart
ACCENT, SECOND, THIRD, GREY = "#0072b2", "#d55e00", "#009e73", "#7a7a7a"
ACCEPTED, REJECTED = "#0072b2", "#c44e00"
WALKERS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5c4b99", "#7a7a7a")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# in pixels; above the panels are the tool bar and the legend
PANEL_HEIGHT, TOP = 310, 95


def walker_colour(walker: int) -> str:
    """Colour of a walker; they repeat after eight."""
    return WALKERS[walker % len(WALKERS)]


def epoch_colours(numbers: Sequence[int]) -> dict[int, str]:
    """From pale (first epoch) to dark (last)."""
    n = len(numbers)
    places = [0.15 + 0.8 * (k / (n - 1) if n > 1 else 1.0) for k in range(n)]
    return dict(zip(numbers, sample_colorscale("Viridis_r", places), strict=True)) if n else {}


def grid(rows: int, columns: int, **options: Any) -> go.Figure:
    """Panels without decoration."""
    return make_subplots(rows=rows, cols=columns, **options)


def finish(figure: go.Figure, *, rows: int = 1, gap: float = 10) -> go.Figure:
    """White ground, frames around the panels, ticks outside, the legend *gap* pixels above."""
    figure.update_layout(
        template="simple_white",
        font={"family": FONT, "size": 13, "color": "#222"},
        height=PANEL_HEIGHT * rows + TOP,
        margin={"l": 75, "r": 20, "t": TOP, "b": 50},
        showlegend=True,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0 + gap / (PANEL_HEIGHT * rows - 50), "x": 0},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#a0a7ae", "activecolor": ACCENT},
        hoverlabel={"font": {"family": FONT}},
        paper_bgcolor="rgba(0,0,0,0)",
    )
    look = {"mirror": True, "ticks": "outside", "showgrid": True, "gridcolor": "#ececec", "zeroline": False}
    figure.update_xaxes(**look)
    figure.update_yaxes(**look)
    return figure

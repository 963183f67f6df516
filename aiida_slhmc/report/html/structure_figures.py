"""Figures of the structure: nearest neighbours and radial distributions, epoch by epoch."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from aiida_slhmc.report.html.structures import NEAREST_BIN, RDF_MAX, EpochStructure
from aiida_slhmc.report.html.style import epoch_colours, finish, grid

__all__ = ("nearest_neighbours", "radial_distributions")

COLUMNS = 3


def nearest_neighbours(structures: dict[int, EpochStructure]) -> go.Figure:
    """Distribution of the distance to the nearest neighbour of the main pair, pale for the first epoch."""
    figure = grid(1, 1)
    colours = epoch_colours(list(structures))
    for number, structure in structures.items():
        distance, density = structure.nearest
        # an ideal crystal is in one bin, and a line needs more than one point
        edges = NEAREST_BIN * np.array([-1, 1]) + distance[[0, -1]]
        distance, density = np.insert(edges, 1, distance), np.pad(density, 1)
        figure.add_trace(
            go.Scatter(
                x=distance.round(6).tolist(),
                y=density.round(6).tolist(),
                mode="lines",
                name=f"epoch {number} (mean {structure.nearest_mean:.3f} Å)",
                line={"color": colours[number], "width": 1.8, "shape": "hvh"},
            )
        )
    pair = next(iter(structures.values())).pair
    figure.update_xaxes(title_text=f"nearest {pair[0]}–{pair[1]} distance (Å)")
    figure.update_yaxes(title_text="probability density (1/Å)", rangemode="tozero")
    return finish(figure)


def radial_distributions(structures: dict[int, EpochStructure]) -> go.Figure:
    """g(r) of each pair of species, pale for the first epoch."""
    pairs = list(next(iter(structures.values())).rdf)
    columns = min(COLUMNS, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    titles = [f"{one}–{other}" for one, other in pairs]
    figure = grid(rows, columns, subplot_titles=titles, horizontal_spacing=0.07, vertical_spacing=0.16)
    colours = epoch_colours(list(structures))
    for number, structure in structures.items():
        for k, pair in enumerate(pairs):
            if pair not in structure.rdf:
                continue
            distance, density = structure.rdf[pair]
            trace = go.Scatter(
                x=distance.round(6).tolist(),
                y=density.round(6).tolist(),
                mode="lines",
                name=f"epoch {number}",
                legendgroup=f"epoch {number}",
                showlegend=k == 0,
                line={"color": colours[number], "width": 1.5},
            )
            figure.add_trace(trace, row=k // columns + 1, col=k % columns + 1)
    figure.update_xaxes(title_text="r (Å)", row=rows)
    figure.update_xaxes(range=[_start(structures), RDF_MAX])
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title_text="g(r)", col=1)
    return finish(figure, rows=rows, gap=30)


def _start(structures: dict[int, EpochStructure]) -> float:
    """Where the axis begins (Å): before the shortest distance of all, be it that of O–H."""
    curves = [curve for structure in structures.values() for curve in structure.rdf.values()]
    shortest = [float(distance[density > 0][0]) for distance, density in curves if (density > 0).any()]
    return max(0.0, min([1.0, *(distance - 0.2 for distance in shortest)]))

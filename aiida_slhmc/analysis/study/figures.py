"""All figures of a study by their names."""

from __future__ import annotations

from aiida_slhmc.analysis.study.cell_figure import fig_6
from aiida_slhmc.analysis.study.run_figures import fig_2, fig_a3
from aiida_slhmc.analysis.study.samples import Study
from aiida_slhmc.analysis.study.structure_figures import fig_3, fig_4, fig_5, fig_a1, fig_a2
from aiida_slhmc.analysis.study.style import png, style

__all__ = ("FIGURES", "draw_figures")

FIGURES = {
    "fig_2": fig_2,
    "fig_3": fig_3,
    "fig_4": fig_4,
    "fig_5": fig_5,
    "fig_6": fig_6,
    "fig_a1": fig_a1,
    "fig_a2": fig_a2,
    "fig_a3": fig_a3,
}


def draw_figures(study: Study) -> dict[str, bytes]:
    """The figures for which there is something to show, as PNG."""
    pictures = {}
    with style():
        for name, draw in FIGURES.items():
            figure = draw(study)
            if figure is not None:
                pictures[name] = png(figure)
    return pictures

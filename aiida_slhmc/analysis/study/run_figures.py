"""Figures of the runs: forward errors (figure 2), and acceptance and proposal length (figure A3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from aiida_slhmc.analysis.study.samples import Study, functional_name
from aiida_slhmc.analysis.study.style import colour, new_figure, outside_legend
from aiida_slhmc.analysis.study.summary import cumulative_acceptance

__all__ = ("fig_2", "fig_a3")

FORWARD = {
    "force_rmse_mev_per_angstrom": "force RMSE (meV/Å)",
    "energy_rmse_mev_per_atom": "energy RMSE (meV/atom)",
    "energy_rmse_centred_mev_per_atom": "energy RMSE,\nmean offset removed (meV/atom)",
}
# of lines of one functional
LINES = {"nvt": "-", "npt": "--"}
MARKERS = {"nvt": "o", "npt": "s"}


def fig_2(study: Study) -> Figure | None:
    """Errors of each model on the labels that came after it, against the labels it was trained on."""
    if not study.forward:
        return None
    figure = new_figure(study, "Forward prediction errors; bars are standard errors", (10, 3.6))
    panels = figure.subplots(1, len(FORWARD), sharex=True)
    for panel, (name, title) in zip(panels, FORWARD.items(), strict=True):
        for run in study.forward:
            _errors(study, panel, run, name)
        panel.set(xlabel="labels that the model was trained on", ylabel=title, yscale="log")
        _plain_numbers(panel.yaxis)
    outside_legend(figure, panels, min(len(study.forward), 6))
    return figure


def fig_a3(study: Study) -> Figure | None:
    """Acceptance of all proposals so far, and how long a proposal is."""
    histories = [history for history in study.histories if history["epochs"]]
    if not histories:
        return None
    figure = new_figure(study, "Acceptance and proposal length", (6.5, 5.6))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for history in histories:
        look = _look(study, history)
        proposals, acceptance = cumulative_acceptance(history)
        upper.plot(proposals, acceptance, **look)
        # the length of an epoch holds from its first proposal to its last
        edges = np.concatenate([[0], proposals])
        n_steps = _column(history["epochs"], "n_steps")
        lower.plot(edges, np.concatenate([n_steps[:1], n_steps]), drawstyle="steps-pre", **look | {"marker": ""})
    upper.set(ylabel="cumulative acceptance", ylim=(-0.02, 1.02))
    lower.set(xlabel="proposals, and so labels asked for", ylabel="proposal length (steps)")
    lower.set_ylim(bottom=0)
    lower.set_xlim(left=0)
    outside_legend(figure, upper, min(len(histories), 3))
    return figure


def _errors(study: Study, panel: Any, run: dict[str, Any], name: str) -> None:
    """One line with its error bars; models without this error are left out."""
    values = _column(run["updates"], name)
    errors = np.nan_to_num(_column(run["updates"], f"{name}_error"))
    # an axis of logarithms has no place for zero, which the mean offset removed from one label leaves
    values[values <= 0] = np.nan
    # a bar that reaches zero would leave the axis
    below = np.minimum(errors, 0.95 * values)
    panel.errorbar(
        _column(run["updates"], "labels_before"), values, yerr=[below, errors], capsize=2, **_look(study, run)
    )


def _plain_numbers(axis: Any) -> None:
    """Ticks of a logarithmic axis as numbers, also within one decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _look(study: Study, run: dict[str, Any]) -> dict[str, Any]:
    functional, ensemble = run["functional"], run["ensemble"]
    return {
        "color": colour(functional, study.functionals),
        "linestyle": LINES.get(ensemble, ":"),
        "marker": MARKERS.get(ensemble, "^"),
        "label": f"{functional_name(functional)}, {ensemble.upper()}",
    }


def _column(rows: list[dict[str, Any]], name: str) -> NDArray[np.float64]:
    """Values over rows, NaN where there is none."""
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], dtype=float)

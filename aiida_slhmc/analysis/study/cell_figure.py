"""Figure 6: the cell at constant pressure against the number of labels."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from aiida_slhmc.analysis.bootstrap import Estimate
from aiida_slhmc.analysis.study.samples import Sample, Study, functional_name
from aiida_slhmc.analysis.study.style import EXPERIMENT, FOUNDATION_COLOUR, colour, new_figure, outside_legend

__all__ = ("fig_6",)

PANELS = {"a": "a (Å)", "b": "b (Å)", "c": "c (Å)", "volume": "V (Å³ per formula unit)"}


def fig_6(study: Study) -> Figure | None:
    """Cell lengths and volume of each model; reference, control, foundation and experiment beside them."""
    shown = [name for name in study.functionals if study.adapted("npt", name) or study.reference("npt", name)]
    if not shown:
        return None
    figure = new_figure(study, "Cell against labels, NPT; bars and bands are standard errors", (9, 6.6))
    panels = figure.subplots(2, 2, sharex=True)
    for panel, (name, title) in zip(panels.flat, PANELS.items(), strict=True):
        for functional in shown:
            _functional(study, panel, functional, name)
        _point(panel, study.foundation("npt"), name, color=FOUNDATION_COLOUR, marker="o", label="foundation MACE MD")
        if study.experiment.get(_measured(study, name)) is not None:
            value = float(study.experiment[_measured(study, name)])
            panel.axhline(value, color=EXPERIMENT, linestyle=":", label="experiment")
        panel.set_ylabel(title)
        panel.ticklabel_format(axis="y", useOffset=False)
    for panel in panels[1]:
        panel.set_xlabel("labels that the model was trained on")
    outside_legend(figure, panels, 3)
    return figure


def _functional(study: Study, panel: Any, functional: str, name: str) -> None:
    """Models as a line that begins at the foundation, the reference as a band, the control as a diamond."""
    tint, words = colour(functional, study.functionals), functional_name(functional)
    evolution = [(s.labels or 0, s.estimate("cell", name)) for s in study.evolution("npt", functional)]
    known = [(labels, estimate) for labels, estimate in evolution if estimate]
    if known:
        labels, estimates = zip(*known, strict=True)
        values, errors = [item.value for item in estimates], [_bar(item) for item in estimates]
        panel.errorbar(labels, values, yerr=errors, color=tint, marker="o", capsize=2, label=f"{words}-adapted MACE MD")
    reference = study.reference("npt", functional)
    level = reference.estimate("cell", name) if reference else None
    if level:
        panel.axhline(level.value, color=tint, linestyle="--", label=f"{words} SLHMC reference")
        panel.axhspan(level.value - _bar(level), level.value + _bar(level), color=tint, alpha=0.15, linewidth=0)
    _control(panel, study.control("npt", functional), name, color=tint, label=f"{words} relabelled control")


def _control(panel: Any, control: Sample | None, name: str, **look: Any) -> None:
    """A point where the number of labels is known, else a line."""
    estimate = control.estimate("cell", name) if control else None
    if control and estimate and control.labels is None:
        panel.axhline(estimate.value, linestyle="-.", **look)
    else:
        # open, so that it stays visible on a line of its colour
        _point(panel, control, name, marker="D", markerfacecolor="white", markersize=6.5, **look)


def _point(panel: Any, sample: Sample | None, name: str, **look: Any) -> None:
    estimate = sample.estimate("cell", name) if sample else None
    if sample and estimate:
        panel.errorbar(
            [sample.labels or 0], [estimate.value], yerr=[_bar(estimate)], linestyle="", capsize=2, zorder=3, **look
        )


def _bar(estimate: Estimate) -> float:
    """Half the length of an error bar, none where the error is not known."""
    return 0.0 if math.isnan(estimate.standard_error) else estimate.standard_error


def _measured(study: Study, name: str) -> str:
    """Key of the experiment's value: of a tetragonal crystal, only a and c are given."""
    return "a" if name == "b" and "b" not in study.experiment else name

"""Figures of the structure: nearest neighbours (figure 3) and radial distributions (4, 5, A1, A2)."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from aiida_slhmc.analysis.study.formatting import with_uncertainty
from aiida_slhmc.analysis.study.samples import Sample, Study, estimate_of, functional_name
from aiida_slhmc.analysis.study.style import (
    FOUNDATION_COLOUR,
    RDF_DIFFERENCE_BIN,
    REFERENCE,
    colour,
    crop,
    new_figure,
    outside_legend,
    pairs_of,
    rdf,
)

__all__ = ("fig_3", "fig_4", "fig_5", "fig_a1", "fig_a2")

# colours of the evolution, from few labels to many
GRADIENT, PALEST, DARKEST = "viridis_r", 0.1, 0.75
# Å around the first peak that are drawn larger
FIRST_SHELL = 0.35
# part of the highest density below which a histogram's edge is not drawn
NEGLIGIBLE = 1e-3
# thin and over a wide line, so that both are seen where they agree
ON_TOP: dict[str, Any] = {"linewidth": 0.9, "zorder": 3}


def fig_3(study: Study) -> Figure | None:
    """Distribution of the nearest neighbours of the foundation, each adapted model and its reference."""
    shown = [name for name in study.functionals if _has(study.adapted("nvt", name), "nearest_density")]
    if not shown:
        return None
    figure = new_figure(study, "Nearest-neighbour distances, NVT", (3.3 * len(shown) + 0.6, 3.6))
    panels = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for panel, functional in zip(panels, shown, strict=True):
        adapted, reference = study.adapted("nvt", functional), study.reference("nvt", functional)
        _density(panel, reference, color=REFERENCE, fill=True, label="SLHMC reference", **ON_TOP)
        _density(panel, study.foundation("nvt"), color=FOUNDATION_COLOUR, label="foundation MACE MD")
        tint = colour(functional, study.functionals)
        _density(panel, adapted, color=tint, linewidth=2.0, label=f"{functional_name(functional)}-adapted MACE MD")
        panel.set_title("\n".join([functional_name(functional), *_distances(study, functional)]))
        panel.set_xlabel(f"nearest {_dash(adapted)} distance (Å)")
    panels[0].set_ylabel("probability density (1/Å)")
    panels[0].set_ylim(bottom=0)
    outside_legend(figure, panels, 5)
    return figure


def fig_4(study: Study) -> Figure | None:
    """How the last functional's radial distribution changes with the labels."""
    return _evolution(study, _with_evolution(study)[-1:], "Radial distribution against labels, NVT")


def fig_a1(study: Study) -> Figure | None:
    """The same of the other functionals."""
    return _evolution(study, _with_evolution(study)[:-1], "Radial distributions against labels, NVT")


def fig_5(study: Study) -> Figure | None:
    """Radial distributions of all pairs, reference and adapted model of the last functional, and their difference."""
    found = [(name, study.adapted("nvt", name), study.reference("nvt", name)) for name in study.functionals]
    complete = [(name, one, two) for name, one, two in found if one and two and pairs_of(one) and pairs_of(two)]
    if not complete:
        return None
    functional, adapted, reference = complete[-1]
    pairs = pairs_of(reference)
    title = f"Radial distributions, {functional_name(functional)}, NVT"
    figure = new_figure(study, title, (3.3 * len(pairs) + 0.6, 4.4))
    panels = figure.subplots(2, len(pairs), sharex=True, squeeze=False, height_ratios=[3, 1])
    look: dict[str, Any] = {"color": colour(functional, study.functionals)}
    for (upper, lower), pair in zip(panels.T, pairs, strict=True):
        _line(upper, reference, pair, color=REFERENCE, label="SLHMC reference", **ON_TOP)
        _line(upper, adapted, pair, linewidth=2.6, label=f"{functional_name(functional)}-adapted MACE MD", **look)
        upper.set_title(pair.replace("-", "–"))
        one, two = (rdf(sample, pair, RDF_DIFFERENCE_BIN) for sample in (adapted, reference))
        if one and two:
            lower.plot(two[0], np.interp(two[0], *one) - two[1], **look)
        lower.axhline(0, color=REFERENCE, linewidth=0.8)
        lower.set_xlabel("r (Å)")
    crop(panels[0])
    panels[0, 0].set_ylabel("g(r)")
    panels[1, 0].set_ylabel("adapted −\nreference")
    figure.align_ylabels(panels[:, 0])
    outside_legend(figure, panels, 2)
    return figure


def fig_a2(study: Study) -> Figure | None:
    """Radial distributions of the references at constant pressure."""
    found = [(name, study.reference("npt", name)) for name in study.functionals]
    references = [(name, sample) for name, sample in found if sample and pairs_of(sample)]
    if not references:
        return None
    pairs = pairs_of(references[0][1])
    figure = new_figure(study, "Radial distributions of the SLHMC references, NPT", (3.3 * len(pairs) + 0.6, 3.4))
    panels = figure.subplots(1, len(pairs), sharex=True, squeeze=False)[0]
    for panel, pair in zip(panels, pairs, strict=True):
        for functional, sample in references:
            tint = colour(functional, study.functionals)
            _line(panel, sample, pair, color=tint, label=f"{functional_name(functional)} SLHMC reference")
        panel.set(xlabel="r (Å)", title=pair.replace("-", "–"))
    crop(panels)
    panels[0].set_ylabel("g(r)")
    outside_legend(figure, panels, len(references))
    return figure


def _with_evolution(study: Study) -> list[str]:
    """Functionals whose models have a radial distribution of the nearest neighbours' pair."""
    samples = {name: study.of("adapted_md", "nvt", name) for name in study.functionals}
    return [name for name, found in samples.items() if any(rdf(sample, sample.pair) for sample in found)]


def _evolution(study: Study, functionals: list[str], title: str) -> Figure | None:
    """A row for each functional: the whole distribution, and its first shell larger."""
    if not functionals:
        return None
    figure = new_figure(study, title, (9.5, 3.2 * len(functionals) + 0.8))
    rows = figure.subplots(len(functionals), 2, squeeze=False, width_ratios=[3, 2])
    for (whole, shell), functional in zip(rows, functionals, strict=True):
        samples = [sample for sample in study.evolution("nvt", functional) if rdf(sample, sample.pair)]
        reference, pair = study.reference("nvt", functional), samples[-1].pair
        most = max(1, *(sample.labels or 0 for sample in samples))
        tints = mpl.colormaps[GRADIENT]
        for panel in (whole, shell):
            for sample in samples:
                tint = tints(PALEST + (DARKEST - PALEST) * sample.labels / most) if sample.labels else FOUNDATION_COLOUR
                label = f"{sample.labels} labels" if sample.labels else "foundation"
                _line(panel, sample, pair, color=tint, label=label)
            _line(panel, reference, pair, color=REFERENCE, linestyle="--", label="SLHMC reference", **ON_TOP)
            panel.set(xlabel="r (Å)", ylabel=f"g(r), {pair.replace('-', '–')}")
        whole.set_title(functional_name(functional))
        shell.set_title("first shell")
        crop(whole)
        _zoom(shell, reference or samples[-1], pair)
        # beside the panels: the models of one functional need not be those of another
        shell.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return figure


def _zoom(panel: Any, sample: Sample, pair: str) -> None:
    peak = sample.estimate("peaks", pair)
    if peak:
        panel.set_xlim(peak.value - FIRST_SHELL, peak.value + FIRST_SHELL)


def _line(panel: Any, sample: Sample | None, pair: str, **look: Any) -> None:
    curve = rdf(sample, pair) if sample else None
    if curve:
        panel.plot(*curve, **look)


def _density(panel: Any, sample: Sample | None, *, fill: bool = False, **look: Any) -> None:
    """A histogram as steps, without its empty ends."""
    if sample is None or not _has(sample, "nearest_density"):
        return
    distance, density = sample.curves["nearest_distance"], sample.curves["nearest_density"]
    kept = np.flatnonzero(density > NEGLIGIBLE * density.max())
    part = slice(kept[0], kept[-1] + 1)
    panel.step(distance[part], density[part], where="mid", **look)
    if fill:
        panel.fill_between(distance[part], density[part], step="mid", color=look["color"], alpha=0.15, linewidth=0)


def _distances(study: Study, functional: str) -> list[str]:
    """Distances to the reference, in words."""
    reference = study.reference("nvt", functional)
    samples = (study.foundation("nvt"), study.adapted("nvt", functional))
    found = [estimate_of(study.comparison(sample, reference).get("wasserstein")) for sample in samples]
    if None in found:
        return []
    first, last = (with_uncertainty(*item) for item in found if item)
    return [f"W₁ to reference {first} → {last} Å"]


def _has(sample: Sample | None, curve: str) -> bool:
    return sample is not None and len(sample.curves.get(curve, ())) > 0


def _dash(sample: Sample | None) -> str:
    return sample.pair.replace("-", "–") if sample else ""

"""The page: what was gathered, its figures, and plotly's own script, in one file of HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.resources import files

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.io import to_json
from plotly.offline import get_plotlyjs

from aiida_slhmc.report.html import epoch_figures, series_figures, structure_figures
from aiida_slhmc.report.html.contents import Report
from aiida_slhmc.report.html.layout import HEIGHT, WIDTH, draw
from aiida_slhmc.report.html.problems import KINDS

__all__ = ("Figure", "figures_of", "render")

PACKAGE = "aiida_slhmc.report.html"
FUNCTIONALS = {"pbe": "PBE", "r2scan": "r²SCAN", "hse06": "HSE06", "pbesol": "PBEsol", "lda": "LDA"}
MAX_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page: its name in the page, its section, and what is written below it."""

    name: str
    section: str
    caption: str
    figure: go.Figure

    @property
    def has_columns(self) -> bool:
        """Whether panels stand beside each other, which a narrow window has no room for."""
        return any(axis.domain and axis.domain[0] > 0 for axis in self.figure.select_xaxes())


def figures_of(report: Report) -> list[Figure]:
    """All figures that the run has data for, in the order of the page."""
    return list(_figures(report)) if report.epochs else []


def render(report: Report, *, refresh: float | None = None) -> str:
    """The page as text.

    :param refresh: after how many seconds the page loads itself anew; None: never.
    """
    figures = figures_of(report)
    environment = Environment(
        loader=PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration, "moment": moment}
    return environment.get_template("page.html.jinja").render(
        report=report,
        title=title_of(report),
        refresh=None if refresh is None else max(1, round(refresh)),
        figures=figures,
        # a figure's texts may hold "</script>", which would end the script that holds them
        data={item.name: Markup(_script_safe(to_json(item.figure, validate=False))) for item in figures},
        drawing=None if report.graph is None else draw(report.graph),
        box={"width": WIDTH, "height": HEIGHT},
        kinds=KINDS,
        functionals=FUNCTIONALS,
        max_rows=MAX_ROWS,
        last=report.epochs[-1] if report.epochs else None,
        styles=Markup(_resource("page.css")),
        script=Markup(_resource("page.js")),
        # the library's own file; nothing of a run is in it
        plotly=Markup(get_plotlyjs()) if figures else "",
    )


def title_of(report: Report) -> str:
    """Title of page and window."""
    about = report.about
    what = "SLHMC run" if report.state.process == "SlhmcWorkChain" else "SLHMC epoch"
    functional = about.get("functional")
    parts = [about.get("formula"), FUNCTIONALS.get(str(functional), functional), str(about["ensemble"]).upper()]
    return f"{what} {report.node.pk}: {', '.join(str(part) for part in parts if part)}"


def number(value: float | None, form: str = ".3g") -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def duration(value: timedelta | float | None) -> str:
    """A time in the two largest units that it has."""
    if value is None:
        return "–"
    total = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if total < 60:
        return f"{total:.1f} s"
    minutes, seconds = divmod(round(total), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def moment(value: datetime) -> str:
    """A moment in coordinated universal time."""
    return f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _figures(report: Report) -> Iterator[Figure]:
    epochs, structures = report.epochs, report.structures
    yield Figure(
        name="forward-errors",
        section="errors",
        caption="Each epoch's model on the epoch's own labels, which no model had seen before; against the labels of "
        "the epochs before. Bars are standard errors (bootstrap over the labels).",
        figure=epoch_figures.forward_errors(epochs),
    )
    yield Figure(
        name="acceptance",
        section="sampling",
        caption="Within an epoch the kernel is frozen; between epochs model and length change. The intervals take "
        "proposals as independent. A jump is the squared displacement that a label is expected to bring.",
        figure=epoch_figures.sampling(epochs),
    )
    yield Figure(
        name="delta-h",
        section="sampling",
        caption="ΔH of every labelled proposal = mismatch (model against target) + integration (error of the time "
        "step). Vertical lines: epochs. Drag to zoom, double click to go back.",
        figure=series_figures.decisions(epochs),
    )
    yield Figure(
        name="delta-h-parts",
        section="sampling",
        caption="How wide ΔH and its two parts are in each epoch: σ(ΔH) sets the acceptance. If integration dominates, "
        "take a smaller time step; if the mismatch does, more labels or shorter proposals help.",
        figure=epoch_figures.delta_h_parts(epochs),
    )
    spread = series_figures.committee(epochs)
    if spread is not None:
        yield Figure(
            name="committee",
            section="errors",
            caption="A committee that knows where the model is wrong has its points along a rising line.",
            figure=spread,
        )
    yield Figure(
        name="energies",
        section="chain",
        caption="The target's energy of the state that each walker is in after each cycle, from the mean of the "
        "last epoch; repeats are rejections.",
        figure=series_figures.energies(epochs),
    )
    if report.about["ensemble"] == "npt":
        yield from _cell_figures(report)
    if structures:
        yield Figure(
            name="nearest-neighbours",
            section="structure",
            caption="Over the chain of each epoch with its repeats, at most 300 states of it. In the first epochs "
            "the chain still remembers its start.",
            figure=structure_figures.nearest_neighbours(structures),
        )
        yield Figure(
            name="radial-distributions",
            section="structure",
            caption="Radial distribution functions of the same states, pale for the first epoch, dark for the last.",
            figure=structure_figures.radial_distributions(structures),
        )


def _cell_figures(report: Report) -> Iterator[Figure]:
    yield Figure(
        name="volumes",
        section="chain",
        caption="Volume of the state that each walker is in.",
        figure=series_figures.volumes(report.epochs),
    )
    if report.structures:
        yield Figure(
            name="cell-lengths",
            section="chain",
            caption="Lengths of the cell, the mean over the walkers.",
            figure=series_figures.cell_lengths(report.epochs, report.structures),
        )


def _script_safe(text: str | None) -> str:
    """JSON that no part of can end or open an element of the page."""
    return (text or "").replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    return files(PACKAGE).joinpath("templates", name).read_text(encoding="utf-8")

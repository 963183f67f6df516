"""What the figures of a study share: colours, sizes, titles, and the bytes of a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aiida_slhmc.analysis.study.samples import ORDER, Sample, Study

__all__ = (
    "EXPERIMENT",
    "FOUNDATION_COLOUR",
    "RDF_DIFFERENCE_BIN",
    "REFERENCE",
    "colour",
    "crop",
    "new_figure",
    "outside_legend",
    "pairs_of",
    "png",
    "rdf",
    "style",
)

# Okabe and Ito's colours, which people who do not see red and green can tell apart (jfly.uni-koeln.de/color)
COLOURS = {"pbe": "#0072B2", "r2scan": "#009E73", "hse06": "#D55E00"}
OTHERS = ("#CC79A7", "#56B4E9", "#E69F00")
FOUNDATION_COLOUR, REFERENCE, EXPERIMENT = "#777777", "#000000", "#8C2D9E"
# of every figure, whatever the user's own settings are
SETTINGS = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 3,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
}
DPI = 150
# Å; a pair distribution is histogrammed more finely than a page can show
RDF_DISPLAY_BIN = 0.01
# a difference of two is smaller, and needs wider bins against the noise
RDF_DIFFERENCE_BIN = 0.05
# a distribution below this, at short distances, is not drawn
RDF_NOTHING = 0.02


@contextmanager
def style() -> Iterator[None]:
    """The settings, independent of what is set outside."""
    with matplotlib.style.context(["default", SETTINGS]):
        yield


def new_figure(study: Study, title: str, size: tuple[float, float]) -> Figure:
    """An empty figure without any global state; says where labels are not DFT's."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title + (" (stand-in, not DFT)" if study.is_stand_in else ""), fontsize=10)
    return figure


def outside_legend(figure: Figure, axes: Any, n_columns: int) -> None:
    """One legend for all panels, below them, with each name once; names that begin alike stand together."""
    found: dict[str, Any] = {}
    for panel in np.ravel(axes):
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    groups = [re.split("[ ,-]", name)[0] for name in found]
    names = sorted(found, key=lambda name: groups.index(re.split("[ ,-]", name)[0]))
    if names:
        figure.legend([found[name] for name in names], names, loc="outside lower center", ncols=n_columns)


def crop(panels: Any) -> None:
    """Begin panels of radial distributions where there is something to see; they may share their axis."""
    lines = [line for panel in np.ravel(panels) for line in panel.get_lines()]
    curves = [line.get_xydata() for line in lines]
    begins = [curve[curve[:, 1] > RDF_NOTHING, 0].min(initial=np.inf) for curve in curves]
    if min(begins, default=np.inf) < np.inf:
        for panel in np.ravel(panels):
            panel.set_xlim(left=max(0.0, min(begins) - 0.2))


def colour(functional: str | None, functionals: list[str]) -> str:
    """Of a functional, the same in all figures; *functionals* are all of the study."""
    if functional is None:
        return FOUNDATION_COLOUR
    others = [name for name in functionals if name not in ORDER]
    return COLOURS[functional] if functional in COLOURS else OTHERS[others.index(functional) % len(OTHERS)]


def png(figure: Figure) -> bytes:
    """The picture; the same figure always gives the same bytes with the same Matplotlib."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def pairs_of(sample: Sample) -> list[str]:
    """Names of the pairs, such as ``Ti-O``, whose radial distribution is known; that of the nearest neighbours last."""
    names = [name.removeprefix("rdf_").replace("_", "-") for name in sample.curves if name.startswith("rdf_")]
    return sorted((name for name in names if name != "distance"), key=lambda name: (name == sample.pair, name))


def rdf(sample: Sample, pair: str, width: float = RDF_DISPLAY_BIN) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Distances (Å) and g(r) of a pair, for pictures: averaged over neighbouring bins, together *width* (Å) wide."""
    curve = sample.curves.get(f"rdf_{pair.replace('-', '_')}")
    if curve is None or len(curve) < 2:
        return None
    distance = sample.curves["rdf_distance"]
    n = max(1, round(width / float(distance[1] - distance[0])))
    kept = len(curve) // n * n
    return distance[:kept].reshape(-1, n).mean(axis=1), curve[:kept].reshape(-1, n).mean(axis=1)

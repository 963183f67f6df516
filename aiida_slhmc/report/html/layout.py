"""Places for the boxes of a small directed graph without cycles, in columns from left to right."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from aiida_slhmc.report.html.cycle_graph import Box, CycleGraph

__all__ = ("Drawing", "Place", "draw")

# of a box, and between boxes, in pixels
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 156, 36, 34, 14, 8
SWEEPS = 6
MAX_TITLE = 24


@dataclass(frozen=True, kw_only=True)
class Place:
    """A box with its left upper corner in pixels; ``words`` says in full what it is, with the labels of its links."""

    box: Box
    x: float
    y: float
    title: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Boxes and curves (the ``d`` of an SVG path, and in words what is linked) in a picture of this size in pixels."""

    width: float
    height: float
    places: list[Place]
    curves: list[tuple[str, str]]


def draw(graph: CycleGraph) -> Drawing:
    """Put each box into the column after the last of those that lead to it.

    Within a column boxes are sorted by the mean place of their neighbours, to and fro, so that few lines cross.

    :raises ValueError: if the links go in a circle.
    """
    columns = _columns(graph)
    _sort(columns, graph)
    tallest = max(len(column) for column in columns)
    height = tallest * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    places: dict[str, Place] = {}
    for number, column in enumerate(columns):
        top = (height - len(column) * (HEIGHT + GAP_Y) + GAP_Y) / 2
        for row, uuid in enumerate(column):
            x, y = MARGIN + number * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y)
            box = graph.boxes[uuid]
            places[uuid] = Place(box=box, x=x, y=y, title=_short(box.title), words=_words(box, graph))
    curves = [(_curve(places[a], places[b]), label) for a, b, label in sorted(graph.links)]
    width = len(columns) * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN
    return Drawing(width=width, height=height, places=list(places.values()), curves=curves)


def _columns(graph: CycleGraph) -> list[list[str]]:
    before: dict[str, set[str]] = {uuid: set() for uuid in graph.boxes}
    for source, target, _ in graph.links:
        before[target].add(source)
    ranks: dict[str, int] = {}
    while len(ranks) < len(before):
        ready = [uuid for uuid, sources in before.items() if uuid not in ranks and sources <= set(ranks)]
        if not ready:
            raise ValueError("the links go in a circle")
        ranks |= {uuid: max((ranks[source] + 1 for source in before[uuid]), default=0) for uuid in ready}
    columns: list[list[str]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for uuid in sorted(ranks, key=lambda key: (graph.boxes[key].group, graph.boxes[key].pk)):
        columns[ranks[uuid]].append(uuid)
    return columns


def _sort(columns: list[list[str]], graph: CycleGraph) -> None:
    around: dict[str, list[str]] = defaultdict(list)
    for source, target, _ in graph.links:
        around[source].append(target)
        around[target].append(source)
    for _ in range(SWEEPS):
        # relative to the column's middle, as columns are drawn
        row = {uuid: k - (len(column) - 1) / 2 for column in columns for k, uuid in enumerate(column)}
        for column in columns:
            means = {uuid: _mean([row[other] for other in around[uuid]], row[uuid]) for uuid in column}
            column.sort(key=lambda uuid: (graph.boxes[uuid].group, means[uuid]))


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _curve(source: Place, target: Place) -> str:
    """From the right side of a box to the left side of another."""
    x0, y0, x1, y1 = source.x + WIDTH, source.y + HEIGHT / 2, target.x, target.y + HEIGHT / 2
    bend = (x1 - x0) / 2
    return f"M{x0:g} {y0:g} C{x0 + bend:g} {y0:g} {x1 - bend:g} {y1:g} {x1:g} {y1:g}"


def _short(title: str) -> str:
    return title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…"


def _words(box: Box, graph: CycleGraph) -> str:
    given = sorted({label for source, _, label in graph.links if source == box.uuid})
    made = sorted({label for _, target, label in graph.links if target == box.uuid})
    lines = [f"{box.title} <{box.pk}>", box.uuid]
    lines += [f"incoming links: {', '.join(made)}"] if made else []
    lines += [f"outgoing links: {', '.join(given)}"] if given else []
    return "\n".join(lines)

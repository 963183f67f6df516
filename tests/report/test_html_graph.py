"""The picture of one cycle: which nodes and links it has, and where they are drawn."""

from __future__ import annotations

from itertools import pairwise

import pytest
from html_examples import MadeUpRun, Recipe

from aiida_slhmc.report.html.cycle_graph import Box, CycleGraph, read_cycle_graph
from aiida_slhmc.report.html.epochs import read_epochs
from aiida_slhmc.report.html.layout import HEIGHT, WIDTH, draw


@pytest.fixture(scope="module")
def run(computer) -> MadeUpRun:
    return MadeUpRun(Recipe(n_epochs=1, n_walkers=5), computer)


@pytest.fixture(scope="module")
def graph(run) -> CycleGraph:
    found = read_cycle_graph(read_epochs(run.node))
    assert found is not None
    return found


def test_links_are_those_of_the_graph(run, graph) -> None:
    """Fails where the picture has a link that the database does not have, or the way of a label is broken."""
    decision = [node for node in run.epochs[0].called if node.process_label == "metropolis"][-1]
    label = decision.inputs.label_0
    read = label.creator
    calculation = read.inputs.misc.creator
    structure = calculation.inputs.structure
    proposal = decision.inputs.proposals.creator
    way = [proposal, structure, calculation, read.inputs.misc, read, label, decision, decision.outputs.result]
    links = {(source, target) for source, target, _ in graph.links}
    assert {(a.uuid, b.uuid) for a, b in pairwise(way)} <= links
    assert (run.node.inputs.model.uuid, proposal.uuid) in links
    for source, target, name in graph.links:
        node = decision.base.links.get_incoming(link_label_filter=name).all_nodes() if target == decision.uuid else None
        assert node is None or source in [other.uuid for other in node]


def test_it_is_the_last_cycle_and_the_first_walkers(graph) -> None:
    """Fails where many walkers make the picture unreadable, or it is not said that some are left out."""
    assert (graph.epoch, graph.cycle, graph.n_walkers, graph.n_left_out) == (0, 2, 5, 2)
    assert {box.group for box in graph.boxes.values()} == {-1, 0, 1, 2}
    assert sum(box.title == "VaspCalculation" for box in graph.boxes.values()) == 3


def test_boxes_neither_overlap_nor_point_backwards(graph) -> None:
    """Fails where a box hides another one, or leaves the picture."""
    drawing = draw(graph)
    corners = [(place.x, place.y) for place in drawing.places]
    for k, (x, y) in enumerate(corners):
        assert 0 <= x <= drawing.width - WIDTH
        assert 0 <= y <= drawing.height - HEIGHT
        assert all(abs(x - a) >= WIDTH or abs(y - b) >= HEIGHT for a, b in corners[:k])
    column = {place.box.uuid: place.x for place in drawing.places}
    assert all(column[source] < column[target] for source, target, _ in graph.links)
    assert len(drawing.curves) == len(graph.links)


def test_a_circle_is_refused() -> None:
    """Fails where links that are no provenance let the drawing run for ever."""
    graph = CycleGraph(epoch=0, cycle=0, n_walkers=1)
    graph.boxes = {name: Box(uuid=name, pk=1, kind="data", title=name) for name in "ab"}
    graph.links = {("a", "b", "x"), ("b", "a", "y")}
    with pytest.raises(ValueError, match="circle"):
        draw(graph)

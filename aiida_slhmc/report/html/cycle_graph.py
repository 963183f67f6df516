"""The provenance of one cycle: from model and states by way of the labels to the decision, the block and the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.report.html.contents import Epoch
from aiida_slhmc.workflows.children import find_child, find_children

__all__ = ("Box", "CycleGraph", "read_cycle_graph")

# walkers that are drawn: the others look the same
MAX_WALKERS = 3
# inputs of the proposal that say little in a picture
LEFT_OUT = {"code", "epoch", "cycle"}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A node: ``kind`` is data, job or function; ``group`` orders the boxes of a column (the walker, or -1)."""

    uuid: str
    pk: int
    kind: str
    title: str
    group: int = -1


@dataclass(kw_only=True)
class CycleGraph:
    """Boxes by uuid, and links (from, to, label) between them, of one *cycle* of an *epoch*."""

    epoch: int
    cycle: int
    n_walkers: int
    boxes: dict[str, Box] = field(default_factory=dict)
    links: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def n_left_out(self) -> int:
        """Walkers that are not drawn."""
        return max(0, self.n_walkers - MAX_WALKERS)

    def add(self, node: Any, group: int = -1) -> None:
        """Take a node in; one that is there already stays as it is."""
        kind = "data"
        if isinstance(node, orm.ProcessNode):
            kind = "job" if isinstance(node, orm.CalcJobNode) else "function"
        title = getattr(node, "process_label", None) or type(node).__name__
        self.boxes.setdefault(
            node.uuid, Box(uuid=node.uuid, pk=int(node.pk or 0), kind=kind, title=str(title), group=group)
        )

    def link(self, source: orm.Node, target: orm.Node, label: str) -> None:
        """Link two nodes that are there."""
        self.links.add((source.uuid, target.uuid, label))


def read_cycle_graph(epochs: list[Epoch]) -> CycleGraph | None:
    """The last cycle that was decided, None before the first."""
    nodes = [epoch.node for epoch in epochs if epoch.node is not None]
    if not nodes:
        return None
    epoch: Any = orm.load_node(nodes[-1].pk)
    decisions = [call for call in find_children(epoch, "decide_").values() if call.is_finished_ok]
    return _graph_of(decisions[-1], epoch) if decisions else None


def _graph_of(decision: orm.ProcessNode, epoch: orm.ProcessNode) -> CycleGraph:
    inputs = _inputs(decision)
    result = _outputs(decision)["result"]
    n_walkers = int(result["n_walkers"])
    graph = CycleGraph(epoch=int(result["epoch"]), cycle=int(result["cycle"]), n_walkers=n_walkers)
    graph.add(decision)
    graph.add(result)
    graph.link(decision, result, "result")
    proposal = inputs["proposals"].creator
    for name, node in inputs.items():
        walker = _walker(name)
        if walker < MAX_WALKERS:
            graph.add(node, walker)
            graph.link(node, decision, name)
    if proposal is not None:
        _add_proposal(graph, proposal)
        _add_labels(graph, {name: node for name, node in inputs.items() if name.startswith("label_")}, proposal.ctime)
    _add_training(graph, epoch)
    return graph


def _add_proposal(graph: CycleGraph, proposal: orm.ProcessNode) -> None:
    graph.add(proposal)
    for name, node in _inputs(proposal).items():
        if name not in LEFT_OUT and _walker(name) < MAX_WALKERS:
            graph.add(node, _walker(name))
            graph.link(node, proposal, name)
    for name, node in _outputs(proposal).items():
        if name == "proposals" or (name.startswith("structures__") and _walker(name) < MAX_WALKERS):
            graph.add(node, _walker(name))
            graph.link(proposal, node, name)


def _add_labels(graph: CycleGraph, labels: dict[str, Any], since: datetime) -> None:
    """What leads from the proposed structures to the labels; what else the calculations were given is left out."""
    known: dict[str, bool] = dict.fromkeys(graph.boxes, True)
    for name, label in labels.items():
        walker = _walker(name)
        if walker < MAX_WALKERS:
            known.pop(label.uuid, None)
            _reaches(graph, label, walker, since, known)


def _reaches(graph: CycleGraph, node: orm.Node, walker: int, since: datetime, known: dict[str, bool]) -> bool:
    """Whether *node* comes from a box that is there already; if so, it and what is between are taken in."""
    if node.uuid not in known:
        known[node.uuid] = False
        if node.ctime >= since:
            parents = [
                (parent, label) for parent, label in _parents(node) if _reaches(graph, parent, walker, since, known)
            ]
            known[node.uuid] = bool(parents)
            if parents:
                graph.add(node, walker)
            for parent, label in parents:
                graph.link(parent, node, label)
    return known[node.uuid]


def _parents(node: orm.Node) -> Iterator[tuple[Any, str]]:
    for link in node.base.links.get_incoming(link_type=(LinkType.INPUT_CALC, LinkType.CREATE)).all():
        yield link.node, link.link_label


def _add_training(graph: CycleGraph, epoch: orm.ProcessNode) -> None:
    """The block that the labels went into, and the first training on it."""
    collect = find_child(epoch, "collect_block")
    block = _outputs(collect).get("result") if collect is not None else None
    if collect is None or block is None:
        return
    graph.add(collect)
    graph.add(block)
    graph.link(collect, block, "result")
    for name, node in _inputs(collect).items():
        if node.uuid in graph.boxes:
            graph.link(node, collect, name)
    query = orm.QueryBuilder().append(orm.Node, filters={"id": block.pk}, tag="block")
    name = MaceFineTuneCalculation.__name__
    query.append(orm.CalcJobNode, with_incoming="block", filters={"attributes.process_label": name}, tag="training")
    training = query.order_by({"training": ["ctime", "id"]}).first(flat=True)
    if training is None:
        return
    graph.add(training)
    graph.link(block, training, "datasets")
    model = _outputs(training).get("model")
    if model is not None:
        graph.add(model)
        graph.link(training, model, "model")
    parent = _inputs(training).get("model")
    if parent is not None and parent.uuid in graph.boxes:
        graph.link(parent, training, "model")


def _inputs(node: orm.ProcessNode) -> dict[str, Any]:
    links = node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all()
    return {link.link_label: link.node for link in links}


def _outputs(node: orm.ProcessNode) -> dict[str, Any]:
    links = node.base.links.get_outgoing(link_type=LinkType.CREATE).all()
    return {link.link_label: link.node for link in links}


def _walker(name: str) -> int:
    """Number at the end of ``state_0``, ``label_0`` or ``states__walker_0``; -1 for what is of no walker."""
    start, _, end = name.rpartition("_")
    is_of_walker = end.isdigit() and not start.startswith("committee")
    return int(end) if is_of_walker else -1

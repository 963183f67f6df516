"""The epochs of a run, those of the runs that it went on from included, whether they have ended or not."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_slhmc.analysis.epoch_summary import Chain, summarise
from aiida_slhmc.calculations.epoch import ABOUT, make_chain, read_chain
from aiida_slhmc.report.decisions import decisions_of
from aiida_slhmc.report.html.contents import Epoch, NodeName
from aiida_slhmc.report.run_state import EPOCH
from aiida_slhmc.workflows.children import find_children

__all__ = ("name_of", "read_epochs")


def read_epochs(run: orm.WorkChainNode) -> list[Epoch]:
    """All epochs in which something was decided, in their order.

    :param run: a SlhmcWorkChain, or an EpochWorkChain, which is then the only one.
    """
    if run.process_label == EPOCH:
        return _some([_read_node(run)])
    inputs = run.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
    earlier = [_read_earlier(node) for _, node in sorted(inputs.get("chains", {}).items())]
    own = [_read_node(child) for child in find_children(run, "epoch_").values()]
    return _some(earlier + own)


def name_of(node: orm.Node | None) -> NodeName | None:
    """The node's name, None for none."""
    if node is None or node.pk is None:
        return None
    label: Any = getattr(node, "process_label", None) or node.label or type(node).__name__
    return NodeName(pk=node.pk, uuid=node.uuid, label=str(label))


def _some(epochs: list[Epoch | None]) -> list[Epoch]:
    return [epoch for epoch in epochs if epoch is not None]


def _read_earlier(chain: orm.ArrayData) -> Epoch | None:
    """An epoch by its chain; the work chain itself need not be in the profile."""
    links = chain.base.links.get_incoming(node_class=orm.WorkChainNode, link_type=LinkType.RETURN).all()
    nodes: list[Any] = [link.node for link in links if link.node.process_label == EPOCH]
    return _make(nodes[-1] if nodes else None, *read_chain(chain), is_earlier=True)


def _read_node(node: Any) -> Epoch | None:
    """An epoch by its work chain; where it has no chain yet, by what was decided so far."""
    outputs: list[Any] = node.base.links.get_outgoing(link_type=LinkType.RETURN, link_label_filter="chain").all_nodes()
    if outputs:
        return _make(node, *read_chain(outputs[0]), is_earlier=False)
    decisions = list(decisions_of(node.pk).values())
    if not decisions:
        return None
    about = {key: decisions[0].get(key) for key in ABOUT}
    return _make(node, make_chain(decisions), about, is_earlier=False)


def _make(node: orm.WorkChainNode | None, chain: Chain, about: dict[str, Any], *, is_earlier: bool) -> Epoch:
    model = None
    if node is not None:
        model = node.base.links.get_incoming(link_type=LinkType.INPUT_WORK, link_label_filter="model").first()
    return Epoch(
        number=int(about["epoch"]),
        node=name_of(node),
        model=name_of(model.node if model else None),
        chain=chain,
        about=about,
        summary=summarise(chain, about),
        state="not in this profile" if node is None else _state(node),
        reason=str(node.exit_message or "") if node is not None and not node.is_finished_ok else "",
        is_earlier=is_earlier,
    )


def _state(node: orm.WorkChainNode) -> str:
    if not node.is_terminated:
        return "running"
    if node.is_finished:
        return "finished" if node.is_finished_ok else f"failed ({node.exit_status})"
    return "killed" if node.is_killed else "excepted"

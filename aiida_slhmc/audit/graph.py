"""Reading a node's neighbours from the archive that it is in, and what a check of their links says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

__all__ = ("Problems", "calls", "creator_of", "inputs_of", "is_same", "name_of", "namespace", "outputs_of")

# what checks yield: None for each link that is right, a sentence for each that is not
Problems = Iterator[str | None]

INPUTS = (LinkType.INPUT_CALC, LinkType.INPUT_WORK)
OUTPUTS = (LinkType.CREATE, LinkType.RETURN)
CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)


def inputs_of(node: orm.ProcessNode) -> dict[str, Any]:
    """Inputs by the labels of their links, in which ``__`` separates namespaces."""
    links = node.base.links.get_incoming(link_type=INPUTS).all()
    return {link.link_label: link.node for link in links}


def outputs_of(node: orm.ProcessNode) -> dict[str, Any]:
    """Outputs by the labels of their links."""
    links = node.base.links.get_outgoing(link_type=OUTPUTS).all()
    return {link.link_label: link.node for link in links}


def calls(node: orm.ProcessNode, prefix: str) -> dict[str, Any]:
    """What *node* called under labels that start with *prefix*, sorted by label; of two with one label the last.

    As :func:`aiida_slhmc.workflows.children.find_children`, which asks the loaded profile.
    """
    links = node.base.links.get_outgoing(link_type=CALLS).all()
    rows = [(link.link_label, link.node.ctime, link.node) for link in links if link.link_label.startswith(prefix)]
    return {label: child for label, _, child in sorted(rows, key=lambda row: row[:2])}


def creator_of(node: orm.Node | None) -> Any:
    """The calculation that made *node*, None where the archive has none."""
    link = None if node is None else node.base.links.get_incoming(link_type=LinkType.CREATE).first()
    return None if link is None else link.node


def namespace(links: dict[str, Any], name: str) -> dict[str, Any]:
    """Nodes of the namespace *name*, by their names in it."""
    prefix = f"{name}__"
    return {label.removeprefix(prefix): node for label, node in links.items() if label.startswith(prefix)}


def is_same(first: orm.Node | None, second: orm.Node | None) -> bool:
    """Whether both are there and are one node."""
    return first is not None and second is not None and first.uuid == second.uuid


def name_of(node: orm.Node) -> str:
    """How reports call a node: what it is and its uuid, which the archive and every profile share."""
    label: Any = getattr(node, "process_label", None) or type(node).__name__
    return f"{label} {node.uuid}"

"""Launching a child exactly once, however often a step is executed.

AiiDA saves a work chain's state after each step: a worker that is killed between launching a child and saving
executes the step again. Children are therefore found by their call-link label before they are launched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import Process, WorkChain

from aiida_slhmc.targets.base import load_target

__all__ = ("failure_reason", "find_child", "find_children", "label_process", "launch_once", "lost_labels", "run_once")


def find_children(parent: orm.ProcessNode, prefix: str) -> dict[str, orm.ProcessNode]:
    """Children of *parent* whose call-link label starts with *prefix*, by label.

    Where a label was used twice (a step executed again after a crash, a child that was lost), the last child counts.
    """
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, filters={"id": parent.pk}, tag="parent")
    query.append(
        orm.ProcessNode,
        with_incoming="parent",
        edge_filters={
            "type": {"in": [LinkType.CALL_CALC.value, LinkType.CALL_WORK.value]},
            "label": {"like": f"{prefix}%"},
        },
        edge_project=["label"],
        project=["*", "ctime", "id"],
    )
    # by time, because an import gives new numbers in any order
    rows = sorted(((ctime, pk, label, node) for node, ctime, pk, label in query.iterall()), key=lambda row: row[:2])
    return {label: node for *_, label, node in rows}


def find_child(parent: orm.ProcessNode, label: str) -> orm.ProcessNode | None:
    """The child of *parent* with this call-link label, or None."""
    return find_children(parent, label).get(label)


def launch_once(
    parent: WorkChain,
    process: type[Process],
    label: str,
    inputs: dict[str, Any],
    *,
    lost: orm.ProcessNode | None = None,
) -> orm.ProcessNode:
    """Submit *process* with this call-link label, or return the child that has been launched under it already.

    :param lost: a child under this label that AiiDA lost, and in whose place another one is launched and reported.
    """
    node = find_child(parent.node, label)
    if node is not None and not _is_same(node, lost):
        return node
    if lost is not None:
        parent.report(f"{label}: {failure_reason(lost)}; launching it once more")
    metadata = dict(inputs.get("metadata", {})) | {"call_link_label": label}
    return parent.submit(process, **(inputs | {"metadata": metadata}))


def label_process(target: Mapping[str, Any]) -> tuple[type[WorkChain], dict[str, Any]]:
    """The work chain that labels with this *target* of a process's inputs, and its own inputs but for the structure."""
    inputs = {name: value for name, value in target.items() if name != "engine"}
    return load_target(target["engine"].value).get_work_chain(), inputs


def lost_labels(parent: WorkChain, n_labels: int) -> dict[int, orm.ProcessNode]:
    """Of the label work chains ``label_0``, …, in the context of *parent*, those that AiiDA excepted, by number."""
    children = {k: parent.ctx.get(f"label_{k}") for k in range(n_labels)}
    return {k: child for k, child in children.items() if child is not None and child.is_excepted}


def run_once(
    parent: WorkChain, function: Any, label: str, inputs: dict[str, Any], *, use_cache: bool = False
) -> orm.CalcFunctionNode:
    """Run a calculation function under this call-link label, or return the finished call that is there already.

    A function that raises is a call that did not end well, as one that returns an exit code; it is run again where the
    step is executed again.

    AiiDA's caching knows the source of the function's own module only, not that of the kernel that it calls, so a
    decision is made anew unless *use_cache* is set.
    """
    node = find_child(parent.node, label)
    if isinstance(node, orm.CalcFunctionNode) and node.is_finished:
        return node
    metadata = {"call_link_label": label, "disable_cache": not use_cache}
    try:
        return function.run_get_node(**inputs, metadata=metadata)[1]
    except Exception:
        called = find_child(parent.node, label)
        if not isinstance(called, orm.CalcFunctionNode) or not called.is_excepted or _is_same(called, node):
            raise  # there is no record of it
        return called


def _is_same(first: orm.Node, second: orm.Node | None) -> bool:
    return second is not None and first.uuid == second.uuid


def failure_reason(node: orm.ProcessNode) -> str:
    """Why a process did not finish well, in a line."""
    if node.is_excepted or node.is_killed:
        what = "excepted" if node.is_excepted else "was killed"
        return f"{node.process_label}<{node.pk}> {what}: {node.exception or node.process_status}"
    return f"{node.process_label}<{node.pk}> ended with exit code {node.exit_status}: {node.exit_message}"

"""The decisions of an epoch, from the graph: of a running one, too, and each cycle once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiida import orm

__all__ = ("decisions_of", "decisions_query", "in_order")


def decisions_query(epoch_pk: int) -> orm.QueryBuilder:
    """A query of an epoch's decisions that went well (``call``, with ``ctime`` and ``id``) and their names (``link``).

    To be extended by what they took or made. Where two have one name, a step executed again after a crash, the last
    counts.
    """
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": epoch_pk}, tag="epoch")
    return query.append(
        orm.CalcFunctionNode,
        with_incoming="epoch",
        tag="call",
        edge_tag="link",
        edge_filters={"label": {"like": "decide_%"}},
        edge_project=["label"],
        filters={"attributes.exit_status": 0},
        project=["ctime", "id"],
    )


def in_order(query: orm.QueryBuilder) -> list[dict[str, dict[str, Any]]]:
    """Rows of an extended :func:`decisions_query`, in the order in which the decisions were made."""
    return sorted(query.dict(), key=lambda row: (row["call"]["ctime"], row["call"]["id"]))


def decisions_of(epoch_pk: int, keys: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """What the decisions of an epoch say, by the names of their calls (``decide_00000``, …), in their order.

    :param keys: read only these of it, None where a decision lacks one; by default all that it has.
    """
    project = ["attributes"] if keys is None else [f"attributes.{key}" for key in keys]
    query = decisions_query(epoch_pk).append(orm.Dict, with_incoming="call", tag="decision", project=project)
    found = {}
    for row in in_order(query):
        content = row["decision"]
        found[row["link"]["label"]] = (
            content["attributes"] if keys is None else {key: content[f"attributes.{key}"] for key in keys}
        )
    return dict(sorted(found.items()))

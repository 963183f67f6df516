"""End points that have no label, and those whose label needed a recovery."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida import orm

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.report.decisions import decisions_query
from aiida_slhmc.report.html.contents import Epoch, LabelProblem

__all__ = ("KINDS", "read_problems")

KINDS = {
    "no label": "the target gave no label; the proposal counts as rejected",
    "diverged": "the trajectory diverged; the proposal counts as rejected, and no label was asked for",
    "recovered": "labelled in another way to the same ground state; the settings that differ are given",
}


def read_problems(epochs: Iterable[Epoch]) -> list[LabelProblem]:
    """All of them, in the order of epochs, cycles and walkers: two queries for each epoch."""
    found = []
    for epoch in epochs:
        if epoch.node is not None:
            found += [*_labels(epoch), *_divergences(epoch)]
    return sorted(set(found), key=lambda problem: (problem.epoch, problem.cycle, problem.walker))


def _labels(epoch: Epoch) -> list[LabelProblem]:
    assert epoch.node is not None
    query = decisions_query(epoch.node.pk)
    keys = ("cycle", "walker", "labelled", "unlabelled_reason", "recovery")
    query.append(
        ConfigurationData,
        with_outgoing="call",
        tag="label",
        edge_filters={"label": {"like": "label_%"}},
        project=[f"attributes.{key}" for key in keys],
    )
    found = []
    for row in query.dict():
        cycle, walker, labelled, reason, recovery = (row["label"][f"attributes.{key}"] for key in keys)
        if labelled and not recovery:
            continue
        kind = "recovered" if labelled else "no label"
        text = _settings(recovery) if labelled else str(reason)
        found.append(_problem(epoch, cycle, walker, kind, text))
    return found


def _divergences(epoch: Epoch) -> list[LabelProblem]:
    assert epoch.node is not None
    query = decisions_query(epoch.node.pk)
    query.append(
        orm.ArrayData,
        with_outgoing="call",
        tag="proposals",
        edge_filters={"label": "proposals"},
        project=["attributes.cycle", "attributes.divergences"],
    )
    found = []
    for row in query.dict():
        cycle, reasons = (row["proposals"][f"attributes.{key}"] for key in ("cycle", "divergences"))
        for name, reason in (reasons or {}).items():
            found.append(_problem(epoch, cycle, name.removeprefix("walker_"), "diverged", str(reason)))
    return found


def _settings(recovery: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in recovery.items())


def _problem(epoch: Epoch, cycle: Any, walker: Any, kind: str, reason: str) -> LabelProblem:
    # records of old versions may lack their place
    places = [-1 if value is None else int(value) for value in (cycle, walker)]
    return LabelProblem(epoch=epoch.number, cycle=places[0], walker=places[1], kind=kind, reason=reason)

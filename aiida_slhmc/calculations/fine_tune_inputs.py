"""What a fine-tuning is given beside its labels, checked when it is submitted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiida_slhmc.calculations.worker_calculation import missing_elements
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

__all__ = ("EXTRA_SETS", "check_extra_sets", "check_functionals", "elements_of", "sources_of")

# namespaces of data beside the labels
EXTRA_SETS = ("replay", "probes", "force_constants")
# options of the training that do nothing without data of the same subject
NEEDS = {"hessian": "force_constants", "replay": "replay"}


def elements_of(nodes: Mapping[str, Any] | None) -> set[str]:
    """Symbols of all elements in these blocks or force constants."""
    return {symbol for node in (nodes or {}).values() for symbol in node.base.attributes.get("elements")}


def sources_of(nodes: Mapping[str, Any] | None) -> set[tuple[str, str]]:
    """Functional and engine of these blocks."""
    about = ("functional", "engine")
    return {tuple(str(node.base.attributes.get(key)) for key in about) for node in (nodes or {}).values()}  # type: ignore[misc]


def check_extra_sets(inputs: Mapping[str, Any]) -> str | None:
    """Why ``replay``, ``probes`` and ``force_constants`` cannot be used as they are, or None.

    Whether they fit the functional of the labels is checked by :func:`check_functionals`, where that is known.
    """
    for name in inputs.get("probes") or {}:
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            return f"probes.{name}: the name becomes a file's: letters, digits and underscores only"
    if len(sources_of(inputs.get("replay"))) > 1:
        found = sorted(sources_of(inputs["replay"]))
        return f"the sets in `replay` are of different functionals or engines: {found}; one model made them all"
    for name in EXTRA_SETS:
        message = missing_elements(inputs["model"], elements_of(inputs.get(name))) if "model" in inputs else None
        if message:
            return f"{name}: {message}"
    return _check_options(inputs)


def _check_options(inputs: Mapping[str, Any]) -> str | None:
    """Options for data that are not there: what was asked for would not happen."""
    if "parameters" not in inputs:
        return None
    parameters = FineTuneParameters.from_dict(inputs["parameters"].get_dict())
    for option, data in NEEDS.items():
        if getattr(parameters, option) != getattr(FineTuneParameters(), option) and not inputs.get(data):
            return f"`parameters` sets {option}, but there is nothing in `{data}`: give some, or leave the option out"
    return None


def check_functionals(functional: str, inputs: Mapping[str, Any]) -> str | None:
    """Why ``replay`` or ``force_constants`` do not go with labels of this *functional*, or None."""
    if functional in {name for name, _ in sources_of(inputs.get("replay"))}:
        return (
            f"the labels in `replay` are of {functional}, the functional that is learnt: they belong into `datasets` "
            "(`replay` is for upstream configurations with the labels that the foundation model was trained on)"
        )
    for name, node in (inputs.get("force_constants") or {}).items():
        other = node.base.attributes.get("functional", None)
        if other is not None and other != functional:
            return f"force_constants.{name} is of {other}, but the labels are of {functional}: leave it out"
    return None

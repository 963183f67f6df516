"""Which call read a label off which calculation, for the targets of this package and for those of others."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from aiida import orm

from aiida_slhmc.audit.functions import PACKAGE, find_function, function_name
from aiida_slhmc.audit.graph import Problems, creator_of, inputs_of, is_same, name_of, outputs_of
from aiida_slhmc.audit.labels import READERS, Reader, check_label
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.targets.base import ENTRY_POINT_GROUP

__all__ = ("check_reading", "find_reader", "is_from_outside", "job_of", "labels_read_by", "reader_of")

# the one function that makes labels of what no calculation here has left
OUTSIDE = f"{PACKAGE}.sharing.outside.read_outside_frames"


def labels_read_by(node: orm.Node | None) -> list[ConfigurationData]:
    """The labels that *node* has made, where it is a call that read them off a calculation; whosever target it is of.

    A target hands out what one calculation function makes, and nothing else in a run makes labelled configurations.
    """
    if not isinstance(node, orm.CalcFunctionNode) or not node.is_finished_ok or node.process_type == OUTSIDE:
        return []
    found = [label for _, label in sorted(outputs_of(node).items()) if isinstance(label, ConfigurationData)]
    return [label for label in found if label.is_labelled]


def reader_of(label: ConfigurationData) -> orm.CalcFunctionNode | None:
    """The call that read this label off a calculation, None where it is not here."""
    node = creator_of(label)
    return node if labels_read_by(node) else None


def is_from_outside(label: ConfigurationData) -> bool:
    """Whether nothing here shows where the label comes from: a file holds it, or nothing at all made it."""
    node = creator_of(label)
    return node is None or node.process_type == OUTSIDE


def job_of(label: ConfigurationData) -> orm.CalcJobNode | None:
    """The calculation that a label was read from, None where it is not here."""
    reader = reader_of(label)
    if reader is None:
        return None
    known, inputs = _known(reader), inputs_of(reader)
    # the structure may be an output, too, of the job that proposed it
    others = [name for name, node in sorted(inputs.items()) if not isinstance(node, orm.StructureData)]
    jobs = [creator_of(inputs.get(name)) for name in (known.outputs[:1] if known else others)]
    return next((job for job in jobs if isinstance(job, orm.CalcJobNode)), None)


def check_reading(reader: orm.CalcFunctionNode, job: orm.CalcJobNode) -> Problems:
    """Whether the label that *reader* has read is of the structure that *job* had, and the job ended well.

    Of this package's targets all links are checked; how another reader names its inputs is not known.
    """
    if _known(reader):
        yield from check_label(reader)
        return
    yield None if job.is_finished_ok else f"{name_of(job)} did not end well, and gave a label"
    had = [node for node in inputs_of(job).values() if isinstance(node, orm.StructureData)]
    read = [node for node in inputs_of(reader).values() if isinstance(node, orm.StructureData)]
    is_given = not had or any(is_same(one, other) for one in read for other in had)
    yield None if is_given else f"its structure is not the one that {name_of(job)} had"


def find_reader(process_type: str | None) -> Callable[..., Any] | None:
    """The plain function that read a label, of this package or of an installed target; None for any other.

    An archive may come from anyone: only modules that an installed package has registered as a target are imported.

    :raises ImportError: if the module needs a package that is not installed.
    """
    module, _, name = (process_type or "").rpartition(".")
    if module.partition(".")[0] == PACKAGE or module not in _modules_of_targets():
        return find_function(process_type)
    function = getattr(importlib.import_module(module), name, None)
    is_own = getattr(function, "is_process_function", False) and getattr(function, "__module__", "") == module
    return inspect.unwrap(function) if is_own and callable(function) else None


def _modules_of_targets() -> set[str]:
    return {point.module for point in entry_points(group=ENTRY_POINT_GROUP)}


def _known(reader: orm.CalcFunctionNode) -> Reader | None:
    """What this package's own readers take from where."""
    is_own = (reader.process_type or "").startswith(f"{PACKAGE}.")
    return READERS.get(function_name(reader)) if is_own else None

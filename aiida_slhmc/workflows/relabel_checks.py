"""Checks of the RelabelWorkChain's inputs at submission; each returns a message, or None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from ase.data import chemical_symbols

from aiida_slhmc.analysis.frame_selection import FrameSelection
from aiida_slhmc.calculations.fine_tune_inputs import check_extra_sets
from aiida_slhmc.calculations.worker_calculation import missing_elements
from aiida_slhmc.kernel.checks import check_names
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.targets.base import load_target
from aiida_slhmc.workflows.md import MdWorkChain

__all__ = ("validate_min_labels", "validate_relabel_inputs")

# inputs of a dynamics that come from this work chain
MADE_HERE = {"model", "role", "state", "metadata"}


def validate_min_labels(node: orm.Int, _: Any) -> str | None:
    """A training needs one label to train and one to validate."""
    return None if node.value >= 2 else f"must be at least 2, one to train and one to validate, not {node.value}"


def validate_relabel_inputs(inputs: Any, _: Any) -> str | None:
    """There is one pool, large enough and of known elements, and the dynamics would be accepted as they are."""
    pool, pool_md = inputs.get("pool"), inputs.get("pool_md")
    if (pool is None) == (not pool_md):
        return "give either `pool`, a trajectory, or `pool_md` (with `structure`), the dynamics that makes it"
    message = _check_pool(pool) if pool is not None else _check_start(inputs)
    return message or _check_dynamics(inputs) or _check_sizes(inputs) or _check_elements(inputs)


def _check_pool(pool: orm.TrajectoryData) -> str | None:
    """Periodic frames of elements."""
    unknown = sorted(set(pool.symbols) - set(chemical_symbols[1:]))
    if unknown:
        return f"pool: the symbols must be those of elements, not {', '.join(unknown)}"
    if "cells" not in pool.get_arraynames() or not all(pool.pbc or ()):
        return "pool: the frames must have cells, and be periodic in three directions"
    return None


def _check_start(inputs: Any) -> str | None:
    if "structure" not in inputs:
        return "give `structure`, where the dynamics of `pool_md` starts"
    kinds = sorted(kind.name for kind in inputs["structure"].kinds if kind.name != kind.symbol)
    return f"kinds must be called like their elements, not {', '.join(kinds)}" if kinds else None


def _check_sizes(inputs: Any) -> str | None:
    """The pool has enough frames, where that is known, and the choice enough labels."""
    options = FrameSelection.from_dict(inputs["selection"].get_dict())
    if options.n_frames < inputs["min_labels"].value:
        return f"selection: n_frames = {options.n_frames} is less than min_labels = {inputs['min_labels'].value}"
    shortage = options.shortage(_pool_size(inputs))
    return f"selection: {shortage}" if shortage else None


def _pool_size(inputs: Any) -> int:
    """Frames of the pool, if all differ."""
    if "pool" in inputs:
        return int(inputs["pool"].numsteps)
    parameters = MdParameters.from_dict(inputs["pool_md"]["parameters"].get_dict())
    return parameters.n_steps // parameters.sampling_interval


def _check_elements(inputs: Any) -> str | None:
    """Model, target and what is trained on beside the labels know the elements."""
    elements = set(inputs["pool"].symbols) if "pool" in inputs else inputs["structure"].get_symbols_set()
    target = inputs["target"]
    message = missing_elements(inputs["model"], elements)
    message = message or load_target(target["engine"].value).check_elements(elements, target)
    if message:
        return message
    message = check_extra_sets(dict(inputs["fine_tune"]) | {"model": inputs["model"]})
    return f"fine_tune: {message}" if message else None


def _check_dynamics(inputs: Any) -> str | None:
    """What the dynamics' own work chain says of its inputs."""
    sets = {f"production.{name}": given for name, given in (inputs.get("production") or {}).items()}
    if inputs.get("pool_md"):
        sets["pool_md"] = inputs["pool_md"]
    for name, given in sets.items():
        message = _check_md(name, given, inputs)
        if message:
            return message
    return None


def _check_md(name: str, given: Any, inputs: Any) -> str | None:
    if not isinstance(given, Mapping):
        return f"{name} must hold the inputs of a dynamics by name, such as `code` and `parameters`"
    ports = MdWorkChain.spec().inputs
    try:
        # the ports themselves take any name
        check_names(given, set(ports) - MADE_HERE, f"input of {name}")
    except ValueError as error:
        return str(error)
    if "structure" not in given and "structure" not in inputs:
        return f"{name}: give `structure`, here or for all"
    whole = {"structure": inputs.get("structure"), "model": inputs["model"], **given}
    found = ports.validate(ports.pre_process(whole), (name,))
    return None if found is None else str(found)

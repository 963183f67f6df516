"""Checks of work chain inputs at submission; each returns a message, or None."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm

from aiida_slhmc.calculations.fine_tune_inputs import check_extra_sets, check_functionals
from aiida_slhmc.calculations.mace_proposal import check_committee, check_reference, check_walkers
from aiida_slhmc.calculations.worker_calculation import missing_elements
from aiida_slhmc.kernel.adaptation import make_rule
from aiida_slhmc.targets.base import load_target
from aiida_slhmc.workflows.remote_folders import check_restart_folders

__all__ = (
    "validate_convergence",
    "validate_epoch_inputs",
    "validate_not_negative",
    "validate_positive",
    "validate_slhmc_inputs",
    "validate_target",
)

CELL_TOLERANCE = 1e-8  # Å
# inputs of a target's work chain that come with each label
WITH_THE_LABEL = {"structure", "restart_folder"}
CONVERGENCE_KEYS = {"force_rmse_mev_per_angstrom", "acceptance"}


def validate_positive(node: orm.Int, _: Any) -> str | None:
    """A number of things, at least one."""
    return None if node.value >= 1 else f"must be at least 1, not {node.value}"


def validate_not_negative(node: orm.Int, _: Any) -> str | None:
    """A number of things, or none."""
    return None if node.value >= 0 else f"must not be negative, as is {node.value}"


def validate_target(inputs: Any, namespace: Any) -> str | None:
    """The target exists, and its work chain accepts these inputs, but for those that come with each label."""
    if not inputs or "engine" not in inputs:
        return None
    try:
        process = load_target(inputs["engine"].value).get_work_chain()
    except ValueError as error:
        return str(error)
    ports = process.spec().inputs
    given = {name: value for name, value in inputs.items() if name != "engine"}
    unknown = sorted(set(given) - (set(ports) - WITH_THE_LABEL))
    if unknown:
        return f"the target '{inputs['engine'].value}' has no input {', '.join(unknown)}"
    for name, port in ports.items():
        if name in WITH_THE_LABEL | {"metadata"}:
            continue
        message = port.validate(given.get(name, _default(port)), (name,))
        if message is not None:
            return str(message)
    return None


def validate_epoch_inputs(inputs: Any, namespace: Any) -> str | None:
    """Walkers are numbered without gaps, labelled alike and new to this epoch's random streams; all fits together."""
    walkers = inputs.get("walkers") or {}
    if "walkers" not in namespace or (not walkers and not namespace["walkers"].required):
        return None
    message = check_walkers("walkers", walkers) or _check_labels(walkers) or _check_cells(inputs, walkers)
    if message or "model" not in inputs:
        return message
    elements = set(walkers["walker_0"].base.attributes.get("elements"))
    return (
        missing_elements(inputs["model"], elements)
        or check_committee(inputs.get("committee"), elements)
        or _check_target_elements(inputs["target"], elements)
        or _check_streams(inputs, walkers)
        or _check_bounds(inputs)
        or check_restart_folders(inputs, len(walkers))
    )


def _check_labels(walkers: dict[str, Any]) -> str | None:
    if not all(node.is_labelled for node in walkers.values()):
        return "all walkers must be labelled: their energies enter the Metropolis test"
    for key in ("functional", "engine"):
        values = {node.base.attributes.get(key) for node in walkers.values()}
        if len(values) > 1:
            return f"all walkers must have the same {key}, got {sorted(map(str, values))}"
    return None


def _check_cells(inputs: Any, walkers: dict[str, Any]) -> str | None:
    """In NVT one cell for all, or averages over walkers would mix ensembles; in NPT strains of the reference cell."""
    if inputs["parameters"].get("ensemble") == "npt":
        return check_reference(inputs["parameters"], inputs.get("reference_structure"), walkers)
    cells = [node.arrays()["cell"] for node in walkers.values()]
    if all(np.allclose(cell, cells[0], rtol=0, atol=CELL_TOLERANCE) for cell in cells):
        return None
    return "in the ensemble nvt all walkers must have the same cell; these do not, as the walkers of an npt run"


def _check_streams(inputs: Any, walkers: dict[str, Any]) -> str | None:
    """Random numbers that made a state must not be used again to propose from it."""
    name = "first_epoch" if "first_epoch" in inputs else "epoch"
    seen = [node.base.attributes.get("epoch") for node in walkers.values()]
    last = max((epoch for epoch in seen if epoch is not None), default=-1)
    if name not in inputs or inputs[name].value > last:
        return None
    return (
        f"the walkers come from epoch {last} of a run, whose random streams epoch {inputs[name].value} would repeat: "
        f"give `{name}` = {last + 1} or more"
    )


def _check_bounds(inputs: Any) -> str | None:
    """The first epoch's length is one that the adaptation would allow."""
    if "adaptation" not in inputs:
        return None
    rule, n_steps = make_rule(inputs["adaptation"].get_dict()).length, inputs["trajectory"]["n_steps"]
    if rule.n_steps_min <= n_steps <= rule.n_steps_max:
        return None
    return f"n_steps = {n_steps} is outside the adaptation's bounds of {rule.n_steps_min} to {rule.n_steps_max} steps"


def validate_convergence(node: orm.Dict, _: Any) -> str | None:
    """Both bounds are there and are numbers."""
    values = node.get_dict()
    if set(values) != CONVERGENCE_KEYS:
        return f"convergence needs exactly {sorted(CONVERGENCE_KEYS)}, got {sorted(values)}"
    if not all(isinstance(value, int | float) and value > 0 for value in values.values()):
        return f"both bounds must be positive numbers: {values}"
    return None


def _default(port: Any) -> Any:
    if not getattr(port, "has_default", lambda: False)():
        return ()
    return port.default() if callable(port.default) else port.default


def validate_slhmc_inputs(inputs: Any, namespace: Any) -> str | None:
    """A start is given, once; what an earlier run left fits it; the budget pays for at least one epoch."""
    walkers, structure = inputs.get("walkers") or {}, inputs.get("structure")
    if bool(walkers) == (structure is not None):
        return "give either `structure` (with `n_walkers`) or labelled `walkers`"
    message = _check_start(inputs, structure) if structure is not None else validate_epoch_inputs(inputs, namespace)
    message = (
        message or _check_earlier_run(inputs, walkers) or _check_fine_tune(inputs) or _check_committee_size(inputs)
    )
    if message:
        return message
    n_walkers = len(walkers) or inputs["n_walkers"].value
    cost = n_walkers * inputs["n_cycles"].value
    if cost < 2:
        return "an epoch needs at least two labels, one to train and one to validate: raise n_cycles or n_walkers"
    if inputs["label_budget"].value < cost:
        return f"label_budget ({inputs['label_budget'].value}) does not pay for one epoch ({n_walkers} walkers: {cost})"
    return None


def _check_start(inputs: Any, structure: orm.StructureData) -> str | None:
    """A structure to start from: periodic, of known elements, and nothing that proposals could not carry on."""
    if "n_walkers" not in inputs:
        return "give `n_walkers` with `structure`"
    if "reference_structure" in inputs:
        return (
            "give `reference_structure` with `walkers` only: a run measures strains from the structure it starts with"
        )
    if inputs.get("restart_folders"):
        return "give `restart_folders` with `walkers` only: they hold the densities of the walkers' states"
    kinds = sorted(kind.name for kind in structure.kinds if kind.name != kind.symbol)
    if kinds:
        return f"kinds must be called like their elements, not {', '.join(kinds)}: proposals know elements only"
    elements = structure.get_symbols_set()
    message = (
        missing_elements(inputs["model"], elements)
        or check_committee(inputs.get("committee"), elements)
        or _check_target_elements(inputs["target"], elements)
    )
    return message or (None if all(structure.pbc) else "the structure must be periodic in three directions")


def _check_earlier_run(inputs: Any, walkers: dict[str, Any]) -> str | None:
    """Blocks are labels of the walkers' functional and engine, and chains are chains of earlier epochs."""
    datasets = inputs.get("datasets") or {}
    for key in ("functional", "engine"):
        values = {node.base.attributes.get(key) for node in (*datasets.values(), *walkers.values())}
        if len(values) > 1:
            return f"datasets and walkers must have the same {key}, got {sorted(map(str, values))}"
    first = inputs["first_epoch"].value
    for name, node in (inputs.get("chains") or {}).items():
        epoch = node.base.attributes.get("epoch", None)
        if epoch is None:
            return f"chains.{name} is not the `chain` of an epoch"
        if epoch >= first:
            return f"chains.{name} is of epoch {epoch}, but the run begins with epoch {first}: raise `first_epoch`"
    return None


def _check_fine_tune(inputs: Any) -> str | None:
    """Data beside the labels that the model knows and the options ask for, and of the right functionals if known."""
    given = dict(inputs["fine_tune"])
    message = check_extra_sets(given | {"model": inputs["model"]})
    labels = (*(inputs.get("datasets") or {}).values(), *(inputs.get("walkers") or {}).values())
    for functional in {str(node.base.attributes.get("functional")) for node in labels}:
        message = message or check_functionals(functional, given)
    return f"fine_tune: {message}" if message else None


def _check_committee_size(inputs: Any) -> str | None:
    """No member that the updates would leave behind."""
    size = inputs["committee_size"].value
    names = {f"member_{k}" for k in range(1, size)}
    left = sorted(set(inputs.get("committee") or {}) - names)
    if not left:
        return None
    return f"committee.{left[0]} would not be trained on: committee_size is {size}, which counts the model itself"


def _check_target_elements(target: Any, elements: set[str]) -> str | None:
    return load_target(target["engine"].value).check_elements(elements, target)

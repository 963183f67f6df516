"""Checks of work chain inputs at submission; each returns a message, or None."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.calculations.mace_proposal import check_reference, check_walkers
from aiida_slhmc.calculations.worker_calculation import missing_elements
from aiida_slhmc.kernel.adaptation import make_rule
from aiida_slhmc.targets.base import load_target

__all__ = (
    "validate_adaptation",
    "validate_convergence",
    "validate_epoch_inputs",
    "validate_positive",
    "validate_slhmc_inputs",
    "validate_target",
)

CONVERGENCE_KEYS = {"force_rmse_mev_per_angstrom", "acceptance"}


def validate_positive(node: orm.Int, _: Any) -> str | None:
    """A number of things, at least one."""
    return None if node.value >= 1 else f"must be at least 1, not {node.value}"


def validate_target(inputs: Any, namespace: Any) -> str | None:
    """The target exists, and its work chain accepts these inputs (but for the structure, which comes later)."""
    if not inputs or "engine" not in inputs:
        return None
    try:
        process = load_target(inputs["engine"].value).get_work_chain()
    except ValueError as error:
        return str(error)
    ports = process.spec().inputs
    given = {name: value for name, value in inputs.items() if name != "engine"}
    unknown = sorted(set(given) - set(ports))
    if unknown:
        return f"the target '{inputs['engine'].value}' has no input {', '.join(unknown)}"
    for name, port in ports.items():
        if name in ("structure", "metadata"):
            continue
        message = port.validate(given.get(name, _default(port)), (name,))
        if message is not None:
            return str(message)
    return None


def validate_epoch_inputs(inputs: Any, namespace: Any) -> str | None:
    """Walkers are numbered without gaps, labelled, of one composition and functional; model and cell fit them."""
    walkers = inputs.get("walkers") or {}
    if "walkers" not in namespace or (not walkers and not namespace["walkers"].required):
        return None
    message = check_walkers("walkers", walkers)
    if message:
        return message
    if not all(node.is_labelled for node in walkers.values()):
        return "all walkers must be labelled: their energies enter the Metropolis test"
    for key in ("functional", "engine"):
        values = {node.base.attributes.get(key) for node in walkers.values()}
        if len(values) > 1:
            return f"all walkers must have the same {key}, got {sorted(map(str, values))}"
    if "model" not in inputs:
        return None
    elements = set(walkers["walker_0"].base.attributes.get("elements"))
    return (
        missing_elements(inputs["model"], elements)
        or _check_target_elements(inputs["target"], elements)
        or check_reference(inputs["parameters"], inputs.get("reference_structure"), walkers)
    )


def validate_adaptation(node: orm.Dict, _: Any) -> str | None:
    """The rule's own check."""
    try:
        make_rule(node.get_dict())
    except ValueError as error:
        return str(error)
    return None


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
    """A start is given, once; the model knows its elements; the budget pays for at least one epoch."""
    walkers, structure = inputs.get("walkers") or {}, inputs.get("structure")
    if bool(walkers) == (structure is not None):
        return "give either `structure` (with `n_walkers`) or labelled `walkers`"
    if structure is not None:
        if "n_walkers" not in inputs:
            return "give `n_walkers` with `structure`"
        elements = structure.get_symbols_set()
        message = missing_elements(inputs["model"], elements) or _periodic(structure)
        message = message or _check_target_elements(inputs["target"], elements)
    else:
        message = validate_epoch_inputs(inputs, namespace)
    if message:
        return message
    n_walkers = len(walkers) or inputs["n_walkers"].value
    cost = n_walkers * inputs["n_cycles"].value
    if cost < 2:
        return "an epoch needs at least two labels, one to train and one to validate: raise n_cycles or n_walkers"
    if inputs["label_budget"].value < cost:
        return f"label_budget ({inputs['label_budget'].value}) does not pay for one epoch ({n_walkers} walkers: {cost})"
    return None


def _check_target_elements(target: Any, elements: set[str]) -> str | None:
    return load_target(target["engine"].value).check_elements(elements, target)


def _periodic(structure: orm.StructureData) -> str | None:
    return None if all(structure.pbc) else "the structure must be periodic in three directions"

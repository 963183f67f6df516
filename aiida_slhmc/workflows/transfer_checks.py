"""Checks of the TransferWorkChain's inputs at submission; each returns a message, or None."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.calculations.structure_analysis import check_against_structure
from aiida_slhmc.kernel.checks import hint_at

__all__ = ("ENSEMBLES", "check_md_ensemble", "validate_transfer")

ENSEMBLES = ("nvt", "npt")


def validate_transfer(inputs: Any, _: Any) -> str | None:
    """Everything is in the ensemble that it is said to be in, and there is something to analyse in it."""
    given = [ensemble for ensemble in ENSEMBLES if inputs.get(ensemble)]
    if not given:
        return "give the inputs of at least one ensemble, `nvt` or `npt`"
    for ensemble in given:
        message = _check_ensemble(inputs[ensemble], ensemble) or _check_structure(inputs, inputs[ensemble])
        if message:
            return f"{ensemble}.{message}"
    message = _check_windows(inputs["analysis"]) or _check_foundation(inputs.get("foundation") or {})
    return message or _check_control(inputs.get("relabel") or {}, given)


def check_md_ensemble(inputs: Any, ensemble: str) -> str | None:
    """Whether a dynamics is in the ensemble that its name says."""
    asked = _ensemble_of(inputs["parameters"]) if "parameters" in inputs else ensemble
    return None if asked == ensemble else f"this is dynamics in the ensemble {asked}"


def _ensemble_of(parameters: orm.Dict) -> Any:
    return parameters.get("ensemble", "nvt")


def _check_ensemble(inputs: Any, ensemble: str) -> str | None:
    run, reference = inputs["slhmc"], inputs["reference"]
    asked = _ensemble_of(run["parameters"])
    if asked != ensemble:
        return f"slhmc is a run in the ensemble {asked}"
    asked = _ensemble_of(reference["parameters"]) if "parameters" in reference else ensemble
    if asked != ensemble:
        return f"reference.parameters are of the ensemble {asked}"
    if reference["n_equilibration_cycles"].value >= reference["n_cycles"].value:
        return "reference: no cycle is left after the equilibration"
    if "structure" not in inputs["md"] and "structure" not in run:
        return "md: give `structure`, as the run starts from walkers"
    message = check_md_ensemble(inputs["md"], ensemble)
    return f"md: {message}" if message else None


def _check_structure(inputs: Any, ensemble: Any) -> str | None:
    """It has the species and repetitions that the analysis asks for."""
    structure = ensemble["slhmc"].get("structure") or ensemble["md"].get("structure")
    if not isinstance(structure, orm.StructureData):
        return None
    message = check_against_structure(inputs["analysis"], structure)
    return f"slhmc: the structure does not go with the analysis: {message}" if message else None


def _check_windows(analysis: orm.Dict) -> str | None:
    pair, windows = f"{analysis['centre']}-{analysis['neighbour']}", analysis.get("peak_windows", {})
    if not windows or pair in windows:
        return None
    return f"analysis: give a window of {pair} in peak_windows, for the first peak in the table"


def _check_foundation(trajectories: Any) -> str | None:
    for name, trajectory in trajectories.items():
        if name not in ENSEMBLES:
            return f"foundation has no {name}; {hint_at(name, ENSEMBLES)}"
        sampled = trajectory.base.attributes.get("ensemble", None)
        if sampled != name:
            return f"foundation.{name} is a trajectory in the ensemble {sampled}"
    return None


def _check_control(relabel: Any, given: list[str]) -> str | None:
    """The control's dynamics is in ensembles that it can be compared in."""
    for name, dynamics in (relabel.get("production") or {}).items():
        if name not in given:
            return f"relabel.production has {name}, and the control is compared in {' and '.join(given)}"
        message = check_md_ensemble(dynamics, name)
        if message:
            return f"relabel.production.{name}: {message}"
    return None

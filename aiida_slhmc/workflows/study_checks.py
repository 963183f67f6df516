"""Checks of the StudyWorkChain's inputs at submission: what would fail in a transfer hours later fails now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_slhmc.workflows.transfer import TransferWorkChain
from aiida_slhmc.workflows.transfer_checks import check_md_ensemble

__all__ = ("plain", "validate_study")

# inputs of the pool's dynamics that a control of its own would have, too
POOL_INPUTS = ("code", "parameters", "options", "max_iterations")


def plain(value: Any) -> Any:
    """Dictionaries that can be changed, of a process's inputs."""
    return {key: plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def validate_study(inputs: Any, _: Any) -> str | None:
    """Every transfer would be accepted as it is, and the foundation's dynamics are in the ensembles of their names."""
    functionals = inputs.get("functionals") or {}
    if not functionals:
        return "give at least one functional"
    foundation = inputs.get("foundation") or {}
    for name, given in foundation.items():
        message = check_md_ensemble(given, name) if given and name != "pool" else None
        if message:
            return f"foundation.{name}: {message}"
    for functional, transfer in functionals.items():
        if not functional.isidentifier():
            return f"the name of a functional is made of letters, digits and underscores, not {functional!r}"
        message = _check_transfer(transfer, inputs)
        if message:
            return f"functionals.{functional}: {message}"
    return None


def _check_transfer(given: Any, inputs: Any) -> str | None:
    """What the transfer says of its inputs; the pool is not there yet, and the dynamics that makes it stands for it."""
    if not isinstance(given, Mapping):
        return "give the inputs of its transfer by name"
    complete = plain(given) | {"analysis": inputs["analysis"]}
    pool = (inputs.get("foundation") or {}).get("pool")
    if pool and isinstance(complete.get("relabel"), Mapping):
        control = complete["relabel"]
        control.pop("pool", None)
        control["pool_md"] = {name: pool[name] for name in POOL_INPUTS if name in pool}
        if "structure" in pool:
            control.setdefault("structure", pool["structure"])
    ports = TransferWorkChain.spec().inputs
    error = ports.validate(ports.pre_process(complete))
    return None if error is None else f"{error.message} ({error.port})"

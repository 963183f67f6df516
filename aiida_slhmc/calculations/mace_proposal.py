"""MaceProposalCalculation: one trajectory for every walker with the present model."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.folders import Folder
from ase.data import atomic_masses

from aiida_slhmc.calculations.worker_calculation import WorkerCalculation, missing_elements
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.worker.propose import PROPOSALS_FILE, STATES_FILE

__all__ = ("MaceProposalCalculation", "check_walkers", "sorted_walkers")


class MaceProposalCalculation(WorkerCalculation):
    """Draws momenta for every walker and integrates n steps of leapfrog with the forces of the model."""

    WORKER_MODULE = "propose"
    OUTPUT_FILE = PROPOSALS_FILE
    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace("states", valid_type=ConfigurationData, dynamic=True, help="walker_0, walker_1, …")
        spec.input("parameters", valid_type=orm.Dict, validator=_validate_parameters, help=KernelParameters.__doc__)
        spec.input("length", valid_type=orm.Dict, validator=_validate_length, help="The proposal length: `n_steps`.")
        spec.input("epoch", valid_type=orm.Int, help="Number of the epoch; with the cycle it keys the random streams.")
        spec.input("cycle", valid_type=orm.Int, help="Number of the cycle in its epoch.")
        spec.inputs.validator = _validate_inputs
        spec.inputs["metadata"]["options"]["parser_name"].default = "slhmc.mace_proposal"
        spec.output_namespace(
            "structures", valid_type=orm.StructureData, dynamic=True, help="The end points, to label."
        )
        spec.output(
            "proposals",
            valid_type=orm.ArrayData,
            help="Per walker: `energies` and `kinetic_energies` (n_walkers, 2; start and end) in eV, `positions` (Å), "
            "`momenta` (amu Å/fs) and `forces` (eV/Å) at the end, (n_walkers, n_atoms, 3), `integration_errors` in eV. "
            "Attributes: `n_steps`, `epoch`, `cycle`, `seed`, `temperature`.",
        )
        spec.exit_code(
            330, "ERROR_NOT_FINITE", message="{reason}. Check the model, for example with a shorter proposal."
        )
        spec.exit_code(331, "ERROR_DIVERGENT", message="The trajectory diverged: {reason}.")
        spec.exit_code(332, "ERROR_MISSING_ELEMENT", message="{reason}. Take a foundation model that has them.")

    def parameters(self) -> dict[str, Any]:
        """The kernel's parameters with the present length, epoch and cycle."""
        place = {"epoch": self.inputs.epoch.value, "cycle": self.inputs.cycle.value}
        parameters = KernelParameters(**self.inputs.parameters.get_dict())
        return parameters.as_dict() | {"n_steps": self.inputs.length["n_steps"]} | place

    def write_files(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Write the walkers' states."""
        states = [node.arrays() for _, node in sorted_walkers(self.inputs.states)]
        numbers = states[0]["numbers"]
        handle = io.BytesIO()
        np.savez(
            handle,
            numbers=numbers,
            masses=atomic_masses[numbers],
            positions=np.stack([state["positions"] for state in states]),
            cells=np.stack([state["cell"] for state in states]),
        )
        handle.seek(0)
        folder.create_file_from_filelike(handle, STATES_FILE, mode="wb")
        return []


def sorted_walkers(namespace: Any) -> list[tuple[int, Any]]:
    """(number, node) of ``walker_0``, ``walker_1``, … in order of their numbers."""
    return sorted((int(name.removeprefix("walker_")), node) for name, node in namespace.items())


def check_walkers(port: str, walkers: dict[str, Any]) -> str | None:
    """Why *walkers* cannot advance together, or None: numbers without gaps, the same atoms in the same order."""
    if not walkers or set(walkers) != {f"walker_{k}" for k in range(len(walkers))}:
        return f"{port} must be named walker_0, walker_1, … without gaps, got: {', '.join(walkers) or 'none'}"
    if len({node.base.attributes.get("species") for node in walkers.values()}) > 1:
        return "all walkers must have the same atoms in the same order"
    return None


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    try:
        KernelParameters(**node.get_dict())
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _validate_length(node: orm.Dict, _: Any) -> str | None:
    n_steps = node.get_dict().get("n_steps")
    return None if isinstance(n_steps, int) and n_steps >= 1 else f"n_steps must be a positive integer, not {n_steps!r}"


def _validate_inputs(inputs: Any, namespace: Any) -> str | None:
    """The walkers can advance together, and the model knows their elements."""
    if "states" not in namespace or "states" not in inputs:
        return None
    states = inputs["states"]
    message = check_walkers("states", states)
    if message or "model" not in inputs:
        return message
    return missing_elements(inputs["model"], set(states["walker_0"].base.attributes.get("elements")))

"""Whether what was decided on is what was proposed, and the decision's labels are of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm

from aiida_slhmc.audit.graph import Problems, creator_of, inputs_of, is_same, name_of, namespace, outputs_of
from aiida_slhmc.calculations.mace_proposal import cell_of, read_trajectory
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.kernel.parameters import KernelParameters

__all__ = ("check_decision", "check_proposals")

TOLERANCE = 1e-10  # Å; a structure's coordinates are rounded to 14 digits
ENERGY_TOLERANCE = 1e-9  # eV


def check_proposals(job: orm.CalcJobNode) -> Problems:
    """The outputs of a MaceProposalCalculation against its inputs and each other.

    The structures are the end points in ``proposals``, whose attributes are those of the inputs.
    """
    inputs, outputs = inputs_of(job), outputs_of(job)
    proposals = outputs.get("proposals")
    if not isinstance(proposals, orm.ArrayData):
        return
    attributes = proposals.base.attributes.all
    for key, value in _expected_attributes(inputs).items():
        found = attributes.get(key)
        yield None if found == value else f"its proposals say {key} {found}, its inputs {value}"
    states, structures = namespace(inputs, "states"), namespace(outputs, "structures")
    diverged = proposals.get_array("diverged")
    for k, has_diverged in enumerate(diverged):
        name = f"walker_{k}"
        if bool(has_diverged) == (name in structures):
            yield f"{name} has diverged and yet a structure" if has_diverged else f"{name} has no structure"
        elif not has_diverged:
            difference = _difference(structures[name], states[name], proposals, k)
            yield f"the structure of {name} is not the end point: {difference}" if difference else None
    ends: Any = sum(proposals.get_array(name) for name in ("energies", "cell_energies", "kinetic_energies"))
    errors = proposals.get_array("integration_errors")
    is_equal = np.allclose(ends[:, 1] - ends[:, 0], errors, rtol=0, atol=ENERGY_TOLERANCE)
    yield None if is_equal else "its integration errors are not those of its energies"
    if "reference_cell" in proposals.get_arraynames():
        cell = cell_of(inputs["reference_structure"])
        is_equal = np.allclose(proposals.get_array("reference_cell"), cell, rtol=0, atol=TOLERANCE)
        yield None if is_equal else "its reference cell is not that of its reference structure"


def check_decision(node: orm.CalcFunctionNode) -> Problems:
    """The inputs of a decision belong together.

    Its states are those that its proposals started from, and each of its labels was made of a structure that the same
    job proposed for the same walker.
    """
    inputs = inputs_of(node)
    job = creator_of(inputs.get("proposals"))
    if job is None:
        yield "its proposals were made by nothing in the archive"
        return
    states, structures = namespace(inputs_of(job), "states"), namespace(outputs_of(job), "structures")
    for label, data in sorted(inputs.items()):
        kind, _, number = label.partition("_")
        if kind == "state":
            is_right = is_same(data, states.get(f"walker_{number}"))
            yield None if is_right else f"{name_of(job)} did not start walker {number} from its {label}"
        elif kind == "label":
            reading = creator_of(data)
            structure = None if reading is None else inputs_of(reading).get("structure")
            is_right = is_same(structure, structures.get(f"walker_{number}"))
            yield None if is_right else f"its {label} was not made of what {name_of(job)} proposed for walker {number}"


def _expected_attributes(inputs: dict[str, Any]) -> dict[str, Any]:
    """What the proposals have to say of themselves, from the job's inputs."""
    parameters, trajectory, epoch, cycle = (inputs[name] for name in ("parameters", "trajectory", "epoch", "cycle"))
    kernel = KernelParameters(**parameters.get_dict())
    expected = {key: getattr(kernel, key) for key in ("seed", "temperature", "ensemble")}
    timestep = read_trajectory(trajectory).timestep
    return expected | {"kernel": kernel.as_dict(), "timestep": timestep, "epoch": epoch.value, "cycle": cycle.value}


def _difference(structure: orm.StructureData, state: ConfigurationData, proposals: orm.ArrayData, k: int) -> str | None:
    """Why *structure* is not the end point of walker *k*, or None."""
    atoms = structure.get_ase()
    if not np.array_equal(atoms.numbers, state.arrays()["numbers"]):
        return "it has other atoms"
    pairs = {"positions": (atoms.positions, "positions"), "cell": (atoms.cell.array, "cells")}
    for what, (values, name) in pairs.items():
        difference = float(np.abs(values - proposals.get_array(name)[k]).max())
        if difference > TOLERANCE:
            return f"its {what} differ by {difference:.3g} Å"
    return None

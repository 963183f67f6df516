"""Calculation functions of the Quantum ESPRESSO target: the label read off an output, and a recovery's parameters."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.units import GPa

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.targets.label_policy import check_recovery, check_same_structure, check_values
from aiida_slhmc.targets.label_work_chain import NOT_A_LABEL, OTHER_STRUCTURE
from aiida_slhmc.targets.quantum_espresso_policy import (
    RECOVERABLE_KEYS,
    check_label,
    functional_name,
    merge_parameters,
)

__all__ = ("change_electronic_settings", "check_structure", "read_quantum_espresso_label")

# Å; pw.x gets ten decimals, and its unit of length differs from the plugin's in the ninth digit
TOLERANCE = 1e-6


@calcfunction
def read_quantum_espresso_label(
    structure: orm.StructureData,
    calculated: orm.StructureData,
    parameters: orm.Dict,
    output_parameters: orm.Dict,
    output_trajectory: orm.TrajectoryData,
    recovery: orm.Dict,
) -> ConfigurationData | ExitCode:
    """The label of *structure*: pw.x's total energy, forces and stress.

    That energy is the one the forces derive from: with smearing it has the term -TS in it. Numbers come from pw.x's
    XML file, with all their digits.

    :param calculated: the calculation's input structure.
    :param parameters: the calculation's namelists, which name the functional.
    :param output_trajectory: forces in eV/Å, stress in GPa and positive under compression; the label's stress is in
        eV/Å³ and positive under tension.
    :param recovery: what recoveries changed, {} for nothing.
    """
    difference = check_structure(structure, calculated, output_trajectory)
    if difference:
        return ExitCode(OTHER_STRUCTURE, difference)
    output = output_parameters.get_dict()
    energy, forces, stress = (_last(output_trajectory, name) for name in ("energy", "forces", "stress"))
    problem = check_label(output, energy, forces, stress, len(structure.sites))
    if problem:
        return ExitCode(NOT_A_LABEL, problem)
    label = {
        "energy": float(energy),
        "forces": forces,
        "stress": -GPa * stress,
        "functional": functional_name(parameters.get_dict()),
        "engine": "quantum_espresso",
        "stand_in": False,
        "recovery": recovery.get_dict(),
        "scf_iterations": output["convergence_info"]["scf_conv"].get("n_scf_steps"),
    }
    return ConfigurationData.from_structure(structure, label=label)


@calcfunction
def change_electronic_settings(parameters: orm.Dict, changes: orm.Dict) -> orm.Dict | ExitCode:
    """The namelists of a recovery: *parameters* with *changes* in ELECTRONS.

    They may only touch the way to the ground state.
    """
    problem = check_recovery(changes.get_dict(), RECOVERABLE_KEYS)
    if problem:
        return ExitCode(NOT_A_LABEL, problem)
    return orm.Dict(merge_parameters(parameters.get_dict(), {"ELECTRONS": changes.get_dict()}))


def check_structure(
    structure: orm.StructureData, calculated: orm.StructureData, trajectory: orm.TrajectoryData
) -> str | None:
    """Why the output does not belong to *structure*, or None if it does: species, positions and cell.

    Judged are the calculation's input and, where pw.x says it, the cell and the positions that it computed.
    """
    atoms = structure.get_ase()
    return (
        check_same_structure(structure, calculated, TOLERANCE)
        or check_values("positions", _last(trajectory, "positions"), atoms.positions, TOLERANCE)
        or check_values("cell", _last(trajectory, "cells"), atoms.cell.array, TOLERANCE)
    )


def _last(trajectory: orm.TrajectoryData, name: str) -> Any:
    """The last entry of an array, None where it is missing or empty."""
    if name not in trajectory.get_arraynames():
        return None
    values = trajectory.get_array(name)
    return values[-1] if len(values) else None

"""Calculation functions of the CP2K target: the label read off an output, and a recovery's parameters."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.targets.cp2k_output import Cp2kOutput, read_output
from aiida_slhmc.targets.cp2k_policy import RECOVERABLE_KEYS, SCF, check_label, functional_name, merge_parameters
from aiida_slhmc.targets.label_policy import check_recovery, check_same_structure
from aiida_slhmc.targets.label_work_chain import NOT_A_LABEL, OTHER_STRUCTURE

__all__ = ("OUTPUT_FILE", "change_electronic_settings", "output_text", "read_cp2k_label")

# aiida-cp2k's name of CP2K's main output
OUTPUT_FILE = "aiida.out"
# Å
TOLERANCE = 1e-10


@calcfunction
def read_cp2k_label(
    structure: orm.StructureData,
    calculated: orm.StructureData,
    parameters: orm.Dict,
    retrieved: orm.FolderData,
    recovery: orm.Dict,
) -> ConfigurationData | ExitCode:
    """The label of *structure*: the energy that the forces derive from, forces and stress, read off CP2K's output.

    :param calculated: the calculation's input structure.
    :param parameters: the calculation's input, which names the functional.
    :param retrieved: the calculation's files.
    :param recovery: what recoveries changed, {} for nothing.
    """
    try:
        output = read_output(output_text(retrieved))
    except ValueError as error:
        return ExitCode(NOT_A_LABEL, f"the output cannot be read: {error}")
    difference = _difference(structure, calculated, output)
    if difference:
        return ExitCode(OTHER_STRUCTURE, difference)
    problem = check_label(output, len(structure.sites))
    if problem:
        return ExitCode(NOT_A_LABEL, problem)
    label = {
        "energy": output.energy,
        "forces": output.forces,
        "stress": output.stress,
        "functional": functional_name(parameters.get_dict()),
        "engine": "cp2k",
        "stand_in": False,
        "recovery": recovery.get_dict(),
        "scf_iterations": output.scf_iterations,
    }
    return ConfigurationData.from_structure(structure, label=label)


@calcfunction
def change_electronic_settings(parameters: orm.Dict, changes: orm.Dict) -> orm.Dict | ExitCode:
    """The input of a recovery: *parameters* with *changes*, by their paths below SCF (``MIXING/ALPHA``).

    They may only touch the way to the ground state.
    """
    problem = check_recovery(changes.get_dict(), RECOVERABLE_KEYS)
    if problem:
        return ExitCode(NOT_A_LABEL, problem)
    return orm.Dict(merge_parameters(parameters.get_dict(), *map(_nested, changes.get_dict().items())))


def output_text(retrieved: orm.FolderData) -> str:
    """CP2K's main output, empty where it did not arrive."""
    if OUTPUT_FILE not in retrieved.base.repository.list_object_names():
        return ""
    # a broken file is no reason for an exception; what is broken in it is found later
    return retrieved.base.repository.get_object_content(OUTPUT_FILE, mode="rb").decode(errors="replace")


def _nested(change: tuple[str, Any]) -> dict[str, Any]:
    """``("MIXING/ALPHA", 0.1)`` as sections in sections, from the input's top."""
    path, value = change
    nested: Any = value
    for name in reversed(f"{SCF}/{path}".split("/")):
        nested = {name: nested}
    return dict(nested)


def _difference(structure: orm.StructureData, calculated: orm.StructureData, output: Cp2kOutput) -> str | None:
    """Why the output does not belong to *structure*, or None if it does.

    Judged are the calculation's input and, where CP2K prints them, the number of atoms and their elements.
    """
    difference = check_same_structure(structure, calculated, TOLERANCE)
    if difference:
        return difference
    if output.elements is not None and output.elements != list(structure.get_ase().symbols):
        return "CP2K printed forces on other elements, or in another order"
    return None

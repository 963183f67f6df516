"""Calculation functions of the VASP target: the label read off an output, and a recovery's INCAR."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.units import GPa

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.standin import STANDIN_VERSION
from aiida_slhmc.targets.label_policy import RECOVERABLE_TAGS, check_label, functional_name
from aiida_slhmc.targets.site_order import check_order, original_order, site_order

__all__ = ("NOT_A_LABEL", "OTHER_STRUCTURE", "change_electronic_settings", "read_vasp_label")

# exit statuses, the same as the label work chain's
NOT_A_LABEL = 420
OTHER_STRUCTURE = 423


@calcfunction
def read_vasp_label(
    structure: orm.StructureData, calculated: orm.StructureData, parameters: orm.Dict, misc: orm.Dict
) -> ConfigurationData | ExitCode:
    """The label of *structure*: VASP's free energy (TOTEN, what the forces derive from), forces and stress.

    :param structure: what to label; the label has its order of atoms and its tags.
    :param calculated: the calculation's own input structure: the same one, or its sites grouped by ``group_sites``.
    :param parameters: the INCAR tags, which name the functional.
    :param misc: output of VaspCalculation; stress in kB with VASP's sign, the label's in eV/Å³, positive under tension.
    """
    output = misc.get_dict()
    difference = check_order(structure, calculated)
    if difference:
        return ExitCode(OTHER_STRUCTURE, difference)
    problem = check_label(output, len(structure.sites))
    if problem:
        return ExitCode(NOT_A_LABEL, problem)
    is_stand_in = STANDIN_VERSION in str(output.get("version", ""))
    label = {
        "energy": output["total_energies"]["energy_free"],
        "forces": original_order(output["forces"], site_order(structure)),
        "stress": [[-0.1 * GPa * value for value in row] for row in output["stress"]],
        "functional": functional_name(parameters.get_dict()),
        "engine": "vasp-standin" if is_stand_in else "vasp",
        "stand_in": is_stand_in,
    }
    return ConfigurationData.from_structure(structure, label=label)


@calcfunction
def change_electronic_settings(parameters: orm.Dict, changes: orm.Dict) -> orm.Dict | ExitCode:
    """The INCAR of a recovery: *parameters* with *changes*, which may only touch the way to the ground state."""
    forbidden = sorted(key for key in changes.get_dict() if key.lower() not in RECOVERABLE_TAGS)
    if forbidden:
        return ExitCode(421, f"a recovery may not change {', '.join(forbidden)}: the label would not be consistent")
    return orm.Dict(parameters.get_dict() | changes.get_dict())

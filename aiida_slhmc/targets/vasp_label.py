"""Calculation functions of the VASP target: the label read off an output, and the INCAR of a calculation."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.units import GPa

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.standin import STANDIN_VERSION
from aiida_slhmc.targets.label_policy import check_recovery
from aiida_slhmc.targets.label_work_chain import NOT_A_LABEL, OTHER_STRUCTURE
from aiida_slhmc.targets.site_order import check_order, original_order, site_order
from aiida_slhmc.targets.vasp_incar import functional_name, read_tags
from aiida_slhmc.targets.vasp_policy import RECOVERABLE_TAGS, changed_tags, check_label, scf_iterations
from aiida_slhmc.targets.vasp_sites import in_vasp_order

__all__ = ("change_electronic_settings", "order_site_tags", "read_vasp_label")


@calcfunction
def read_vasp_label(
    structure: orm.StructureData,
    calculated: orm.StructureData,
    asked: orm.Dict,
    used: orm.Dict,
    recovery: orm.Dict,
    misc: orm.Dict,
) -> ConfigurationData | ExitCode:
    """The label of *structure*: VASP's free energy (TOTEN, what the forces derive from), forces and stress.

    :param structure: what to label; the label has its order of atoms and its tags.
    :param calculated: the calculation's own input structure: the same one, or its sites grouped by ``group_sites``.
    :param asked: the INCAR tags that the user gave; *used*: the calculation's own. What differs is on the label, as
        ``recovery``, and may only be what the policy lets a recovery change.
    :param recovery: what the work chain did beside the INCAR: ``starting_density``.
    :param misc: output of VaspCalculation; stress in kB with VASP's sign, the label's in eV/Å³, positive under tension.
    """
    output, order = misc.get_dict(), site_order(structure)
    difference = check_order(structure, calculated)
    if difference:
        return ExitCode(OTHER_STRUCTURE, difference)
    changes = changed_tags(in_vasp_order(asked.get_dict(), order), used.get_dict())
    problem = check_recovery(map(str.upper, changes), RECOVERABLE_TAGS) or check_label(output, len(structure.sites))
    if problem:
        return ExitCode(NOT_A_LABEL, problem)
    # ICHARG only tells which of the earlier calculation's files VASP starts from
    changes.pop("icharg", None)
    changes |= {key: value for key, value in recovery.get_dict().items() if key == "starting_density"}
    is_stand_in = STANDIN_VERSION in str(output.get("version", ""))
    label = {
        "energy": output["total_energies"]["energy_free"],
        "forces": original_order(output["forces"], order),
        "stress": [[-0.1 * GPa * value for value in row] for row in output["stress"]],
        "functional": functional_name(used.get_dict()),
        "engine": "vasp-standin" if is_stand_in else "vasp",
        "stand_in": is_stand_in,
        "recovery": changes,
        "scf_iterations": scf_iterations(output),
    }
    return ConfigurationData.from_structure(structure, label=label)


@calcfunction
def change_electronic_settings(parameters: orm.Dict, changes: orm.Dict) -> orm.Dict | ExitCode:
    """The INCAR *parameters* with *changes*, which may only touch the way to the ground state."""
    problem = check_recovery(map(str.upper, changes.get_dict()), RECOVERABLE_TAGS)
    if problem:
        return ExitCode(NOT_A_LABEL, problem)
    return orm.Dict(read_tags(parameters.get_dict()) | read_tags(changes.get_dict()))


@calcfunction
def order_site_tags(parameters: orm.Dict, structure: orm.StructureData) -> orm.Dict:
    """The INCAR *parameters*, the values of *structure*'s sites (MAGMOM) put into the order of ``group_sites``."""
    return orm.Dict(in_vasp_order(parameters.get_dict(), site_order(structure)))

"""Calculation functions that make force constants with a target of this package; phonopy says what to displace."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase import Atoms

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.force_constants import ForceConstantsData

__all__ = ("displaced_supercells", "force_constants_from_labels")

# Å; structures and labels carry positions to 14 digits
SAME_PLACE = 1e-8


@calcfunction
def displaced_supercells(structure: orm.StructureData, supercell: orm.List, distance: orm.Float) -> dict[str, Any]:
    """The supercells that have to be labelled for force constants; symmetry gives the others.

    :param structure: the cell at rest under the target.
    :param supercell: matrix of phonopy's, three multiples or 3 × 3 integers.
    :param distance: displacement in Å.
    :returns: ``displaced_000`` and so on.
    """
    displaced = _calculation(structure, supercell, distance).supercells_with_displacements
    return {f"displaced_{number:03d}": orm.StructureData(ase=_to_ase(cell)) for number, cell in enumerate(displaced)}


@calcfunction
def force_constants_from_labels(
    structure: orm.StructureData, supercell: orm.List, distance: orm.Float, **labels: ConfigurationData
) -> ForceConstantsData | ExitCode:
    """Force constants from labels of the structures that :func:`displaced_supercells` gave for the same inputs.

    :param labels: one for each, of one functional and engine, under the same names.
    """
    import phonopy

    calculation = _calculation(structure, supercell, distance)
    displaced = calculation.supercells_with_displacements
    found = [labels[name] for name in sorted(labels)]
    if len(found) != len(displaced):
        return ExitCode(410, f"{len(found)} labels, but {len(displaced)} supercells are displaced")
    if not all(label.is_labelled for label in found):
        return ExitCode(411, "not all configurations are labelled")
    sources = {tuple(label.base.attributes.get(key) for key in ("functional", "engine")) for label in found}
    if len(sources) > 1:
        return ExitCode(412, f"labels of several functionals or engines: {sorted(map(str, sources))}")
    for number, (label, cell) in enumerate(zip(found, displaced, strict=True)):
        if not _is_same(label, _to_ase(cell)):
            return ExitCode(413, f"label {number} is not of the supercell that was displaced")
    calculation.forces = [label.arrays()["forces"] for label in found]
    calculation.produce_force_constants(show_drift=False)
    calculation.symmetrize_force_constants(show_drift=False)
    perfect = _to_ase(calculation.supercell)
    functional, engine = sources.pop()
    return ForceConstantsData(
        numbers=perfect.numbers,
        positions=perfect.positions,
        cell=perfect.cell.array,
        force_constants=calculation.force_constants,
        functional=functional,
        source=f"phonopy {phonopy.__version__}: labels of {engine}",
        n_displacements=len(found),
    )


def _calculation(structure: orm.StructureData, supercell: orm.List, distance: orm.Float) -> Any:
    """Phonopy's object with its displacements."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = structure.get_ase()
    unit = PhonopyAtoms(symbols=atoms.get_chemical_symbols(), cell=atoms.cell.array, positions=atoms.positions)
    matrix = np.array(supercell.get_list())
    calculation = Phonopy(unit, np.diag(matrix) if matrix.ndim == 1 else matrix, primitive_matrix="auto")
    calculation.generate_displacements(distance=distance.value)
    return calculation


def _to_ase(cell: Any) -> Atoms:
    return Atoms(cell.symbols, positions=cell.positions, cell=cell.cell, pbc=True)


def _is_same(label: ConfigurationData, expected: Atoms) -> bool:
    atoms = label.get_ase()
    return bool(
        np.array_equal(atoms.numbers, expected.numbers)
        and np.allclose(atoms.cell.array, expected.cell.array, rtol=0, atol=SAME_PLACE)
        and np.allclose(atoms.positions, expected.positions, rtol=0, atol=SAME_PLACE)
    )

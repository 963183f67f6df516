"""The part of the label policy that is the same for all engines.

Labels of one run must all come from the same potential energy surface, and each must belong to its own configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from aiida import orm

__all__ = ("check_numbers", "check_recovery", "check_same_structure", "check_values")


def check_numbers(energy: Any, forces: Any, stress: Any, n_atoms: int) -> str | None:
    """Why these are no label of *n_atoms* atoms, or None: one energy, forces (n, 3), stress (3, 3), all finite."""
    named = {"free energy": energy, "forces": forces, "stress": stress}
    missing = [name for name, value in named.items() if value is None]
    if missing:
        return f"the {', '.join(missing)} missing in the output"
    shapes = np.shape(energy), np.shape(forces), np.shape(stress)
    if shapes != ((), (n_atoms, 3), (3, 3)):
        return f"energy, forces or stress have the wrong shape: {shapes}"
    if not all(np.all(np.isfinite(values)) for values in (energy, forces, stress)):
        return "the energy, the forces or the stress are not finite"
    return None


def check_recovery(changes: Iterable[str], allowed: Iterable[str]) -> str | None:
    """Why a recovery may not change these settings, or None if all are among the *allowed* (in any case of letters)."""
    permitted = {name.lower() for name in allowed}
    forbidden = sorted(name for name in changes if name.lower() not in permitted)
    if not forbidden:
        return None
    return f"a recovery may not change {', '.join(forbidden)}: the label would be on another energy surface"


def check_same_structure(structure: orm.StructureData, calculated: orm.StructureData, tolerance: float) -> str | None:
    """Why *calculated* is not *structure*, or None: species and their order, positions and cell to *tolerance* (Å)."""
    atoms, given = structure.get_ase(), calculated.get_ase()
    if len(given) != len(atoms):
        return f"it has {len(given)} sites instead of {len(atoms)}"
    if list(given.symbols) != list(atoms.symbols):
        return "its species are others, or in another order"
    return check_values("positions", given.positions, atoms.positions, tolerance) or check_values(
        "cell", given.cell.array, atoms.cell.array, tolerance
    )


def check_values(name: str, found: Any, expected: Any, tolerance: float) -> str | None:
    """Why the values *found* (None where they are missing) are not those *expected* (Å), or None if they are."""
    difference = np.inf if found is None else float(np.abs(np.asarray(found) - expected).max())
    return None if difference <= tolerance else f"its {name} differ by {difference:.3g} Å"

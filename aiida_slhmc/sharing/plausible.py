"""Whether numbers from outside can be what their owner says: the marks of wrong units, keys and broken frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from ase.neighborlist import neighbor_list

__all__ = ("check_plausible",)

# Å; nuclei that are nearer are in no condensed matter, H2 has 0.74
SHORTEST_DISTANCE = 0.4
# eV/Å; collisions at some thousands of kelvin stay below
LARGEST_FORCE = 300.0
# eV per atom between configurations of one composition; evaporating a solid costs less than 10
LARGEST_SPREAD = 15.0
# eV per atom; all-electron energies of the heaviest atoms are below, and no energy of bound atoms is far above 0
LOWEST_ENERGY, HIGHEST_ENERGY = -1.5e6, 50.0
# eV/Å³, some 1600 GPa
LARGEST_STRESS = 10.0


def check_plausible(frames: Sequence[Atoms], labels: Sequence[dict[str, Any]]) -> None:
    """Refuse frames whose numbers cannot be energies in eV, forces in eV/Å and stress in eV/Å³ of these atoms.

    :param labels: ``energy``, ``forces`` (n_atoms, 3) and ``stress`` (3, 3) or None of each frame, converted.
    :raises ValueError: with the number of the frame, counted from 0, and what is wrong with it.
    """
    for number, (atoms, label) in enumerate(zip(frames, labels, strict=True)):
        problem = _check_numbers(label, len(atoms)) or _check_distances(atoms)
        if problem:
            raise ValueError(f"frame {number}: {problem}")
    _check_spread(frames, labels)
    moving = [label for atoms, label in zip(frames, labels, strict=True) if len(atoms) > 1]
    if len(moving) > 1 and not any(np.any(label["forces"]) for label in moving):
        raise ValueError("all forces of all frames are zero: they were not computed, or are under another name")


def _check_numbers(label: dict[str, Any], n_atoms: int) -> str | None:
    forces, stress = label["forces"], label["stress"]
    if forces.shape != (n_atoms, 3):
        return f"forces have the shape {forces.shape}, expected {(n_atoms, 3)}"
    broken = [key for key in ("energy", "forces", "stress") if label[key] is not None and not _is_finite(label[key])]
    if broken:
        return f"not finite: {', '.join(broken)}"
    energy = label["energy"] / n_atoms
    if not LOWEST_ENERGY < energy < HIGHEST_ENERGY:
        return f"its energy is {energy:.6g} eV per atom; are the units right?"
    largest = float(np.linalg.norm(forces, axis=1).max())
    if largest > LARGEST_FORCE:
        return f"a force of {largest:.4g} eV/Å is no force in a solid; are the units right? If they are, leave it out"
    if stress is not None and np.abs(stress).max() > LARGEST_STRESS:
        return f"a stress of {np.abs(stress).max():.4g} eV/Å³ is more than any material bears; are the units right?"
    return None


def _check_distances(atoms: Atoms) -> str | None:
    """Atoms on top of each other, their periodic images counted: positions in bohr, or a wrong cell."""
    if not (_is_finite(atoms.positions) and _is_finite(atoms.cell.array)):
        return "positions or cell are not finite"
    shortest = float(np.linalg.norm(minkowski_reduce(atoms.cell)[0], axis=1).min())
    distances = neighbor_list("d", atoms, SHORTEST_DISTANCE)
    nearest = min([shortest, *distances])
    return (
        None if nearest >= SHORTEST_DISTANCE else f"two atoms are {nearest:.3g} Å apart; are positions and cell in Å?"
    )


def _check_spread(frames: Sequence[Atoms], labels: Sequence[dict[str, Any]]) -> None:
    """Energies of one composition are near each other, unless two kinds of energies were mixed."""
    energies = defaultdict(list)
    for number, (atoms, label) in enumerate(zip(frames, labels, strict=True)):
        energies[atoms.get_chemical_formula(empirical=True)].append((label["energy"] / len(atoms), number))
    for formula, values in energies.items():
        (lowest, first), (highest, second) = min(values), max(values)
        if highest - lowest > LARGEST_SPREAD:
            raise ValueError(
                f"the energies of {formula} in frames {first} and {second} differ by {highest - lowest:.4g} eV per"
                " atom; are they of one method, and the units right?"
            )


def _is_finite(values: Any) -> bool:
    return bool(np.all(np.isfinite(values)))

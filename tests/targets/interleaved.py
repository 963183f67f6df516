"""Ti2O4 with its atoms in any order, in a cell without symmetry."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from fixtures import rutile_atoms

MIXED = [2, 0, 3, 4, 1, 5]  # of Ti Ti O O O O


def triclinic(order: list[int]) -> Atoms:
    """Ti2O4 in a cell without symmetry, off its sites, its atoms in this *order*."""
    atoms = rutile_atoms()
    shear = np.array([[0.0, 0.1, 0.0], [0.3, 0.0, -0.1], [-0.2, 0.15, 0.1]])
    atoms.set_cell(atoms.cell.array + shear, scale_atoms=True)
    atoms.positions += np.random.default_rng(5).normal(0, 0.05, (6, 3))
    return atoms[order]

"""How far a proposal is from the state that it started from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ("squared_displacement",)

Array = NDArray[np.float64]


def squared_displacement(positions: tuple[Array, Array], cells: tuple[Array, Array], masses: Array) -> float:
    """Mean over atoms of |Δr|² in Å², minimum image, with the displacement of the centre of mass removed.

    The displacement is taken in fractional coordinates, where an affine change of the cell moves nothing, and turned
    into Å with the mean of the two cells. Atoms are assumed to move by less than half a cell, as in one trajectory.

    :param positions: of state and proposal, (n_atoms, 3) in Å; *cells* likewise (3, 3), vectors as rows.
    :param masses: (n_atoms,).
    """
    first, last = (np.linalg.solve(cell.T, r.T).T for r, cell in zip(positions, cells, strict=True))
    fractional = last - first
    fractional -= np.round(fractional)
    displacement = fractional @ (0.5 * (cells[0] + cells[1]))
    displacement -= masses @ displacement / masses.sum()
    return float(np.mean(np.sum(displacement**2, axis=-1)))

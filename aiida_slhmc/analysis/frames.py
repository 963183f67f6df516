"""The frames of a trajectory, as plain arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ("Frames",)


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one periodic system: the same atoms in the same order in each of them.

    :param symbols: chemical symbols, (n_atoms,).
    :param positions: (n_frames, n_atoms, 3) in Å, wrapped into the cell or not.
    :param cells: (n_frames, 3, 3) in Å, the rows are the cell's vectors; periodic in all three directions.
    :raises ValueError: the shapes do not fit together, a number is not finite, or a cell has no volume.
    """

    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    cells: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(self.symbols))
        object.__setattr__(self, "positions", np.asarray(self.positions, dtype=float))
        object.__setattr__(self, "cells", np.asarray(self.cells, dtype=float))
        self._check_shapes()
        self._check_values()

    @property
    def n_frames(self) -> int:
        """Number of frames, at least one."""
        return len(self.positions)

    @property
    def formula_units(self) -> int:
        """Number of formula units in the cell: the greatest common divisor of the numbers of atoms of each species.

        The formula is the reduced one: hydrogen peroxide counts as HO.
        """
        return gcd(*Counter(self.symbols).values())

    def volumes(self) -> NDArray[np.float64]:
        """Volume of each frame's cell in Å³, (n_frames,)."""
        return np.abs(np.linalg.det(self.cells))

    def select(self, frames: slice) -> Frames:
        """Some of the frames, such as ``slice(100, None, 10)``.

        :raises ValueError: none is left.
        """
        return Frames(self.symbols, self.positions[frames], self.cells[frames])

    def indices(self, symbol: str) -> NDArray[np.intp]:
        """Indices of the atoms of a species, in their order.

        :raises ValueError: there is none.
        """
        found = np.flatnonzero(np.array(self.symbols) == symbol)
        if found.size == 0:
            raise ValueError(f"there is no {symbol!r} among the species {sorted(set(self.symbols))}")
        return found

    def _check_shapes(self) -> None:
        n_atoms, shape = len(self.symbols), self.positions.shape
        if n_atoms == 0 or len(shape) != 3 or shape[1:] != (n_atoms, 3):
            raise ValueError(f"positions of {n_atoms} atoms are (n_frames, {n_atoms}, 3), not {shape}")
        if shape[0] == 0:
            raise ValueError("there is no frame")
        if self.cells.shape != (shape[0], 3, 3):
            raise ValueError(f"cells of {shape[0]} frames are ({shape[0]}, 3, 3), not {self.cells.shape}")

    def _check_values(self) -> None:
        values: dict[str, NDArray[Any]] = {"positions": self.positions, "cells": self.cells}
        for name, array in values.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} are not all finite numbers")
        if not (self.volumes() > 0).all():
            raise ValueError("a cell has no volume")

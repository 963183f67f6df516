"""What a run of molecular dynamics records: its frames, and lines that say how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ("FRAME_ARRAYS", "Frame", "Progress", "save_frames")

Array = NDArray[np.float64]

PROGRESS_SECONDS = 10.0
PROGRESS_FRACTION = 0.01


class Frame(NamedTuple):
    """One point of the run.

    ``steps``: number of the step; ``times`` (fs); ``positions`` (n_atoms, 3) and ``cells`` (3, 3) in Å, not wrapped;
    ``potential_energies`` (eV), ``temperatures`` (K, of all 3N degrees of freedom), ``volumes`` (Å³),
    ``conserved_energies`` (eV): the energy with that of the thermostats and, in NPT, of the cell.
    """

    steps: int
    times: float
    positions: Array
    cells: Array
    potential_energies: float
    temperatures: float
    volumes: float
    conserved_energies: float


FRAME_ARRAYS = Frame._fields


def save_frames(path: Path, frames: list[Frame], n_atoms: int) -> None:
    """Write the frames as arrays of the fields' names with a leading axis over frames, which may be of length 0."""
    shapes = {"positions": (n_atoms, 3), "cells": (3, 3)}
    arrays = {
        name: np.array([getattr(frame, name) for frame in frames], dtype=np.int64 if name == "steps" else np.float64)
        for name in FRAME_ARRAYS
    }
    arrays = {name: values.reshape(len(frames), *shapes.get(name, ())) for name, values in arrays.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


class Progress:
    """A line for every hundredth of the run, or every ten seconds where that is more often."""

    def __init__(self, n_total: int, n_equilibration: int, log: Callable[[str], None]) -> None:
        self._n_total, self._n_equilibration, self._log = n_total, n_equilibration, log
        self._began = self._last = time.monotonic()
        self._next = 0

    def seconds(self) -> float:
        """Since the first step."""
        return time.monotonic() - self._began

    def is_due(self, n_done: int) -> bool:
        """Whether a line should be written after so many steps."""
        return n_done == self._n_total or n_done >= self._next or time.monotonic() - self._last > PROGRESS_SECONDS

    def show(self, n_done: int, frame: Frame, drift: float) -> None:
        """Write a line; *drift*: of the conserved quantity since the beginning, in eV per atom."""
        self._last = time.monotonic()
        self._next = n_done + max(1, round(PROGRESS_FRACTION * self._n_total))
        phase = "equilibration" if n_done <= self._n_equilibration else f"{frame.times:.1f} fs"
        self._log(
            f"step {n_done}/{self._n_total} ({100 * n_done // self._n_total} %)  {phase}  T {frame.temperatures:.1f} K"
            f"  E {frame.potential_energies:.5f} eV  V {frame.volumes:.3f} Å³  drift {1000 * drift:+.4f} meV/atom"
            f"  {n_done / max(self.seconds(), 1e-9):.4g} steps/s"
        )

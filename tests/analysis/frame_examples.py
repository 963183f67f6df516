"""Frames to analyse: crystals and gases, in cells of many shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.spacegroup import crystal

from aiida_slhmc.analysis.frames import Frames

A, C, U = 4.594, 2.959, 0.305
# lengths of rutile's four short bonds and its two long ones, Å
SHORT = np.sqrt(2 * (0.5 - U) ** 2 * A**2 + C**2 / 4)
LONG = np.sqrt(2) * U * A

CELLS = {
    "orthorhombic": np.diag([9.0, 10.0, 11.0]),
    "triclinic": np.array([[9.0, 0.0, 0.0], [3.1, 8.5, 0.0], [-2.2, 1.7, 9.5]]),
    "very skewed": np.array([[8.0, 0.0, 0.0], [7.0, 7.5, 0.0], [6.0, -5.0, 7.0]]),
    "left-handed": np.array([[3.1, 8.5, 0.0], [9.0, 0.0, 0.0], [-2.2, 1.7, 9.5]]),
    "thin": np.array([[3.2, 0.0, 0.0], [0.4, 9.0, 0.0], [0.3, 0.6, 6.1]]),
}


def rutile(*repetitions: int) -> Atoms:
    """Perfect rutile, six atoms repeated."""
    sites = [(0, 0, 0), (U, U, 0)]
    return crystal(["Ti", "O"], sites, spacegroup=136, cellpar=[A, A, C, 90, 90, 90]).repeat(repetitions or 1)


def frames_of(*atoms: Atoms) -> Frames:
    """Frames of ASE's atoms."""
    return Frames(
        tuple(atoms[0].get_chemical_symbols()),
        np.array([one.positions for one in atoms]),
        np.array([one.cell.array for one in atoms]),
    )


def shaken(atoms: Atoms, n_frames: int, deviation: float = 0.08, seed: int = 0) -> Frames:
    """Frames in which every coordinate is moved by a normal number of this standard deviation (Å)."""
    noise = np.random.default_rng(seed).normal(0, deviation, (n_frames, len(atoms), 3))
    cells = np.tile(atoms.cell.array, (n_frames, 1, 1))
    return Frames(tuple(atoms.get_chemical_symbols()), atoms.positions + noise, cells)


def gas(symbols: Sequence[str], cells: np.ndarray, seed: int = 0) -> Frames:
    """Atoms anywhere in their cells (n_frames, 3, 3)."""
    fractional = np.random.default_rng(seed).random((len(cells), len(symbols), 3))
    return Frames(tuple(symbols), fractional @ cells, cells)


def one_pair(distances: np.ndarray, edge: float = 7.0) -> Frames:
    """An atom H and an atom He at these distances (n_frames,), at most half the edge, in directions of all kinds."""
    directions = np.random.default_rng(0).normal(size=(len(distances), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    positions = np.stack([np.zeros_like(directions), distances[:, None] * directions], axis=1)
    return Frames(("H", "He"), positions, np.tile(edge * np.eye(3), (len(distances), 1, 1)))


def atoms_of(frames: Frames, frame: int) -> Atoms:
    """One frame for ASE."""
    return Atoms(frames.symbols, frames.positions[frame], cell=frames.cells[frame], pbc=True)

"""Which frames of a trajectory are labelled: evenly spaced ones, random ones, or the most different ones.

No frame is taken twice, and of frames that are the same to the bit (a chain that repeats its state where it rejects)
only the first counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.neighbours import pair_distances
from aiida_slhmc.kernel.checks import check_fields, is_whole

__all__ = ("FrameSelection", "choose_frames", "fingerprints")

METHODS = ("every", "random", "farthest_point")
CUTOFF = 5.0  # Å
# distance between the centres of the fingerprint's Gaussians, and their standard deviation; Å
WIDTH = 0.1
# of fingerprints; frames that are nearer are the same up to rounding: moved, turned, or equal atoms exchanged
SAME = 1e-6


@dataclass(frozen=True, kw_only=True)
class FrameSelection:
    """How frames are chosen from a pool.

    `method`: `every` (evenly spaced), `random` (all alike likely) or `farthest_point` (each as different as can be from
    those before); `n_frames` to choose; `every`, for the method of that name: the distance between chosen frames
    (None: the pool's length over `n_frames`, so that they lie all over it); `seed` of the random choice, and of the
    first point; `skip`: frames at the pool's start that are left out.

    :raises ValueError: for a value that makes no sense.
    """

    method: str
    n_frames: int
    every: int | None = None
    seed: int = 0
    skip: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        for name, smallest in (("n_frames", 1), ("seed", 0), ("skip", 0)):
            _check_whole(name, getattr(self, name), smallest)
        if self.every is not None:
            _check_whole("every", self.every, 1)
            if self.method != "every":
                raise ValueError(f"every = {self.every} is only for the method 'every', not for '{self.method}'")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FrameSelection:
        """Read options that people wrote.

        :raises ValueError: for a name that is unknown, with the nearest one, or missing.
        """
        check_fields(cls, content, {"method", "n_frames"}, "option of the selection")
        return cls(**content)

    def shortage(self, n_pool: int) -> str | None:
        """Why a pool of *n_pool* different frames is too small for this choice, or None."""
        left = max(0, n_pool - self.skip)
        needed = (self.n_frames - 1) * (self.every or 1) + 1
        if needed <= left:
            return None
        spacing = f" with every = {self.every}" if self.every else ""
        skipped = f" after skip = {self.skip}" if self.skip else ""
        return f"n_frames = {self.n_frames}{spacing} needs {needed} different frames, and the pool has {left}{skipped}"


def choose_frames(pool: Frames, options: FrameSelection) -> NDArray[np.int64]:
    """Numbers of the chosen frames in the pool, ascending: (options.n_frames,).

    ``farthest_point`` is the greedy choice of Gonzalez (Theor. Comput. Sci. 38, 293 (1985)): after a first point, by
    the seed, always the frame whose row of :func:`fingerprints` is farthest from that of its nearest chosen one.

    :raises ValueError: if there are not as many different frames.
    """
    candidates = _different(pool, options.skip)
    shortage = options.shortage(len(candidates) + options.skip)
    if shortage:
        raise ValueError(shortage)
    if options.method == "every":
        return candidates[_evenly(len(candidates), options)]
    stream = np.random.default_rng(options.seed)
    if options.method == "random":
        return np.sort(stream.choice(candidates, options.n_frames, replace=False))
    prints = fingerprints(Frames(pool.symbols, pool.positions[candidates], pool.cells[candidates]))
    first = int(stream.integers(len(candidates)))
    return candidates[_farthest(prints, options.n_frames, first)]


def fingerprints(frames: Frames) -> NDArray[np.float64]:
    """The surroundings of the atoms of each frame, by distance: (n_frames, n_pairs_of_elements · n_distances).

    For each pair of elements A, B the radial symmetry functions of Behler and Parrinello (Phys. Rev. Lett. 98, 146401
    (2007)), averaged over all N atoms, at distances r_m = WIDTH, 2 WIDTH, … up to the cutoff:

        G_AB(r_m) = 1/N Σ_{i∈A} Σ_{j∈B} exp(−(r_ij − r_m)² / (2 WIDTH²)) (1 + cos(π r_ij / CUTOFF)) / 2

    Images count as atoms, so that the cell is seen, too. A row is the same for a frame that is moved or turned, whose
    atoms are wrapped, or in which atoms of an element are exchanged. No unit.
    """
    pairs = combinations_with_replacement(sorted(set(frames.symbols)), 2)
    return np.concatenate([_symmetry_functions(frames, a, b) for a, b in pairs], axis=1) / len(frames.symbols)


def _symmetry_functions(frames: Frames, centre: str, neighbour: str) -> NDArray[np.float64]:
    """Sums of a pair of elements over their atoms, (n_frames, n_distances)."""
    centres, rows = np.arange(WIDTH, CUTOFF, WIDTH), []
    for _, distances in pair_distances(frames, centre, neighbour, CUTOFF):
        values = np.exp(-((distances[:, None] - centres) ** 2) / (2 * WIDTH**2))
        rows.append((1 + np.cos(np.pi * distances / CUTOFF)) / 2 @ values)
    return np.array(rows)


def _different(pool: Frames, skip: int) -> NDArray[np.int64]:
    """Numbers of the frames after *skip*, those left out that repeat an earlier one to the bit."""
    positions, cells = (array.reshape(pool.n_frames, -1) for array in (pool.positions, pool.cells))
    _, first = np.unique(np.concatenate([positions, cells], axis=1)[skip:], axis=0, return_index=True)
    return np.sort(first) + skip


def _evenly(n_pool: int, options: FrameSelection) -> NDArray[np.int64]:
    numbers = np.arange(options.n_frames)
    return numbers * options.every if options.every else numbers * n_pool // options.n_frames


def _farthest(prints: NDArray[np.float64], count: int, first: int) -> NDArray[np.int64]:
    """Farthest-point sampling of the rows of *prints*, from the row *first*; ascending.

    :raises ValueError: if fewer than *count* rows differ.
    """
    chosen, nearest = [first], np.full(len(prints), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, cdist(prints, prints[chosen[-1:]])[:, 0])
        if nearest.max() < SAME:
            raise ValueError(
                f"n_frames = {count}, but only {len(chosen)} frames of the pool differ; the others are the same, moved "
                "or turned, or with equal atoms exchanged"
            )
        chosen.append(int(nearest.argmax()))
    return np.sort(chosen)


def _check_whole(name: str, value: Any, smallest: int) -> None:
    if not is_whole(value) or value < smallest:
        raise ValueError(f"{name} must be a whole number, at least {smallest}, not {value!r}")

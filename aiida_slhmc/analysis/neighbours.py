"""Distances between the atoms of two species in each frame, and what is counted with them.

Every periodic image of an atom is a neighbour of its own, also the images of the centre itself where both are of one
species; only the centre at distance zero is left out. So cells may be of any shape and smaller than the cutoff, and
there are always as many neighbours as asked for. The lists of neighbours are vesin's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

from aiida_slhmc.analysis.frames import Frames

__all__ = ("coordination_numbers", "nearest_distances", "pair_distances", "shell_distances", "split_shell")

# the first sphere that is searched for a shell would hold so many times its neighbours in a uniform density
ROOM = 3.0
# by which the sphere grows where an atom has too few neighbours in it
GROWTH = 1.3
# the search divides a cell into boxes as wide as the cutoff; more of them for each atom would all be empty
BOXES_PER_ATOM = 64

Pairs = tuple[NDArray[np.intp], NDArray[np.float64]]


def pair_distances(frames: Frames, centre: str, neighbour: str, cutoff: float) -> Iterator[Pairs]:
    """For each frame, all pairs of a centre and a neighbour that are no further apart than the cutoff.

    :param centre: species of the centres.
    :param neighbour: species of the neighbours; where it is the same, a pair is there once from either side.
    :param cutoff: in Å.
    :returns: of each frame the centre of each pair, counted from zero among the centres, and its distance in Å, both
        (n_pairs,) in no order.
    :raises ValueError: a species that is not there, or a cutoff that is not positive.
    """
    centres, neighbours = frames.indices(centre), frames.indices(neighbour)
    _check_cutoff(cutoff)
    return _pair_distances(frames, centres, neighbours, cutoff)


def _pair_distances(
    frames: Frames, centres: NDArray[np.intp], neighbours: NDArray[np.intp], cutoff: float
) -> Iterator[Pairs]:
    # other species take no part; centres come first
    atoms = np.concatenate([centres, np.setdiff1d(neighbours, centres)])
    is_neighbour = np.isin(atoms, neighbours)
    width = (frames.volumes().max() / (BOXES_PER_ATOM * len(atoms))) ** (1 / 3)
    search = NeighborList(cutoff=max(cutoff, width), full_list=True)
    for positions, cell in zip(frames.positions, frames.cells, strict=True):
        i, j, distances = search.compute(points=positions[atoms], box=cell, periodic=True, quantities="ijd")
        wanted = (i < len(centres)) & is_neighbour[j] & (distances <= cutoff)
        yield i[wanted].astype(np.intp), distances[wanted]


def coordination_numbers(frames: Frames, centre: str, neighbour: str, cutoff: float) -> NDArray[np.float64]:
    """Number of neighbours within the cutoff (Å), its mean over the centres of each frame, (n_frames,).

    :raises ValueError: as :func:`pair_distances`.
    """
    n_centres = len(frames.indices(centre))
    return np.array([len(i) / n_centres for i, _ in pair_distances(frames, centre, neighbour, cutoff)])


def nearest_distances(frames: Frames, centre: str, neighbour: str) -> NDArray[np.float64]:
    """Distance in Å from each centre to its nearest neighbour, (n_frames, n_centres).

    :raises ValueError: a species that is not there.
    """
    return shell_distances(frames, centre, neighbour, 1)[:, :, 0]


def shell_distances(frames: Frames, centre: str, neighbour: str, count: int) -> NDArray[np.float64]:
    """Distances in Å from each centre to its nearest neighbours, ascending, (n_frames, n_centres, count).

    :param count: neighbours of each centre, at least one.
    :raises ValueError: a species that is not there, or a count below one.
    """
    centres, neighbours = frames.indices(centre), frames.indices(neighbour)
    if count < 1:
        raise ValueError(f"a shell has at least one neighbour, not {count}")
    density = len(neighbours) / frames.volumes().max()
    cutoff = (ROOM * count / (4 / 3 * math.pi * density)) ** (1 / 3)
    shells = np.full((frames.n_frames, len(centres), count), math.nan)
    missing = np.arange(frames.n_frames)
    while missing.size:
        few = Frames(frames.symbols, frames.positions[missing], frames.cells[missing])
        for frame, pairs in zip(missing, _pair_distances(few, centres, neighbours, cutoff), strict=True):
            if np.bincount(pairs[0], minlength=len(centres)).min() >= count:
                shells[frame] = _nearest(pairs, len(centres), count)
        missing = missing[np.isnan(shells[missing, 0, 0])]
        cutoff *= GROWTH
    return shells


def split_shell(
    frames: Frames, centre: str, neighbour: str, n_short: int, n_long: int
) -> dict[str, NDArray[np.float64]]:
    """Mean lengths in Å of the shorter and the longer bonds of a first shell, and of all of them.

    The first *n_short* + *n_long* neighbours of each centre are sorted by their distance. The titanium of rutile has
    four short bonds and two long ones. The split is by rank, so thermal motion alone parts equal bonds, too.

    :returns: ``short``, ``long`` and ``mean``, each (n_frames,), means over the centres.
    :raises ValueError: a species that is not there, or a number of bonds below one.
    """
    if min(n_short, n_long) < 1:
        raise ValueError(f"a shell is split into at least one bond and one, not {n_short} and {n_long}")
    shells = shell_distances(frames, centre, neighbour, n_short + n_long)
    return {
        "short": shells[:, :, :n_short].mean(axis=(1, 2)),
        "long": shells[:, :, n_short:].mean(axis=(1, 2)),
        "mean": shells.mean(axis=(1, 2)),
    }


def _nearest(pairs: Pairs, n_centres: int, count: int) -> NDArray[np.float64]:
    """The nearest distances of each centre, ascending, (n_centres, count); each centre has enough."""
    i, distances = pairs
    distances = distances[np.lexsort((distances, i))]
    ends = np.cumsum(np.bincount(i, minlength=n_centres))
    starts = np.concatenate([[0], ends[:-1]])
    return distances[starts[:, None] + np.arange(count)]


def _check_cutoff(cutoff: float) -> None:
    if not (math.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"a cutoff is a positive number, not {cutoff}")

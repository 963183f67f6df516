"""Radial distribution functions, and the position of a peak.

g_AB(r) = ⟨V n_AB(r) / (N_A N_B v(r))⟩ over the frames: n_AB is the number of ordered pairs (an atom A, a neighbour B)
in the spherical shell [r, r + Δr) of volume v = 4π/3 ((r + Δr)³ − r³), and V the volume of the frame's own cell, which
changes at constant pressure. With it, 4π N_B/V ∫ g r² dr is the number of neighbours B about an atom A.

Pairs are counted as in :mod:`aiida_slhmc.analysis.neighbours`: with all periodic images, so that r may be larger than
half the cell. In g_AA a pair counts from either side, an atom's own images count, the atom itself does not, and the
normalisation is N_A², that of an infinite crystal; an ideal gas of N atoms so has g_AA = 1 − 1/N and the peaks of
its own lattice, which together are 1 at large distances. g_AB equals g_BA.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.analysis.bootstrap import Estimate, block_bootstrap, choose_block_length
from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.neighbours import pair_distances

__all__ = ("radial_distribution", "refined_peak", "whole_bins")

# 0.01 bohr
BIN_WIDTH = 0.00529177
# relative to a bin; a limit that is a multiple of the width but for rounding is one
ROUNDING = 1e-6


def radial_distribution(
    frames: Frames, pair: tuple[str, str], *, bin_width: float = BIN_WIDTH, r_max: float = 6.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radial distribution function of a pair of species, the mean over the frames.

    :param pair: species A and B; the same one twice is allowed.
    :param bin_width: in Å.
    :param r_max: in Å; the last bin ends at it or before.
    :returns: centres of the bins (Å), the first bin begins at zero, and g in them, both (n_bins,).
    :raises ValueError: a species that is not there, or less than one bin.
    """
    first, last = whole_bins((0.0, r_max), bin_width)
    counts = _counts(frames, pair, (first, last), bin_width)
    edges = np.arange(first, last + 1) * bin_width
    shells = 4 / 3 * math.pi * np.diff(edges**3)
    n_pairs = len(frames.indices(pair[0])) * len(frames.indices(pair[1]))
    g = frames.volumes() @ counts / (frames.n_frames * n_pairs * shells)
    return _centres(first, last, bin_width), g


def refined_peak(
    frames: Frames,
    pair: tuple[str, str],
    window: tuple[float, float],
    *,
    bin_width: float = BIN_WIDTH,
    block_length: int | None = 10,
    n_resamples: int = 300,
    seed: int = 0,
) -> Estimate:
    """Position in Å of the peak in a window: the highest bin, refined by the parabola through it and its neighbours.

    It is the histogram of the distances in the window, which the paper takes. A peak of g(r), V n/r², at r with
    standard deviation σ lies lower by about 2σ²/r: 0.01 Å for the first shell of an oxide. The bins are those of
    :func:`radial_distribution` that lie in the window as a whole. A maximum in the first or the last of them is no
    peak: its bin's centre is given, without a parabola. Of equally high bins the first one counts.

    :param window: lower and upper limit in Å.
    :param block_length: frames in a block; None: chosen from the mean distance in the window, frame by frame.
    :raises ValueError: a species that is not there, a window without three bins, or none of whose bins has a distance.
    """
    first, last = whole_bins(window, bin_width)
    if last - first < 3:
        raise ValueError(f"the window {window} has fewer than three bins of {bin_width} Å")
    centres = _centres(first, last, bin_width)
    counts = _counts(frames, pair, (first, last), bin_width).astype(float)
    if not counts.any():
        raise ValueError(f"no distance {pair[0]}–{pair[1]} lies in the window {window} Å")
    if block_length is None:
        totals = counts.sum(axis=1)
        block_length = choose_block_length((counts @ centres)[totals > 0] / totals[totals > 0])
    return block_bootstrap(
        counts,
        lambda resampled: _peak(resampled.sum(axis=0), centres),
        block_length=block_length,
        n_resamples=n_resamples,
        seed=seed,
    )


def _peak(heights: NDArray[np.float64], centres: NDArray[np.float64]) -> float:
    """Position of the maximum of a histogram; NaN where there is nothing in it."""
    top = int(np.argmax(heights))
    if heights[top] <= 0:
        return math.nan
    if top in (0, len(heights) - 1):
        return float(centres[top])
    left, middle, right = heights[top - 1 : top + 2]
    curvature = left - 2 * middle + right
    shift = 0.0 if curvature == 0 else 0.5 * (left - right) / curvature
    return float(centres[top] + shift * (centres[1] - centres[0]))


def whole_bins(window: tuple[float, float], bin_width: float) -> tuple[int, int]:
    """First bin of a window (Å) and the one after its last, of those that lie in it; bin k begins at k widths.

    :raises ValueError: less than one bin, or no distances.
    """
    lower, upper = window
    if not (math.isfinite(bin_width) and bin_width > 0):
        raise ValueError(f"the width of a bin is a positive number, not {bin_width}")
    if not (math.isfinite(upper) and 0 <= lower < upper):
        raise ValueError(f"distances from {lower} to {upper} Å are none")
    first, last = math.ceil(lower / bin_width - ROUNDING), math.floor(upper / bin_width + ROUNDING)
    if last <= first:
        raise ValueError(f"no bin of {bin_width} Å lies between {lower} and {upper} Å")
    return first, last


def _centres(first: int, last: int, bin_width: float) -> NDArray[np.float64]:
    return (np.arange(first, last, dtype=float) + 0.5) * bin_width


def _counts(frames: Frames, pair: tuple[str, str], bins: tuple[int, int], bin_width: float) -> NDArray[np.int64]:
    """Ordered pairs in each bin of each frame, (n_frames, n_bins)."""
    first, last = bins
    counts = np.zeros((frames.n_frames, last - first), dtype=np.int64)
    for row, (_, distances) in zip(counts, pair_distances(frames, *pair, last * bin_width), strict=True):
        found = (distances / bin_width).astype(np.int64)
        row += np.bincount(found[(found >= first) & (found < last)] - first, minlength=last - first)
    return counts

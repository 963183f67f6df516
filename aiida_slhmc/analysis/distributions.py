"""Histograms, and the Wasserstein-1 distance between the distributions of two trajectories.

W₁ = ∫|F(x) − G(x)| dx between the empirical distribution functions (Vallender, Theory Probab. Appl. 18, 784 (1974));
it has the unit of x. It is never negative, so between finite samples of one and the same distribution it is not zero:
it falls as the square root of the number of independent values. A distance of a few times that floor
(:func:`wasserstein_floor`) or less tells no difference, and one well above the floor is hardly biased, because the
noise then enters in second order only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import wasserstein_distance

from aiida_slhmc.analysis.bootstrap import Estimate, choose_block_length, resampled_frames

__all__ = ("density_histogram", "wasserstein", "wasserstein_estimate", "wasserstein_floor")


def density_histogram(samples: ArrayLike, bin_width: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability density of a sample, which integrates to one.

    Bins begin at integer multiples of their width, so that those of two samples lie on one grid.

    :param samples: any shape and unit.
    :param bin_width: in the unit of the samples.
    :returns: centres of the bins, without a gap from the smallest value's to the largest's, and the density in each.
    :raises ValueError: no sample, a sample that is not finite, or a width that is not positive.
    """
    values = _as_samples(samples)
    if not (math.isfinite(bin_width) and bin_width > 0):
        raise ValueError(f"the width of a bin is a positive number, not {bin_width}")
    bins = np.floor(values.ravel() / bin_width).astype(np.int64)
    counts = np.bincount(bins - bins.min())
    centres = (bins.min() + np.arange(len(counts)) + 0.5) * bin_width
    return centres, counts / (values.size * bin_width)


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Wasserstein-1 distance between two samples of any shapes, exact on the sorted values, in their unit.

    :raises ValueError: no sample, or a sample that is not finite.
    """
    return float(wasserstein_distance(_as_samples(first).ravel(), _as_samples(second).ravel()))


def wasserstein_estimate(
    first: ArrayLike, second: ArrayLike, *, block_length: int | None = 10, n_resamples: int = 400, seed: int = 0
) -> Estimate:
    """Wasserstein-1 distance between two trajectories, with a standard error: both are resampled by blocks of frames.

    The value is that of the samples as they are. Resampling adds noise to that of the samples, so that the resampled
    distances lie above it; their spread is used, their mean is not. The bias of the value itself is not corrected: it
    is positive, at most the floor, and matters only where the distance is comparable to it.

    :param first: (n_frames, …), any unit.
    :param second: as the first, any number of frames.
    :param block_length: frames in a block; None: chosen for each of the two.
    :raises ValueError: as :func:`wasserstein`.
    """
    samples = [_as_samples(sample) for sample in (first, second)]
    lengths = [_length(sample, block_length) for sample in samples]
    seeds = np.random.SeedSequence(seed).generate_state(2)
    resamples = [
        resampled_frames(len(sample), block_length=length, n_resamples=n_resamples, seed=int(own))
        for sample, length, own in zip(samples, lengths, seeds, strict=True)
    ]
    distances = [wasserstein(samples[0][one], samples[1][other]) for one, other in zip(*resamples, strict=True)]
    is_telling = all(len(sample) > length for sample, length in zip(samples, lengths, strict=True))
    error = float(np.std(distances, ddof=1)) if is_telling else math.nan
    return Estimate(wasserstein(*samples), error)


def wasserstein_floor(
    samples: ArrayLike, *, block_length: int | None = 10, n_resamples: int = 200, seed: int = 0
) -> Estimate:
    """Wasserstein-1 distance to expect between two independent trajectories of this length of *one* distribution.

    The blocks are dealt out at random to two halves, again and again. The difference of the halves' distribution
    functions has the variance s²(1/m₁ + 1/m₂) of two independent samples with m₁ and m₂ frames (drawing without
    replacement correlates them so that no factor is left over), and W₁ is proportional to its root; each distance is
    scaled by it to two samples of all n frames. Correlations longer than a block make the floor too low.

    Of two trajectories of different lengths with floors f₁ and f₂, the floor is √((f₁² + f₂²)/2).

    :param samples: (n_frames, …), any unit.
    :returns: the mean; and the standard deviation of one such distance about it, in place of an error of the mean, so
        that value + 2 standard_error is a distance that chance alone seldom exceeds. Both are NaN for one block.
    :raises ValueError: as :func:`wasserstein`.
    """
    values = _as_samples(samples)
    length = _length(values, block_length)
    # checks the numbers
    resampled_frames(len(values), block_length=length, n_resamples=n_resamples, seed=seed)
    if len(values) <= length:
        return Estimate(math.nan, math.nan)
    generator = np.random.default_rng(seed)
    distances = [_between_halves(values, length, generator) for _ in range(n_resamples)]
    return Estimate(float(np.mean(distances)), float(np.std(distances, ddof=1)))


def _between_halves(values: NDArray[np.float64], block_length: int, generator: np.random.Generator) -> float:
    """Distance between two random halves of the blocks, scaled to samples that are as long as the whole."""
    block = np.arange(len(values)) // block_length
    n_blocks = block[-1] + 1
    is_first = (generator.permutation(n_blocks) < n_blocks // 2)[block]
    n_first, n_second = int(is_first.sum()), int((~is_first).sum())
    scale = math.sqrt((2 / len(values)) / (1 / n_first + 1 / n_second))
    return scale * wasserstein(values[is_first], values[~is_first])


def _length(values: NDArray[np.float64], block_length: int | None) -> int:
    return choose_block_length(values) if block_length is None else block_length


def _as_samples(samples: ArrayLike) -> NDArray[np.float64]:
    values = np.atleast_1d(np.asarray(samples, dtype=float))
    if values.size == 0:
        raise ValueError("there is no sample")
    if not np.isfinite(values).all():
        raise ValueError("samples are not all finite numbers")
    return values

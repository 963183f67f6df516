"""Convergence of a Markov chain: effective sample size, autocorrelation time, split R-hat, mean with its error.

A series is (n_cycles, n_walkers), rejected cycles repeated as they stand in the chain. Every function returns NaN
where the chain says nothing: fewer than ``MIN_CYCLES`` cycles, a value that is not finite, or a constant series.
The estimators are those of ArviZ (Vehtari et al., Bayesian Analysis 16, 667 (2021)).
"""

from __future__ import annotations

import math

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import ArrayLike, NDArray

__all__ = ("MIN_CYCLES", "autocorrelation_time", "effective_sample_size", "mean_and_error", "split_r_hat")

# both estimators halve the walkers' chains, and ArviZ asks for four values in each
MIN_CYCLES = 8
# relative; a volume that is only rounded differently from cycle to cycle is constant
CONSTANT = 1e-12


def autocorrelation_time(series: ArrayLike) -> float:
    """Integrated autocorrelation time in cycles, τ = 1 + 2 Σ_t ρ_t; 1 for independent values.

    ρ_t is the autocorrelation at lag t over all walkers, and the sum ends by Geyer's initial monotone sequence
    (Statistical Science 7, 473 (1992)). The variance has the part between walkers in it, so that walkers that do not
    agree give a long time.

    :param series: (n_cycles, n_walkers), any unit.
    """
    values = _as_series(series)
    if not _is_telling(values):
        return math.nan
    return 1 / float(array_stats.ess(values, chain_axis=1, draw_axis=0, method="mean", relative=True))


def effective_sample_size(series: ArrayLike) -> float:
    """Number of independent values that give the mean as exactly as the chain does: n_cycles n_walkers / τ.

    :param series: (n_cycles, n_walkers), any unit.
    """
    return _as_series(series).size / autocorrelation_time(series)


def split_r_hat(series: ArrayLike) -> float:
    """Split R-hat: 1 where all halves of all walkers' chains have the same mean, infinite where none of them moves.

    R² = (W (n − 1)/n + B/n) / W with B and W the variances between and within the halves of n cycles. The walkers are
    halved here, so that one walker alone can be judged too.

    :param series: (n_cycles, n_walkers), any unit.
    """
    values = _as_series(series)
    if not _is_telling(values):
        return math.nan
    half = len(values) // 2
    halves = np.concatenate([values[:half], values[-half:]], axis=1)
    # no variance within the halves: they differ and none moves, and infinity is the answer
    with np.errstate(divide="ignore"):
        return float(array_stats.rhat(halves, chain_axis=1, draw_axis=0, method="identity"))


def mean_and_error(series: ArrayLike) -> tuple[float, float]:
    """Mean and its standard error s/√ESS, both in the series' unit.

    The error is NaN where there is no effective sample size; the mean is given whenever all values are finite.

    :param series: (n_cycles, n_walkers).
    """
    values = _as_series(series)
    if values.size == 0:
        return math.nan, math.nan
    size = effective_sample_size(values)
    error = math.nan if math.isnan(size) else float(values.std(ddof=1)) / math.sqrt(size)
    return float(values.mean()), error


def _as_series(series: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(series, dtype=float)
    if values.ndim != 2:
        raise ValueError(f"a series is (n_cycles, n_walkers), not {values.shape}")
    return values


def _is_telling(values: NDArray[np.float64]) -> bool:
    if len(values) < MIN_CYCLES or values.size == 0 or not np.isfinite(values).all():
        return False
    return bool(np.ptp(values) > CONSTANT * np.abs(values).max())

"""Standard errors of anything that is computed from correlated frames: the block bootstrap.

Frames are cut into contiguous blocks, and blocks are drawn with replacement (Künsch, Annals of Statistics 17, 1217
(1989), with blocks that do not overlap, as in Carlstein, ibid. 14, 1171 (1986)). Of m blocks, m − 1 are drawn: with m,
the variance of a mean is (m − 1)/m of the true one, half of it for two blocks such as the walkers of a chain; with
m − 1 it is right for any m (McCarthy and Snowden, Vital and Health Statistics 2 (95), 1985).

The correlation within a block is kept, that between blocks is lost: with an integrated autocorrelation time
τ = 1 + 2 Σ ρ_t of an exponential decay, blocks of b frames give a variance that is too small by about τ/(2b). Blocks of
ten frames, the usual length, are long enough where τ is one or two frames, and far too short for the volume of a
crystal, so a length can be chosen from the series itself (``block_length=None``, :func:`choose_block_length`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aiida_slhmc.analysis.convergence import autocorrelation_time

__all__ = ("Estimate", "block_bootstrap", "choose_block_length", "mean", "resampled_frames")

# a chosen block is never shorter than the usual ten frames
MIN_BLOCK_LENGTH = 10
# blocks of five autocorrelation times: the variance is too small by a tenth, the error by a twentieth
BLOCK_TIMES = 5.0
# fewer blocks have no spread to speak of; with four, the error itself is known to 40 % only
MIN_BLOCKS = 4

FrameValues = NDArray[Any]


class Estimate(NamedTuple):
    """A value with its standard error, in the same unit; the error is NaN where the data cannot tell."""

    value: float
    standard_error: float


def mean(values: FrameValues) -> float:
    """Mean over the frames and all that there is in each of them."""
    return float(np.mean(values))


@overload
def block_bootstrap(
    frame_values: ArrayLike,
    statistic: Callable[[FrameValues], float] = ...,
    *,
    block_length: int | None = ...,
    n_resamples: int = ...,
    seed: int = ...,
) -> Estimate: ...


@overload
def block_bootstrap(
    frame_values: ArrayLike,
    statistic: Callable[[FrameValues], NDArray[Any]],
    *,
    block_length: int | None = ...,
    n_resamples: int = ...,
    seed: int = ...,
) -> list[Estimate]: ...


def block_bootstrap(
    frame_values: ArrayLike,
    statistic: Callable[[FrameValues], Any] = mean,
    *,
    block_length: int | None = 10,
    n_resamples: int = 400,
    seed: int = 0,
) -> Estimate | list[Estimate]:
    """Value of a statistic on all frames, and its standard deviation over resampled trajectories.

    It has no bias where blocks are independent and the statistic is a mean; with one block it is NaN.

    :param frame_values: (n_frames, …), any unit, in the order of time.
    :param statistic: of an array (n, …) of frames, to a number, or to a row of numbers, each with its own error.
    :param block_length: frames in a block, the last block may be shorter; None: as :func:`choose_block_length` says.
    :param seed: the same seed gives the same error.
    :raises ValueError: no frame, or a number of frames or resamples that is none.
    """
    values = _as_frames(frame_values)
    length = choose_block_length(values) if block_length is None else block_length
    resamples = resampled_frames(len(values), block_length=length, n_resamples=n_resamples, seed=seed)
    whole = np.asarray(statistic(values), dtype=float)
    if whole.ndim > 1:
        raise ValueError(f"a statistic is a number or a row of numbers, not {whole.shape}")
    spread = np.std([statistic(values[frames]) for frames in resamples], axis=0, ddof=1)
    if len(values) <= length:
        spread = np.full_like(whole, math.nan)
    if whole.ndim == 0:
        return Estimate(float(whole), float(spread))
    return [Estimate(float(value), float(error)) for value, error in zip(whole, spread, strict=True)]


def resampled_frames(n_frames: int, *, block_length: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Indices of the frames of each resampled trajectory, one block less than there are.

    Their number differs where the last block is shorter.

    :raises ValueError: a block of no frame, or fewer than two resamples, which have no spread.
    """
    if block_length < 1:
        raise ValueError(f"a block has at least one frame, not {block_length}")
    if n_resamples < 2:
        raise ValueError(f"at least two resamples have a spread, not {n_resamples}")
    return _resampled_frames(n_frames, block_length, n_resamples, np.random.default_rng(seed))


def _resampled_frames(
    n_frames: int, block_length: int, n_resamples: int, generator: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    n_blocks = math.ceil(n_frames / block_length)
    for _ in range(n_resamples):
        starts = block_length * generator.integers(n_blocks, size=max(1, n_blocks - 1))
        frames = (starts[:, None] + np.arange(block_length)).ravel()
        yield frames[frames < n_frames]


def choose_block_length(frame_values: ArrayLike) -> int:
    """Block length for a series of frames: five times its integrated autocorrelation time, and at least ten frames.

    Of several series in each frame, and their mean, the slowest counts. At least four blocks are left, so that of a
    trajectory of fewer than twenty autocorrelation times the error comes out too small whatever is done.

    :param frame_values: (n_frames, …), any unit. Constant series, and those of fewer than eight frames, say nothing.
    """
    values = _as_frames(frame_values)
    columns = values.reshape(len(values), -1)
    columns = np.column_stack([columns, columns.mean(axis=1)])
    times = [autocorrelation_time(column[:, None]) for column in columns.T]
    slowest = max((time for time in times if math.isfinite(time)), default=1.0)
    wanted = max(MIN_BLOCK_LENGTH, math.ceil(BLOCK_TIMES * slowest))
    return max(MIN_BLOCK_LENGTH, min(wanted, len(values) // MIN_BLOCKS))


def _as_frames(frame_values: ArrayLike) -> FrameValues:
    values = np.asarray(frame_values, dtype=float)
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"values of frames are (n_frames, …), not {values.shape}")
    return values

"""The mean cell of a trajectory at constant pressure, and how well it is known.

Lengths, angles and volume are those of the mean matrix of the cell's vectors, as in the paper. The volume of the mean
matrix is not exactly the mean volume; they differ by the variance of the strain, 10⁻⁴ or less in a solid of some ten
atoms and more. The mean of :meth:`~aiida_slhmc.analysis.frames.Frames.volumes` is the other one.
"""

from __future__ import annotations

import math

import numpy as np
from ase.geometry import cell_to_cellpar
from numpy.typing import NDArray

from aiida_slhmc.analysis.bootstrap import Estimate, block_bootstrap, choose_block_length
from aiida_slhmc.analysis.convergence import autocorrelation_time
from aiida_slhmc.analysis.frames import Frames

__all__ = ("cell_block_length", "cell_metrics", "propagated_volume_error")

METRICS = ("a", "b", "c", "alpha", "beta", "gamma", "volume")
LENGTHS = ("a", "b", "c")
# largest element off the diagonal that a nearly diagonal mean cell has, relative to the smallest on it
NEARLY_DIAGONAL = 0.02

Replication = tuple[int, int, int]


def cell_metrics(
    frames: Frames,
    replication: Replication = (1, 1, 1),
    *,
    block_length: int | None = 10,
    n_resamples: int = 400,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Lattice constants and volume of the mean cell, with errors by block bootstrap of the frames' cells.

    The errors hold for a cell of any shape and know that its lengths move together.

    :param replication: repetitions of the minimal cell along the three vectors.
    :param block_length: frames in a block. Volumes forget slowly, so that the usual ten frames give too small an error;
        None: chosen by :func:`cell_block_length`, which also says what it chose.
    :returns: ``a``, ``b``, ``c`` (Å, of the minimal cell), ``alpha``, ``beta``, ``gamma`` (degrees) and ``volume``
        (Å³ per formula unit).
    :raises ValueError: a replication that is not three positive integers.
    """
    _check_replication(replication)
    length = cell_block_length(frames) if block_length is None else block_length
    scale = np.array([*(1 / np.array(replication)), 1, 1, 1, 1 / frames.formula_units])
    estimates = block_bootstrap(
        frames.cells,
        lambda cells: scale * _metrics(cells.mean(axis=0)),
        block_length=length,
        n_resamples=n_resamples,
        seed=seed,
    )
    return dict(zip(METRICS, estimates, strict=True))


def cell_block_length(frames: Frames) -> int:
    """Block length that the slowest of the cell's elements and its volume ask for, in frames."""
    elements = frames.cells.reshape(frames.n_frames, 9)
    return choose_block_length(np.column_stack([elements, frames.volumes()]))


def propagated_volume_error(
    frames: Frames, replication: Replication = (1, 1, 1), *, autocorrelation: bool = False
) -> dict[str, Estimate]:
    """Lattice constants and volume with the paper's errors: from the fluctuations of the diagonal, and propagated.

    s_i = √(τ_i/n) σ_i for each diagonal element h_ii of the cell with the standard deviation σ_i over n frames, and
    s_V = V √(Σ (s_i/h_ii)²) to first order for the volume. τ_i = 1 takes the frames as independent, which is the
    paper's; with *autocorrelation* it is the integrated autocorrelation time of h_ii (not below 1).

    The three lengths are taken as independent. Where they move together, as under isotropic strain, the volume's error
    is too small by up to √3; where one grows as another shrinks, too large. :func:`cell_metrics` assumes neither.

    :param replication: repetitions of the minimal cell along the three vectors.
    :returns: ``a``, ``b``, ``c`` (Å, of the minimal cell) and ``volume`` (Å³ per formula unit); errors are NaN for one
        frame, and with *autocorrelation* for fewer than eight. An element that never changes has the error zero.
    :raises ValueError: the mean cell is not nearly diagonal.
    """
    _check_replication(replication)
    cell = frames.cells.mean(axis=0)
    diagonal = np.abs(np.diagonal(cell))
    if np.abs(cell - np.diag(np.diagonal(cell))).max() > NEARLY_DIAGONAL * diagonal.min():
        raise ValueError("the mean cell is not nearly diagonal; take the errors of cell_metrics")
    series = np.abs(np.diagonal(frames.cells, axis1=1, axis2=2))
    errors = np.array([_error_of_mean(column, autocorrelation) for column in series.T])
    volume = float(np.abs(np.linalg.det(cell))) / frames.formula_units
    lengths = {
        name: Estimate(float(value / times), float(error / times))
        for name, value, error, times in zip(LENGTHS, diagonal, errors, replication, strict=True)
    }
    return {**lengths, "volume": Estimate(volume, volume * math.sqrt(float(np.sum((errors / diagonal) ** 2))))}


def _metrics(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengths, angles and volume of one cell, in the order of ``METRICS``."""
    return np.append(cell_to_cellpar(cell), np.abs(np.linalg.det(cell)))


def _error_of_mean(series: NDArray[np.float64], autocorrelation: bool) -> float:
    n_frames = len(series)
    if n_frames < 2:
        return math.nan
    deviation = float(series.std(ddof=1))
    if not autocorrelation or np.ptp(series) == 0:
        return deviation / math.sqrt(n_frames)
    # NaN stays NaN
    time = autocorrelation_time(series[:, None])
    return deviation * math.sqrt((1.0 if time < 1 else time) / n_frames)


def _check_replication(replication: Replication) -> None:
    is_whole = all(isinstance(times, (int, np.integer)) and times > 0 for times in replication)
    if len(replication) != 3 or not is_whole:
        raise ValueError(f"a replication is three positive integers, not {replication}")

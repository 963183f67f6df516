"""The forward (prequential) error of a run: each model on the labels that came after it, which no model had seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.analysis.bootstrap import Estimate, block_bootstrap
from aiida_slhmc.analysis.epoch_summary import Chain, jsonable

__all__ = ("forward_error_curve",)

Values = NDArray[Any]


def forward_error_curve(
    chains: Sequence[tuple[Chain, dict[str, Any]]],
    *,
    block_length: int = 1,
    n_resamples: int = 400,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Errors of each epoch's model on the epoch's own labels, against the number of labels before.

    The end points of an epoch are labelled while its model is frozen, and only then trained on, so no label is spent
    on testing. Standard errors are a bootstrap over the labels, cycle by cycle and in a cycle walker by walker. It
    takes them as independent unless *block_length* is above one; the end points of a walker's cycles are related.

    :param chains: arrays (n_cycles, n_walkers) and properties of each epoch, in order, as
        :func:`aiida_slhmc.calculations.epoch.read_chain` gives them; of the arrays ``energy_error`` (eV) and
        ``force_rmse`` (eV/Å) are read, NaN where there is no label, and of the properties ``epoch`` and ``n_atoms``.
    :param block_length: labels in a block.
    :returns: for each epoch ``epoch``; ``labels_before``, those of all epochs before it, which leaves out labels made
        outside the chains, such as that of the start; ``labels``; ``force_rmse_mev_per_angstrom``, the root mean square
        over all components of all labels, ``energy_rmse_mev_per_atom``, ``energy_rmse_centred_mev_per_atom``, after
        the mean error of the epoch is taken off, and that mean, ``energy_offset_mev_per_atom``; each with a standard
        error, ``<name>_error``. What cannot be known is None.
    """
    curve, labels_before = [], 0
    for chain, about in chains:
        is_labelled = ~(np.isnan(chain["energy_error"]) | np.isnan(chain["force_rmse"]))
        energy = 1000 * chain["energy_error"][is_labelled] / about["n_atoms"]
        force = 1000 * chain["force_rmse"][is_labelled]
        labels = len(force)
        errors = {
            "force_rmse_mev_per_angstrom": (force, _rms),
            "energy_rmse_mev_per_atom": (energy, _rms),
            "energy_rmse_centred_mev_per_atom": (energy, _centred_rms),
            "energy_offset_mev_per_atom": (energy, _mean),
        }
        row = {"epoch": about["epoch"], "labels_before": labels_before, "labels": labels}
        for name, (values, statistic) in errors.items():
            estimate = _estimate(values, statistic, block_length=block_length, n_resamples=n_resamples, seed=seed)
            row |= {name: estimate.value, f"{name}_error": estimate.standard_error}
        curve.append(jsonable(row))
        labels_before += labels
    return curve


def _estimate(values: Values, statistic: Callable[[Values], float], **options: int) -> Estimate:
    if values.size == 0:
        return Estimate(math.nan, math.nan)
    return block_bootstrap(values, statistic, **options)


def _rms(values: Values) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _centred_rms(values: Values) -> float:
    return float(np.std(values))


def _mean(values: Values) -> float:
    return float(np.mean(values))

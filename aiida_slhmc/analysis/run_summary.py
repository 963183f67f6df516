"""The diagnostics of a run: its epochs side by side, and all of them as one chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aiida_slhmc.analysis.epoch_summary import Chain, counts, deviation, jsonable, known, series_diagnostics, summarise
from aiida_slhmc.analysis.reliability import run_warnings
from aiida_slhmc.kernel.diagnostics import creutz

__all__ = ("summarise_chains",)

# what epochs must share to be read as one chain
SHARED = ("temperature", "ensemble", "pressure", "cell_degrees_of_freedom", "n_atoms", "n_walkers")


def summarise_chains(chains: Sequence[tuple[Chain, dict[str, Any]]]) -> dict[str, Any]:
    """``epochs`` (each one's :func:`~aiida_slhmc.analysis.epoch_summary.summarise`), ``labels`` in all, and ``run``.

    ``run`` describes the epochs' chains put together: ``n_cycles``, ``n_walkers``, ``labels``, ``failed_labels``,
    ``diverged``, ``acceptance`` with its interval, ``creutz``, ``creutz_error``, ``sigma_delta_h``, the diagnostics of
    ``energy`` and ``volume``, ``warnings``. From epoch to epoch the kernel changes and the choice of it depends on the
    past, so this describes target-guided data generation, not one exact chain; within an epoch, and in a run of one
    epoch, the chain is exact. Epochs of different ``SHARED`` properties are not put together: ``run`` then holds
    nothing but a warning that says so.

    :param chains: chain and about of each epoch, in order.
    """
    epochs = [summarise(chain, about) for chain, about in chains]
    labels = sum(epoch["labels"] for epoch in epochs)
    return {"epochs": epochs, "labels": labels, "run": jsonable(_run(chains, epochs))}


def _run(chains: Sequence[tuple[Chain, dict[str, Any]]], epochs: list[dict[str, Any]]) -> dict[str, Any]:
    different = [key for key in SHARED if len({epoch[key] for epoch in epochs}) != 1]
    if different:
        return {"warnings": [f"The epochs differ in {', '.join(different)}: they were not read as one chain."]}
    names = ("accepted", "diverged", "delta_h", "energy", "volume")
    chain = {name: np.concatenate([arrays[name] for arrays, _ in chains]) for name in names}
    delta_h = known(chain["delta_h"])
    temperature = epochs[0]["temperature"]
    mean, error = creutz(delta_h, temperature)
    run = {
        **{key: epochs[0][key] for key in ("ensemble", "temperature", "pressure", "cell_degrees_of_freedom")},
        **counts(chain),
        "creutz": mean,
        "creutz_error": error,
        "sigma_delta_h": deviation(delta_h),
        **series_diagnostics("energy", chain["energy"]),
        **series_diagnostics("volume", chain["volume"]),
    }
    return {**run, "warnings": run_warnings(run)}

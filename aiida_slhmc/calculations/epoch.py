"""Calculation functions that close an epoch: its block of labels, its summary, and the next proposal length."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from scipy.stats import binomtest

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.kernel.adaptation import AcceptanceRule, LengthState
from aiida_slhmc.kernel.diagnostics import creutz, predicted_acceptance

__all__ = ("adapt_length", "collect_block", "record_unlabelled", "summarise_epoch")


@calcfunction
def collect_block(**labels: ConfigurationData) -> DatasetData:
    """The block of an epoch: all its labelled end points, accepted or not, in the order of their names."""
    return DatasetData(configurations=[labels[name] for name in sorted(labels)])


@calcfunction
def record_unlabelled(structure: orm.StructureData, reason: orm.Str) -> ConfigurationData:
    """The record of a configuration that the target could not label, with the reason."""
    return ConfigurationData.from_structure(structure, unlabelled_reason=reason.value)


@calcfunction
def summarise_epoch(**decisions: orm.Dict) -> orm.Dict:
    """Diagnostics of a finished epoch from its decisions (theory: section 4 of the design, `kernel/diagnostics`).

    :returns: a Dict with ``epoch``, ``n_cycles``, ``n_walkers``, ``labels``, ``failed_labels``, ``acceptance``,
        ``acceptance_interval`` (95 %), ``acceptance_per_walker``, ``predicted_acceptance``, ``creutz``,
        ``creutz_error``,
        ``n_steps`` (mean), ``sigma_delta_h``, ``sigma_integration``, ``sigma_mismatch`` (eV), the forward errors
        ``force_rmse_mev_per_angstrom``, ``energy_rmse_mev_per_atom``, ``energy_rmse_centred_mev_per_atom``, and
        ``squared_jump_per_label`` (Å²). A number that needs more labels than there are is None.
    """
    rows = [decisions[name].get_dict() for name in sorted(decisions)]
    accepted = np.array([row["accepted"] for row in rows])
    labelled = {key: _known(rows, key) for key in ("delta_h", "integration", "mismatch", "energy_error", "force_rmse")}
    first = rows[0]
    mean, error = creutz(labelled["delta_h"], first["temperature"])
    n_labels = labelled["delta_h"].size
    energy_errors = 1000 * labelled["energy_error"] / first["n_atoms"]
    sigma = {f"sigma_{key}": _deviation(labelled[key]) for key in ("delta_h", "integration", "mismatch")}
    summary = {
        "epoch": first["epoch"],
        "n_cycles": len(rows),
        "n_walkers": first["n_walkers"],
        "labels": int(n_labels),
        "failed_labels": int(accepted.size - n_labels),
        "acceptance": float(accepted.mean()),
        "acceptance_interval": _wilson_interval(int(accepted.sum()), accepted.size),
        "acceptance_per_walker": accepted.mean(axis=0).tolist(),
        "predicted_acceptance": predicted_acceptance(sigma["sigma_delta_h"], first["temperature"]),
        "creutz": mean,
        "creutz_error": error,
        "n_steps": float(np.mean([row["n_steps"] for row in rows])),
        "force_rmse_mev_per_angstrom": 1000 * _rms(labelled["force_rmse"]),
        "energy_rmse_mev_per_atom": _rms(energy_errors),
        "energy_rmse_centred_mev_per_atom": _rms(energy_errors - energy_errors.mean()) if n_labels else math.nan,
        "squared_jump_per_label": float(np.mean([row["squared_jump"] for row in rows])),
    }
    return orm.Dict({key: _jsonable(value) for key, value in (summary | sigma).items()})


@calcfunction
def adapt_length(length: orm.Dict, adaptation: orm.Dict, summary: orm.Dict) -> orm.Dict:
    """The next epoch's proposal length by the ``acceptance`` rule, from the finished epoch's summary.

    :param length: ``n_steps`` and, from the second epoch on, ``log_n_steps``.
    :param adaptation: arguments of :class:`~aiida_slhmc.kernel.adaptation.AcceptanceRule`.
    """
    rule = AcceptanceRule(**adaptation.get_dict())
    old = length.get_dict()
    state = LengthState(old["log_n_steps"]) if "log_n_steps" in old else rule.init(old["n_steps"])
    new = rule.update(state, summary["acceptance"])
    return orm.Dict({"n_steps": new.n_steps, "log_n_steps": new.log_n_steps})


def _wilson_interval(n_accepted: int, n_proposed: int) -> list[float]:
    """95 % interval of an acceptance, honest at 0 and 1; it takes proposals as independent."""
    interval = binomtest(n_accepted, n_proposed).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def _known(rows: list[dict[str, Any]], key: str) -> np.ndarray:
    return np.array([value for row in rows for value in row[key] if value is not None], dtype=float)


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else math.nan


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else math.nan


def _jsonable(value: Any) -> Any:
    """None for what is not finite: the database stores JSON, which has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

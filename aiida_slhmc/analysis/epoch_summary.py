"""The diagnostics of one epoch from its chain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, spearmanr

from aiida_slhmc.analysis.convergence import autocorrelation_time, effective_sample_size, mean_and_error, split_r_hat
from aiida_slhmc.analysis.reliability import epoch_warnings
from aiida_slhmc.kernel.diagnostics import creutz, predicted_acceptance

__all__ = (
    "COMMITTEE_SERIES",
    "SERIES",
    "Chain",
    "counts",
    "deviation",
    "jsonable",
    "known",
    "series_diagnostics",
    "summarise",
)

Chain = dict[str, NDArray[Any]]
# the arrays (n_cycles, n_walkers) of a chain; NaN where there is no label
SERIES = (
    "accepted",
    "diverged",
    "probability",
    "delta_h",
    "integration",
    "mismatch",
    "energy",
    "volume",
    "energy_error",
    "force_rmse",
    "stress_rmse",
    "expected_squared_jump",
)
# further ones of epochs that had a committee, named as in aiida_slhmc.worker.committee
COMMITTEE_SERIES = ("committee_energy_spread", "committee_force_spread")
# fewer labels say nothing about a rank correlation
MIN_LABELS_FOR_CORRELATION = 8


def summarise(chain: Chain, about: dict[str, Any]) -> dict[str, Any]:
    """Diagnostics of an epoch; what cannot be known is None, so that the result is JSON.

    :param chain: arrays (n_cycles, n_walkers) named in ``SERIES`` (eV, Å³, eV/Å, GPa, Å²), ``n_steps`` (n_cycles,),
        and after an epoch with a committee those in ``COMMITTEE_SERIES`` (eV/atom, eV/Å).
    :param about: ``epoch``, ``temperature`` (K), ``n_atoms``, ``ensemble``, ``pressure`` (GPa),
        ``cell_degrees_of_freedom``, ``timestep`` (fs).
    :returns: everything in *about*; ``n_cycles``, ``n_walkers``, ``labels``, ``failed_labels``, ``diverged``
        (proposals that were refused without a label because their trajectory diverged); ``acceptance``,
        ``acceptance_interval`` (95 %, Wilson), ``acceptance_per_walker``; ``predicted_acceptance`` from σ(ΔH) and
        ``predicted_acceptance_integration`` from its integration part alone; ``creutz``, ``creutz_error``; ``n_steps``
        (mean); ``sigma_delta_h``, ``sigma_integration``, ``sigma_mismatch`` (eV); the forward errors
        ``force_rmse_mev_per_angstrom``, ``energy_rmse_mev_per_atom``, ``energy_rmse_centred_mev_per_atom`` and
        ``stress_rmse_gpa``; ``expected_squared_jump_per_label`` (Å² per atom); for the chain's ``energy`` (eV) and
        ``volume`` (Å³) what :func:`series_diagnostics` gives; and ``warnings``, a list of sentences. With a committee,
        its mean spreads ``committee_energy_spread_mev_per_atom`` and ``committee_force_spread_mev_per_angstrom``, and
        ``committee_force_correlation``, Spearman's between its force spread and the actual force error (None with
        fewer than eight labels): 1 says that it knows where the model is wrong, 0 that it tells nothing.
    """
    temperature = about["temperature"]
    labelled = {name: known(chain[name]) for name in SERIES}
    sigma = {f"sigma_{name}": deviation(labelled[name]) for name in ("delta_h", "integration", "mismatch")}
    mean, error = creutz(labelled["delta_h"], temperature)
    summary = {
        **about,
        **counts(chain),
        "acceptance_per_walker": chain["accepted"].mean(axis=0).tolist(),
        "predicted_acceptance": predicted_acceptance(sigma["sigma_delta_h"], temperature),
        "predicted_acceptance_integration": predicted_acceptance(sigma["sigma_integration"], temperature),
        "creutz": mean,
        "creutz_error": error,
        "n_steps": float(chain["n_steps"].mean()),
        **sigma,
        **_forward_errors(labelled, about["n_atoms"]),
        **_committee(chain),
        "expected_squared_jump_per_label": _jump_per_label(chain),
        **series_diagnostics("energy", chain["energy"]),
        **series_diagnostics("volume", chain["volume"]),
    }
    return jsonable({**summary, "warnings": epoch_warnings(summary)})


def counts(chain: Chain) -> dict[str, Any]:
    """Cycles, walkers, labels, failed labels, divergences, and the acceptance with its interval.

    Every proposal is one of labelled, failed to be labelled, and diverged; the last two are rejections.
    """
    accepted = chain["accepted"]
    n_labels, n_diverged = int(known(chain["delta_h"]).size), int(chain["diverged"].sum())
    # Wilson's interval is honest at 0 and 1; it takes proposals as independent
    interval = binomtest(int(accepted.sum()), accepted.size).proportion_ci(confidence_level=0.95, method="wilson")
    return {
        "n_cycles": accepted.shape[0],
        "n_walkers": accepted.shape[1],
        "labels": n_labels,
        "failed_labels": accepted.size - n_labels - n_diverged,
        "diverged": n_diverged,
        "acceptance": float(accepted.mean()),
        "acceptance_interval": [float(interval.low), float(interval.high)],
    }


def series_diagnostics(name: str, series: NDArray[Any]) -> dict[str, float]:
    """``<name>_mean``, ``…_mean_error``, ``…_autocorrelation_time`` (cycles), ``…_effective_sample_size`` and
    ``…_split_r_hat`` of one series.

    :param series: (n_cycles, n_walkers); NaN stands where the chain is too short or constant.
    """
    mean, error = mean_and_error(series)
    return {
        f"{name}_mean": mean,
        f"{name}_mean_error": error,
        f"{name}_autocorrelation_time": autocorrelation_time(series),
        f"{name}_effective_sample_size": effective_sample_size(series),
        f"{name}_split_r_hat": split_r_hat(series),
    }


def jsonable(value: Any) -> Any:
    """None for every number that is not finite, at any depth: the database stores JSON, which has no NaN."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _forward_errors(labelled: Chain, n_atoms: int) -> dict[str, float]:
    """Errors of the model at end points that no model had seen when they were labelled."""
    energy = 1000 * labelled["energy_error"] / n_atoms
    return {
        "force_rmse_mev_per_angstrom": 1000 * _rms(labelled["force_rmse"]),
        "energy_rmse_mev_per_atom": _rms(energy),
        "energy_rmse_centred_mev_per_atom": _rms(energy - energy.mean()) if energy.size else math.nan,
        "stress_rmse_gpa": _rms(labelled["stress_rmse"]),
    }


def _committee(chain: Chain) -> dict[str, float]:
    """How much the committee disagrees, and whether that says where the model is wrong; nothing without one."""
    if not set(COMMITTEE_SERIES) <= set(chain):
        return {}
    energy, force = (chain[name] for name in COMMITTEE_SERIES)
    both = ~np.isnan(force) & ~np.isnan(chain["force_rmse"])
    pairs = (force[both], chain["force_rmse"][both])
    # ranks of equal numbers have no correlation
    is_known = both.sum() >= MIN_LABELS_FOR_CORRELATION and all(np.ptp(values) > 0 for values in pairs)
    return {
        "committee_energy_spread_mev_per_atom": 1000 * _mean(known(energy)),
        "committee_force_spread_mev_per_angstrom": 1000 * _mean(known(force)),
        "committee_force_correlation": float(spearmanr(*pairs).statistic) if is_known else math.nan,
    }


def _jump_per_label(chain: Chain) -> float:
    """A failed label moves nothing and costs as much as the others; a divergence moves nothing and costs none."""
    n_asked = chain["diverged"].size - int(chain["diverged"].sum())
    return float(np.nan_to_num(chain["expected_squared_jump"]).sum()) / max(1, n_asked)


def known(values: NDArray[Any]) -> NDArray[Any]:
    """Those of *values* that are there, in one row: NaN stands where there is no label."""
    return values[~np.isnan(values)]


def deviation(values: NDArray[Any]) -> float:
    """Standard deviation of a sample, NaN for fewer than two values."""
    return float(values.std(ddof=1)) if values.size > 1 else math.nan


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else math.nan


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else math.nan

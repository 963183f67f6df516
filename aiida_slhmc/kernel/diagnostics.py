"""What an epoch's ΔH say: Creutz's identity and the predicted acceptance."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from aiida_slhmc.kernel.units import thermal_energy

__all__ = ("creutz", "predicted_acceptance", "sigma_for_acceptance")


def creutz(delta_h: ArrayLike, temperature: float) -> tuple[float, float]:
    """Mean of exp(−βΔH) and its standard error; 1 for a stationary chain (Creutz, PRD 38, 1228 (1988)).

    :param delta_h: (n,) in eV; the error is NaN for n < 2, both are NaN for n = 0.
    """
    # clipped where squares still fit a float: the mean then says that something is broken, and the error is a number
    weights = np.exp(np.clip(-np.asarray(delta_h, dtype=float) / thermal_energy(temperature), None, 300.0))
    if weights.size == 0:
        return math.nan, math.nan
    error = float(weights.std(ddof=1) / math.sqrt(weights.size)) if weights.size > 1 else math.nan
    return float(weights.mean()), error


def predicted_acceptance(sigma: float, temperature: float) -> float:
    """erfc(βσ / 2√2): the acceptance at stationarity for a Gaussian ΔH of standard deviation σ in eV."""
    return math.erfc(sigma / thermal_energy(temperature) / (2 * math.sqrt(2)))


def sigma_for_acceptance(acceptance: float, temperature: float) -> float:
    """The inverse of :func:`predicted_acceptance`: the σ in eV at which *acceptance* (between 0 and 1) is met.

    From erfc(x) = 2 Φ(−√2 x) with Φ the normal distribution function: σ = −2 k_B T Φ⁻¹(a/2).
    """
    return -2 * thermal_energy(temperature) * NormalDist().inv_cdf(acceptance / 2)

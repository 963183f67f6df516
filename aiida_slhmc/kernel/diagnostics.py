"""What an epoch says about itself: acceptance, Creutz's identity, parts of ΔH, forward errors."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aiida_slhmc.kernel.units import thermal_energy

__all__ = ("ForwardErrors", "acceptance_interval", "creutz", "forward_errors", "predicted_acceptance")


class ForwardErrors(NamedTuple):
    """Errors of a model on labels it has not seen.

    ``energy_rmse`` and ``energy_rmse_centred`` (mean offset removed) in eV/atom, ``force_rmse`` in eV/Å.
    """

    energy_rmse: float
    energy_rmse_centred: float
    force_rmse: float


def acceptance_interval(n_accepted: int, n_proposed: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of an acceptance (z = 1.96: 95 %). It stays inside [0, 1] and is honest at 0 and 1.

    It takes proposals as independent; the chains' correlation widens the true interval a little.
    """
    if n_proposed == 0:
        return 0.0, 1.0
    p = n_accepted / n_proposed
    centre = (p + z**2 / (2 * n_proposed)) / (1 + z**2 / n_proposed)
    half = z / (1 + z**2 / n_proposed) * math.sqrt(p * (1 - p) / n_proposed + z**2 / (4 * n_proposed**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def creutz(delta_h: ArrayLike, temperature: float) -> tuple[float, float]:
    """Mean of exp(−βΔH) and its standard error; 1 for a stationary chain (Creutz, PRD 38, 1228 (1988)).

    :param delta_h: (n,) in eV; the error is NaN for n < 2, both are NaN for n = 0.
    """
    weights = np.exp(np.clip(-np.asarray(delta_h, dtype=float) / thermal_energy(temperature), None, 700.0))
    if weights.size == 0:
        return math.nan, math.nan
    error = float(weights.std(ddof=1) / math.sqrt(weights.size)) if weights.size > 1 else math.nan
    return float(weights.mean()), error


def predicted_acceptance(sigma: float, temperature: float) -> float:
    """erfc(βσ / 2√2): the acceptance at stationarity for a Gaussian ΔH of standard deviation σ in eV."""
    return math.erfc(sigma / thermal_energy(temperature) / (2 * math.sqrt(2)))


def forward_errors(energy_errors: ArrayLike, force_errors: NDArray[np.float64], n_atoms: int) -> ForwardErrors:
    """Prequential errors of an epoch from the end points that the model proposed and the target then labelled.

    :param energy_errors: (n,) model minus target, eV per cell.
    :param force_errors: (n, n_atoms, 3) model minus target, eV/Å.
    """
    energies = np.asarray(energy_errors, dtype=float) / n_atoms
    if energies.size == 0:
        return ForwardErrors(math.nan, math.nan, math.nan)
    centred = energies - energies.mean()

    def rms(values: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.mean(values**2)))

    return ForwardErrors(rms(energies), rms(centred), rms(np.asarray(force_errors)))

"""The Metropolis test of hybrid Monte Carlo, with ΔH split into its two causes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from aiida_slhmc.kernel.units import thermal_energy

__all__ = ("Decision", "EnergyChange", "acceptance_probability", "decide", "energy_change")


class EnergyChange(NamedTuple):
    """ΔH of one proposal in eV: ``total`` = ``integration`` + ``mismatch``."""

    total: float
    integration: float
    mismatch: float


class Decision(NamedTuple):
    """The outcome of one Metropolis test; the change of energy is None where the proposal has no label."""

    accepted: bool
    probability: float
    random_number: float
    change: EnergyChange | None


def energy_change(
    target: tuple[float, float],
    model: tuple[float, float],
    kinetic: tuple[float, float],
    cell: tuple[float, float] = (0.0, 0.0),
) -> EnergyChange:
    """ΔH = ΔV_T + ΔK + ΔC = (ΔV_M + ΔK + ΔC) + Δ(V_T − V_M), each Δ the proposal's minus the state's value.

    | symbol | variable | meaning |
    |---|---|---|
    | V_T | ``target`` | target energies (state, proposal) in eV |
    | V_M | ``model`` | energies of the proposing model (state, proposal) in eV |
    | K | ``kinetic`` | kinetic energies (first, last) in eV, the cell's included |
    | C | ``cell`` | Φ − V (state, proposal) in eV: zero in NVT, see :class:`~aiida_slhmc.kernel.ensembles.Npt` |

    The first bracket is the integration error and asks for a smaller time step; the second is the mismatch
    of model and target and asks for a better model. Only the sum decides.
    """
    delta_target = target[1] - target[0]
    delta_model = model[1] - model[0]
    delta_rest = kinetic[1] - kinetic[0] + cell[1] - cell[0]
    return EnergyChange(delta_target + delta_rest, delta_model + delta_rest, delta_target - delta_model)


def acceptance_probability(delta_h: float, temperature: float) -> float:
    """min(1, exp(−ΔH / k_B T)) for ΔH in eV and T in K; zero where ΔH is not finite."""
    if not math.isfinite(delta_h):
        return 0.0
    return math.exp(min(0.0, -delta_h / thermal_energy(temperature)))


def decide(generator: np.random.Generator, change: EnergyChange | None, temperature: float) -> Decision:
    """Accept with min(1, exp(−βΔH)).

    A proposal without a label (*change* is None) lies outside the support and is rejected. The random
    number is drawn in any case, so that a stream's use does not depend on the outcome.
    """
    random_number = float(generator.random())
    probability = acceptance_probability(change.total, temperature) if change is not None else 0.0
    return Decision(random_number < probability, probability, random_number, change)

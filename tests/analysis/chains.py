"""Made-up chains with known properties."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import lfilter

from aiida_slhmc.kernel.metropolis import acceptance_probability
from aiida_slhmc.kernel.units import thermal_energy

TEMPERATURE = 300.0
KT = thermal_energy(TEMPERATURE)
ABOUT = {
    "epoch": 3,
    "temperature": TEMPERATURE,
    "n_atoms": 6,
    "ensemble": "npt",
    "pressure": 0.0,
    "cell_degrees_of_freedom": "full",
    "timestep": 1.0,
}


def ar1(generator: np.random.Generator, correlation: float, n_cycles: int, n_walkers: int) -> np.ndarray:
    """Gaussian chains (n_cycles, n_walkers) of unit variance with x_t = φ x_(t−1) + noise: τ = (1 + φ)/(1 − φ)."""
    noise = generator.standard_normal((n_cycles, n_walkers))
    noise[1:] *= np.sqrt(1 - correlation**2)
    return lfilter([1], [1, -correlation], noise, axis=0)


def stationary_chain(
    seed: int = 0,
    *,
    n_cycles: int = 100,
    n_walkers: int = 4,
    sigma: float = 0.5 * KT,
    correlation: float = 0.5,
    **changes: Any,
) -> dict[str, np.ndarray]:
    """A chain without a fault: ΔH as at stationarity, mostly mismatch, accepted by Metropolis' rule.

    :param sigma: standard deviation of ΔH in eV.
    :param correlation: that of energy and volume from one cycle to the next.
    """
    generator = np.random.default_rng(seed)
    shape = (n_cycles, n_walkers)
    delta_h = generator.normal(sigma**2 / (2 * KT), sigma, shape)
    integration = generator.normal(0, 0.1 * sigma, shape)
    probability = np.vectorize(acceptance_probability)(delta_h, TEMPERATURE)
    chain = {
        "accepted": generator.random(shape) < probability,
        "diverged": np.zeros(shape, dtype=bool),
        "probability": probability,
        "delta_h": delta_h,
        "integration": integration,
        "mismatch": delta_h - integration,
        "energy": -50 + 0.1 * ar1(generator, correlation, *shape),
        "volume": 60 + ar1(generator, correlation, *shape),
        "energy_error": generator.normal(0.06, 0.01, shape),
        "force_rmse": generator.uniform(0.1, 0.2, shape),
        "stress_rmse": generator.uniform(0.5, 1.0, shape),
        "expected_squared_jump": 0.02 * probability,
        "n_steps": generator.integers(16, 25, n_cycles),
    }
    return chain | changes

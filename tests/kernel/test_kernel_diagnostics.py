"""Creutz's identity and the predicted acceptance, on Gaussian ΔH of known width."""

import math

import numpy as np
import pytest

from aiida_slhmc.kernel.diagnostics import creutz, predicted_acceptance
from aiida_slhmc.kernel.metropolis import acceptance_probability
from aiida_slhmc.kernel.units import thermal_energy

TEMPERATURE = 300.0
BETA = 1 / thermal_energy(TEMPERATURE)
LEVEL = 3.29  # standard errors, two-sided 1e-3


def gaussian(sigma, mean, n=40000):
    return np.random.default_rng(2).normal(mean, sigma, n)


@pytest.mark.parametrize("sigma", [0.005, 0.015, 0.025])
def test_creutz_is_one_for_the_stationary_gaussian(sigma):
    """Mean βσ²/2. Control: around zero the mean of exp(−βΔH) is exp(β²σ²/2), and the test sees it."""
    value, error = creutz(gaussian(sigma, 0.5 * BETA * sigma**2), TEMPERATURE)
    assert abs(value - 1) < LEVEL * error
    value, error = creutz(gaussian(sigma, 0.0), TEMPERATURE)
    assert abs(value - 1) > LEVEL * error


def test_creutz_error_is_the_spread_of_repetitions():
    """Would fail for an error that lacks the square root of n, or is that of ΔH instead of its exponential."""
    sigma = 0.015
    samples = np.random.default_rng(3).normal(0.5 * BETA * sigma**2, sigma, (400, 100))
    values, errors = zip(*(creutz(row, TEMPERATURE) for row in samples), strict=True)
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.15)


def test_creutz_by_hand():
    weights = np.array([1.0, 2.0, 0.5, 0.25])
    value, error = creutz(-np.log(weights) / BETA, TEMPERATURE)
    assert value == pytest.approx(weights.mean())
    assert error == pytest.approx(weights.std(ddof=1) / 2)


def test_creutz_of_few():
    value, error = creutz([0.0], TEMPERATURE)
    assert value == 1.0
    assert math.isnan(error)
    assert all(math.isnan(number) for number in creutz([], TEMPERATURE))


def test_creutz_does_not_overflow():
    """ΔH of −100 eV is a broken model; the report must still be numbers, which is all that a node can store."""
    with np.errstate(over="raise"):
        value, error = creutz([-100.0, 0.0], TEMPERATURE)
    assert math.isfinite(value)
    assert math.isfinite(error)
    assert value > 1e100
    assert creutz([math.inf, 0.0], TEMPERATURE)[0] == 0.5


@pytest.mark.parametrize("sigma", [0.005, 0.018, 0.04])
def test_predicted_acceptance_is_the_simulated_one(sigma):
    """Control: the prediction for a σ that is 10 % larger is outside the error."""
    simulated = [acceptance_probability(x, TEMPERATURE) for x in gaussian(sigma, 0.5 * BETA * sigma**2)]
    error = np.std(simulated) / np.sqrt(len(simulated))
    assert abs(np.mean(simulated) - predicted_acceptance(sigma, TEMPERATURE)) < LEVEL * error
    assert abs(np.mean(simulated) - predicted_acceptance(1.1 * sigma, TEMPERATURE)) > LEVEL * error


def test_predicted_acceptance_of_the_paper():
    """0.69 to 0.75 for σ between 21 and 16 meV per cell; and one for a perfect proposal."""
    assert predicted_acceptance(0.016, TEMPERATURE) == pytest.approx(0.757, abs=0.005)
    assert predicted_acceptance(0.021, TEMPERATURE) == pytest.approx(0.685, abs=0.005)
    assert predicted_acceptance(0.0, TEMPERATURE) == 1.0

"""Convergence diagnostics on chains whose autocorrelation time is known."""

import math

import numpy as np
import pytest
from chains import ar1

from aiida_slhmc.analysis.convergence import (
    MIN_CYCLES,
    autocorrelation_time,
    effective_sample_size,
    mean_and_error,
    split_r_hat,
)

SHAPE = (100000, 4)


def generator():
    return np.random.default_rng(1)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, -0.4])
def test_autocorrelation_time_of_ar1(correlation):
    """Fails for ½ + Σρ in place of 1 + 2Σρ, for a sum that is cut too early, and for walkers taken as one chain."""
    tau = (1 + correlation) / (1 - correlation)
    chain = ar1(generator(), correlation, *SHAPE)
    assert autocorrelation_time(chain) == pytest.approx(tau, rel=0.05)
    assert effective_sample_size(chain) == pytest.approx(chain.size / tau, rel=0.05)


def test_control_shuffled_chain_has_no_memory():
    chain = ar1(generator(), 0.9, *SHAPE)
    assert autocorrelation_time(generator().permutation(chain)) == pytest.approx(1, rel=0.05)


def test_scale_and_offset_do_not_matter():
    """Energies are large numbers that change little."""
    chain = ar1(generator(), 0.5, 200, 3)
    assert autocorrelation_time(-4000 + 0.001 * chain) == pytest.approx(autocorrelation_time(chain), rel=1e-6)
    assert split_r_hat(-4000 + 0.001 * chain) == pytest.approx(split_r_hat(chain), rel=1e-6)


def test_error_is_the_spread_of_repetitions():
    """Control: the error that takes the values as independent is far too small."""
    chains = [ar1(np.random.default_rng(seed), 0.8, 400, 2) for seed in range(200)]
    means, errors = zip(*(mean_and_error(chain) for chain in chains), strict=True)
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.15)
    naive = np.mean([chain.std() / math.sqrt(chain.size) for chain in chains])
    assert np.std(means) > 2 * naive


def test_r_hat_of_equal_walkers():
    assert split_r_hat(ar1(generator(), 0.5, 1000, 4)) == pytest.approx(1, abs=0.01)


def test_r_hat_of_walkers_with_different_means():
    chain = ar1(generator(), 0.5, 1000, 4)
    assert split_r_hat(chain + np.array([0, 0, 0, 1])) > 1.05
    assert effective_sample_size(chain + np.array([0, 0, 0, 1])) < 0.1 * effective_sample_size(chain)


@pytest.mark.parametrize("n_walkers", [1, 3])
def test_r_hat_of_a_drift(n_walkers):
    """Fails where the chains are not split: the walkers agree with each other, and one has nobody to agree with."""
    chain = ar1(generator(), 0.5, 1000, n_walkers)
    drift = np.linspace(0, 2, 1000)[:, None]
    assert split_r_hat(chain) < 1.02
    assert split_r_hat(chain + drift) > 1.05


def test_r_hat_by_hand():
    halves = np.array([[0.0, 1.0, 0.0, 1.0], [2.0, 3.0, 2.0, 3.0]])
    within, between = 1 / 3, 4 * np.var([0.5, 2.5], ddof=1)
    assert split_r_hat(halves.reshape(8, 1)) == pytest.approx(math.sqrt((within * 3 / 4 + between / 4) / within))


def test_walkers_that_stand_still_apart():
    assert split_r_hat(np.tile([1.0, 2.0], (20, 1))) == math.inf


@pytest.mark.parametrize(
    "series",
    [
        np.random.default_rng(0).standard_normal((MIN_CYCLES - 1, 4)),
        np.full((30, 4), 62.7),
        62.7 * (1 + 1e-15 * np.random.default_rng(0).standard_normal((30, 4))),
        np.zeros((30, 2)),
        np.where(np.arange(60).reshape(30, 2) == 7, np.nan, 1.0 * np.arange(60).reshape(30, 2)),
        np.empty((0, 2)),
    ],
    ids=["short", "constant", "constant but for rounding", "zero", "a gap", "empty"],
)
def test_what_cannot_be_known(series):
    assert math.isnan(autocorrelation_time(series))
    assert math.isnan(effective_sample_size(series))
    assert math.isnan(split_r_hat(series))
    assert math.isnan(mean_and_error(series)[1])


def test_the_mean_is_known_of_any_length():
    assert mean_and_error([[1.0, 2.0]])[0] == 1.5


def test_one_walker_must_still_be_a_column():
    """Fails where a flat list is taken as one cycle of many walkers."""
    with pytest.raises(ValueError, match="n_cycles, n_walkers"):
        autocorrelation_time(np.arange(10.0))

"""Each warning: a chain that deserves it, and chains that do not."""

import numpy as np
import pytest
from chains import ABOUT, KT, ar1, stationary_chain

from aiida_slhmc.analysis.epoch_summary import summarise

DELTA_H = ("delta_h", "mismatch", "integration", "energy_error", "force_rmse", "stress_rmse")


def warnings_of(chain, **about):
    return summarise(chain, ABOUT | about)["warnings"]


def without_labels(chain, which):
    """The same chain where the labels at *which* (n_cycles, n_walkers) failed."""
    gaps = {name: np.where(which, np.nan, chain[name]) for name in DELTA_H}
    return chain | gaps | {"accepted": chain["accepted"] & ~which}


@pytest.mark.parametrize(("n_cycles", "correlation"), [(3, 0.9), (20, 0.0), (100, 0.5)])
@pytest.mark.parametrize("sigma", [0.2 * KT, 0.7 * KT, 2 * KT])
def test_no_warning_of_a_clean_chain(n_cycles, correlation, sigma):
    """Of 40 chains without a fault hardly one is accused, be it short or seldom accepted."""
    options = {"n_cycles": n_cycles, "correlation": correlation, "sigma": sigma}
    found = [warnings_of(stationary_chain(seed, **options)) for seed in range(40)]
    assert sum(bool(sentences) for sentences in found) <= 2, found


@pytest.mark.parametrize("n_cycles", [1, 3])
def test_short_training_epochs_say_nothing(n_cycles):
    """Three cycles with an untrained model that is never followed, energies that drift, and one failed label."""
    drift = -50 + 0.1 * np.arange(n_cycles)[:, None] + np.zeros((n_cycles, 4))
    chain = stationary_chain(n_cycles=n_cycles, sigma=10 * KT, energy=drift)
    chain["accepted"][:] = False
    assert warnings_of(without_labels(chain, np.arange(4 * n_cycles).reshape(n_cycles, 4) == 2)) == []


def test_creutz():
    """ΔH around zero instead of βσ²/2, as labels of two settings or a missing kinetic term would give."""
    sigma = 0.8 * KT
    chain = stationary_chain(sigma=sigma)
    shifted = chain | {"delta_h": chain["delta_h"] - 0.5 * sigma**2 / KT}
    assert any("exp(−βΔH)" in sentence for sentence in warnings_of(shifted))


def test_creutz_below_one():
    """A chain still on its way: proposals cost more than at stationarity."""
    chain = stationary_chain(n_cycles=200, sigma=0.5 * KT)
    assert any("exp(−βΔH)" in sentence for sentence in warnings_of(chain | {"delta_h": chain["delta_h"] + 0.5 * KT}))


@pytest.mark.parametrize("name", ["energy", "volume"])
def test_r_hat(name):
    chain = stationary_chain(correlation=0.0)
    assert warnings_of(chain) == []
    apart = chain | {name: chain[name] + np.array([0, 0, 0, 2 * chain[name].std()])}
    assert any(sentence.startswith(f"Split R-hat of the {name}") for sentence in warnings_of(apart))


def test_r_hat_of_short_white_noise_is_chance():
    """Fails where 1.05 holds at 20 cycles too: every tenth epoch without a fault or so would be accused."""
    noise = [np.random.default_rng(seed).standard_normal((20, 4)) for seed in range(100)]
    summaries = [summarise(stationary_chain(n_cycles=20, energy=energy), ABOUT) for energy in noise]
    assert sum(summary["energy_split_r_hat"] > 1.05 for summary in summaries) >= 3
    assert not any("R-hat" in sentence for summary in summaries for sentence in summary["warnings"])


@pytest.mark.parametrize("name", ["energy", "volume"])
def test_effective_sample_size(name):
    slow = ar1(np.random.default_rng(3), 0.995, 100, 4)
    assert any(f"effective sample size of the {name}" in s for s in warnings_of(stationary_chain(**{name: slow})))


def test_constant_volume_is_no_fault():
    assert warnings_of(stationary_chain(volume=np.full((100, 4), 62.7)), ensemble="nvt") == []


def test_failed_labels():
    chain = stationary_chain()
    failed = np.arange(400).reshape(100, 4) % 7 == 0
    assert any("58 of 400 labels failed" in sentence for sentence in warnings_of(without_labels(chain, failed)))
    few = np.arange(400).reshape(100, 4) % 20 == 0
    assert warnings_of(without_labels(chain, few)) == []


def test_failed_labels_of_a_short_epoch():
    """One may happen; two of twelve are said."""
    chain, order = stationary_chain(n_cycles=3), np.arange(12).reshape(3, 4)
    assert warnings_of(without_labels(chain, order == 0)) == []
    assert len(warnings_of(without_labels(chain, order < 2))) == 1


def with_divergences(chain, which):
    """The same chain where the trajectories at *which* (n_cycles, n_walkers) diverged."""
    return without_labels(chain, which) | {"diverged": which}


def test_divergences():
    """More than every tenth is said, and is no failed label; fewer are not worth a word."""
    chain, order = stationary_chain(), np.arange(400).reshape(100, 4)
    (found,) = warnings_of(with_divergences(chain, order % 7 == 0))
    assert "58 of 400 proposals diverged" in found
    assert warnings_of(with_divergences(chain, order % 20 == 0)) == []
    short, order = stationary_chain(n_cycles=3), np.arange(12).reshape(3, 4)
    assert warnings_of(with_divergences(short, order == 0)) == []
    assert len(warnings_of(with_divergences(short, order < 2))) == 1


def test_divergences_do_not_upset_the_prediction():
    """Fails where accepted proposals are counted of labels alone: the acceptance would look too low by far."""
    half = np.arange(400).reshape(100, 4) % 5 < 3
    found = warnings_of(with_divergences(stationary_chain(sigma=0.5 * KT), half))
    assert len(found) == 1, found
    assert "diverged" in found[0]


def test_acceptance_against_its_prediction():
    """Decisions that do not follow ΔH, as a fault in the test itself would give."""
    chain = stationary_chain(sigma=1.0 * KT)
    broken = chain | {"accepted": np.random.default_rng(0).random((100, 4)) < 0.3}
    assert any("predicts" in sentence for sentence in warnings_of(broken))


def test_low_acceptance():
    chain = stationary_chain(sigma=5 * KT)
    found = warnings_of(chain)
    assert summarise(chain, ABOUT)["acceptance"] < 0.05
    assert any("hardly moves" in sentence for sentence in found)


def test_integration_dominates():
    chain = stationary_chain(sigma=0.8 * KT)
    swapped = chain | {"integration": chain["mismatch"], "mismatch": chain["integration"]}
    assert any("shorten the time step" in sentence for sentence in warnings_of(swapped))


def test_integration_that_costs_nothing_may_dominate():
    """A perfect model has no mismatch at all."""
    chain = stationary_chain(sigma=0.15 * KT)
    swapped = chain | {"integration": chain["mismatch"], "mismatch": chain["integration"]}
    assert warnings_of(swapped) == []


@pytest.mark.parametrize(("n_cycles", "accused"), [(10, False), (19, False), (20, True)])
def test_chains_are_judged_from_twenty_cycles_on(n_cycles, accused):
    """A training epoch that is still on its way from the start is nothing to tell."""
    drift = -50 + 0.1 * np.arange(n_cycles)[:, None] + np.zeros((n_cycles, 4))
    found = warnings_of(stationary_chain(n_cycles=n_cycles, energy=drift, correlation=0.0))
    assert bool(found) == accused, found

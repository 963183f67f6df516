"""The numbers of an epoch's summary, each computed here in another way."""

import json
import math

import numpy as np
import pytest
from chains import ABOUT, KT, stationary_chain

from aiida_slhmc.analysis.convergence import autocorrelation_time, effective_sample_size, split_r_hat
from aiida_slhmc.analysis.epoch_summary import SERIES, jsonable, summarise
from aiida_slhmc.kernel.diagnostics import predicted_acceptance

NAN = math.nan


def small_chain(**changes):
    """Two cycles of two walkers, with numbers that can be followed by hand."""
    delta_h = np.array([[0.01, -0.02], [0.03, 0.0]])
    chain = {
        "accepted": np.array([[True, True], [False, True]]),
        "diverged": np.zeros((2, 2), dtype=bool),
        "probability": np.array([[0.7, 1.0], [0.3, 1.0]]),
        "delta_h": delta_h,
        "integration": 0.25 * delta_h,
        "mismatch": 0.75 * delta_h,
        "energy": np.array([[-50.0, -50.1], [-50.0, -50.3]]),
        "volume": np.array([[60.0, 61.0], [60.0, 63.0]]),
        "energy_error": 0.06 + delta_h,
        "force_rmse": np.array([[0.1, 0.1], [0.2, 0.2]]),
        "stress_rmse": np.array([[0.3, 0.3], [0.4, 0.4]]),
        "expected_squared_jump": np.array([[0.02, 0.01], [0.03, 0.04]]),
        "n_steps": np.array([10, 11]),
    }
    return chain | changes


def test_by_hand():
    """Fails where a diagnostic is not what its name says."""
    chain = small_chain()
    summary, values = summarise(chain, ABOUT), chain["delta_h"].ravel()
    assert {key: summary[key] for key in ABOUT} == ABOUT
    assert [summary[key] for key in ("n_cycles", "n_walkers", "labels", "failed_labels")] == [2, 2, 4, 0]
    assert summary["diverged"] == 0
    assert summary["acceptance"] == 0.75
    assert summary["acceptance_per_walker"] == [0.5, 1.0]
    low, high = summary["acceptance_interval"]
    assert 0.25 < low < 0.75 < high < 1.0
    assert summary["n_steps"] == 10.5
    weights = np.exp(-values / KT)
    assert summary["creutz"] == pytest.approx(weights.mean())
    assert summary["creutz_error"] == pytest.approx(weights.std(ddof=1) / 2)
    sigma = np.std(values, ddof=1)
    assert [summary[f"sigma_{key}"] for key in ("delta_h", "integration", "mismatch")] == pytest.approx(
        [sigma, sigma / 4, 3 * sigma / 4]
    )
    assert summary["predicted_acceptance"] == pytest.approx(predicted_acceptance(sigma, 300.0))
    assert summary["predicted_acceptance_integration"] == pytest.approx(predicted_acceptance(sigma / 4, 300.0))
    errors = 1000 * (0.06 + values) / 6
    assert summary["energy_rmse_mev_per_atom"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert summary["energy_rmse_centred_mev_per_atom"] == pytest.approx(errors.std())
    assert summary["force_rmse_mev_per_angstrom"] == pytest.approx(1000 * math.sqrt((0.1**2 + 0.2**2) / 2))
    assert summary["stress_rmse_gpa"] == pytest.approx(math.sqrt((0.3**2 + 0.4**2) / 2))
    assert summary["expected_squared_jump_per_label"] == pytest.approx(0.025)
    assert (summary["energy_mean"], summary["volume_mean"]) == (pytest.approx(-50.1), 61.0)
    assert summary["energy_mean_error"] is None, "two cycles say nothing about an error"
    assert summary["warnings"] == []


def test_series_of_a_long_chain():
    chain = stationary_chain()
    summary = summarise(chain, ABOUT)
    for name in ("energy", "volume"):
        assert summary[f"{name}_mean"] == pytest.approx(chain[name].mean())
        size = effective_sample_size(chain[name])
        assert summary[f"{name}_effective_sample_size"] == size
        assert summary[f"{name}_mean_error"] == pytest.approx(chain[name].std(ddof=1) / math.sqrt(size))
        assert summary[f"{name}_autocorrelation_time"] == autocorrelation_time(chain[name])
        assert summary[f"{name}_split_r_hat"] == split_r_hat(chain[name])


def test_failed_labels_are_rejections_and_nothing_else():
    """Fails where a failed label is left out of the acceptance or the jump, or enters an average."""
    gap = np.array([[False, True], [False, False]])
    whole = small_chain()
    names = ("delta_h", "integration", "mismatch", "energy_error", "force_rmse", "stress_rmse", "expected_squared_jump")
    chain = whole | {name: np.where(gap, NAN, whole[name]) for name in names}
    chain["accepted"] = whole["accepted"] & ~gap
    summary = summarise(chain, ABOUT)
    assert (summary["labels"], summary["failed_labels"], summary["acceptance"]) == (3, 1, 0.5)
    assert summary["sigma_delta_h"] == pytest.approx(np.std([0.01, 0.03, 0.0], ddof=1))
    assert summary["stress_rmse_gpa"] == pytest.approx(math.sqrt((0.3**2 + 2 * 0.4**2) / 3))
    assert summary["expected_squared_jump_per_label"] == pytest.approx((0.02 + 0.03 + 0.04) / 4)


def test_divergences_are_rejections_that_cost_no_label():
    """Fails where they count as failed labels, are left out of the acceptance, or make a label's jump look smaller."""
    gap = np.array([[False, True], [False, False]])
    whole = small_chain(diverged=gap)
    names = ("delta_h", "integration", "mismatch", "energy_error", "force_rmse", "stress_rmse")
    chain = whole | {name: np.where(gap, NAN, whole[name]) for name in names}
    chain["accepted"] = whole["accepted"] & ~gap
    chain["expected_squared_jump"] = np.where(gap, 0.0, whole["expected_squared_jump"])
    summary = summarise(chain, ABOUT)
    assert [summary[key] for key in ("labels", "failed_labels", "diverged", "acceptance")] == [3, 0, 1, 0.5]
    assert summary["expected_squared_jump_per_label"] == pytest.approx((0.02 + 0.03 + 0.04) / 3)
    failed = summarise(chain | {"diverged": ~np.ones_like(gap)}, ABOUT)
    assert [failed[key] for key in ("labels", "failed_labels", "diverged")] == [3, 1, 0], "the control"


def test_nothing_but_divergences():
    """Fails where an epoch without a label divides by their number."""
    nothing = {name: np.full((1, 2), NAN) for name in SERIES} | {"accepted": np.zeros((1, 2), bool)}
    nothing |= {"energy": np.full((1, 2), -50.0), "volume": np.full((1, 2), 62.0), "n_steps": np.array([20])}
    summary = summarise(nothing | {"diverged": np.ones((1, 2), bool)}, ABOUT)
    json.dumps(summary, allow_nan=False)
    assert [summary[key] for key in ("labels", "failed_labels", "diverged")] == [0, 0, 2]
    assert summary["expected_squared_jump_per_label"] == 0.0


def test_what_cannot_be_known_is_none():
    """Fails where a NaN goes to the database, which refuses it."""
    nothing = {name: np.full((1, 2), NAN) for name in SERIES} | {"accepted": np.zeros((1, 2), bool)}
    nothing |= {"energy": np.full((1, 2), -50.0), "volume": np.full((1, 2), 62.0), "n_steps": np.array([20])}
    nothing["diverged"] = np.zeros((1, 2), bool)
    summary = summarise(nothing, ABOUT)
    json.dumps(summary, allow_nan=False)
    assert (summary["labels"], summary["failed_labels"], summary["acceptance"]) == (0, 2, 0.0)
    assert summary["expected_squared_jump_per_label"] == 0.0
    unknown = ("creutz", "sigma_delta_h", "predicted_acceptance", "force_rmse_mev_per_angstrom", "stress_rmse_gpa")
    assert all(summary[key] is None for key in (*unknown, "energy_rmse_mev_per_atom", "energy_split_r_hat"))


def test_constant_volume_has_a_mean_and_no_more():
    summary = summarise(stationary_chain(volume=np.full((100, 4), 62.7)), ABOUT)
    assert summary["volume_mean"] == pytest.approx(62.7)
    assert [summary[f"volume_{key}"] for key in ("mean_error", "split_r_hat", "effective_sample_size")] == [None] * 3


def committee_chain(**changes):
    """Ten labels in five cycles; the committee's force spread is a growing function of the force error."""
    chain = stationary_chain(n_cycles=5, n_walkers=2)
    chain["committee_force_spread"] = 0.3 * chain["force_rmse"] ** 3
    chain["committee_energy_spread"] = np.full((5, 2), 0.002)
    return chain | changes


def test_committee_by_hand():
    """Means in meV, and ranks: 1 for any growing function, −1 for a falling one. Without a committee not a word."""
    chain = committee_chain()
    summary = summarise(chain, ABOUT)
    mean = 1000 * chain["committee_force_spread"].mean()
    assert summary["committee_force_spread_mev_per_angstrom"] == pytest.approx(mean)
    assert summary["committee_energy_spread_mev_per_atom"] == pytest.approx(2.0)
    assert summary["committee_force_correlation"] == pytest.approx(1.0)
    other = summarise(committee_chain(committee_force_spread=1 / chain["force_rmse"]), ABOUT)
    assert other["committee_force_correlation"] == pytest.approx(-1.0)
    without = {name: values for name, values in chain.items() if not name.startswith("committee")}
    plain = summarise(without, ABOUT)
    assert plain == {key: value for key, value in summary.items() if not key.startswith("committee")}


def test_committee_where_little_is_known():
    """Unlabelled end points count in the mean and not in the correlation, which needs eight labels that differ."""
    whole = committee_chain()
    for n_unlabelled, is_known in ((2, True), (3, False)):
        error = whole["force_rmse"].copy()
        error.flat[:n_unlabelled] = NAN
        summary = summarise(whole | {"force_rmse": error}, ABOUT)
        assert (summary["committee_force_correlation"] is not None) == is_known
        mean = 1000 * whole["committee_force_spread"].mean()
        assert summary["committee_force_spread_mev_per_angstrom"] == pytest.approx(mean)
    names = ("committee_energy_spread", "committee_force_spread")
    for value in (0.0, NAN):
        summary = summarise(whole | {name: np.full((5, 2), value) for name in names}, ABOUT)
        assert summary["committee_force_correlation"] is None
        assert summary["committee_force_spread_mev_per_angstrom"] == (None if np.isnan(value) else 0.0)


def test_jsonable_at_any_depth():
    assert jsonable({"a": [NAN, {"b": math.inf}], "c": 1.5, "d": "x", "e": True}) == {
        "a": [None, {"b": None}],
        "c": 1.5,
        "d": "x",
        "e": True,
    }

"""The Metropolis test and the split of ΔH."""

import math

import numpy as np
import pytest
from scipy import stats

from aiida_slhmc.kernel.metropolis import EnergyChange, acceptance_probability, decide, energy_change
from aiida_slhmc.kernel.units import thermal_energy

TEMPERATURE = 300.0


def change(total):
    return EnergyChange(total, total, 0.0)


def test_parts_of_delta_h():
    """Values by hand: a sign or a swapped pair in any of the three would show."""
    result = energy_change(target=(-10.0, -9.5), model=(-20.0, -19.75), kinetic=(2.0, 1.6875))
    assert result == EnergyChange(total=0.1875, integration=-0.0625, mismatch=0.25)


def test_total_is_integration_plus_mismatch():
    generator = np.random.default_rng(0)
    for parts in generator.normal(0, 100, (200, 4, 2)):
        result = energy_change(*map(tuple, parts))
        assert result.total == pytest.approx(result.integration + result.mismatch, abs=1e-12)


def test_cell_part_counts_once_in_the_total_and_in_the_integration():
    """Would fail for a cell energy of the wrong sign, or one that is also taken for a mismatch."""
    result = energy_change(target=(1.0, 1.5), model=(2.0, 2.25), kinetic=(3.0, 2.875), cell=(-4.0, -3.0))
    assert result == EnergyChange(total=1.375, integration=1.125, mismatch=0.25)


def test_constant_offsets_do_not_count():
    """Energy references differ between model and target by eV per atom: only differences may enter."""
    result = energy_change((1000.0, 1000.25), (-3.0, -2.75), (0.5, 0.25))
    assert (result.total, result.mismatch) == (0.0, 0.0)


class TestProbability:
    def test_values(self):
        assert acceptance_probability(-0.1, TEMPERATURE) == 1.0
        assert acceptance_probability(0.0, TEMPERATURE) == 1.0
        assert acceptance_probability(thermal_energy(TEMPERATURE), TEMPERATURE) == pytest.approx(math.exp(-1))
        assert acceptance_probability(1e6, TEMPERATURE) == 0.0  # underflows without an error

    @pytest.mark.parametrize("delta_h", [math.nan, math.inf, -math.inf])
    def test_not_finite_is_never_accepted(self, delta_h):
        """Also for −∞: an energy that is not a number is no reason to move there."""
        assert acceptance_probability(delta_h, TEMPERATURE) == 0.0
        assert not any(decide(np.random.default_rng(seed), change(delta_h), 300.0).accepted for seed in range(50))

    def test_detailed_balance(self):
        """a(Δ)/a(−Δ) = exp(−βΔ) for any Δ."""
        for delta in (-0.07, 0.01, 0.05):
            ratio = acceptance_probability(delta, TEMPERATURE) / acceptance_probability(-delta, TEMPERATURE)
            assert ratio == pytest.approx(math.exp(-delta / thermal_energy(TEMPERATURE)))


class TestDecide:
    def test_accepts_as_often_as_it_says(self):
        """4000 tests at p = exp(−1), two-sided binomial at 1e-3. Control: the same count contradicts p + 0.05."""
        generator = np.random.default_rng(1)
        delta = thermal_energy(TEMPERATURE)
        count = sum(decide(generator, change(delta), TEMPERATURE).accepted for _ in range(4000))
        assert stats.binomtest(count, 4000, math.exp(-1)).pvalue > 1e-3
        assert stats.binomtest(count, 4000, math.exp(-1) + 0.05).pvalue < 1e-6

    def test_record_explains_the_decision(self):
        for seed in range(20):
            decision = decide(np.random.default_rng(seed), change(0.02), TEMPERATURE)
            assert decision.change == change(0.02)
            assert decision.probability == acceptance_probability(0.02, TEMPERATURE)
            assert decision.accepted == (decision.random_number < decision.probability)
            assert type(decision.accepted) is bool

    def test_downhill_is_always_accepted(self):
        assert all(decide(np.random.default_rng(seed), change(-1e-9), 300.0).accepted for seed in range(50))

    def test_without_a_label_rejects_but_draws(self):
        """Would fail if the stream's use depended on the outcome: the next number must be the same either way."""
        unlabelled, labelled = np.random.default_rng(5), np.random.default_rng(5)
        decision = decide(unlabelled, None, TEMPERATURE)
        assert (decision.accepted, decision.probability, decision.change) == (False, 0.0, None)
        assert decision.random_number == decide(labelled, change(0.01), TEMPERATURE).random_number
        assert unlabelled.random() == labelled.random()

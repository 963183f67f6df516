"""Adaptation of the proposal length."""

import math

import pytest

from aiida_slhmc.kernel.adaptation import AcceptanceRule, LengthState

RULE = AcceptanceRule(target_acceptance=0.65, rate=1.0, n_steps_min=5, n_steps_max=200)


@pytest.mark.parametrize(("acceptance", "compare"), [(0.9, 1), (0.4, -1), (0.65, 0)])
def test_direction(acceptance, compare):
    """Longer where too much is accepted, shorter where too little. A flipped sign would fail both."""
    before = RULE.init(40)
    after = RULE.update(before, acceptance)
    assert math.copysign(1, after.n_steps - before.n_steps) * (after.n_steps != before.n_steps) == compare


def test_size_of_a_change():
    assert RULE.update(RULE.init(40), 0.95).log_n_steps == pytest.approx(math.log(40) + 0.3)
    slow = AcceptanceRule(rate=0.1)
    assert slow.update(slow.init(40), 0.95).log_n_steps == pytest.approx(math.log(40) + 0.03)


def test_clipped_to_the_bounds():
    assert (RULE.init(2).n_steps, RULE.init(1000).n_steps) == (5, 200)
    low, high = RULE.init(5), RULE.init(200)
    for _ in range(10):
        low, high = RULE.update(low, 0.0), RULE.update(high, 1.0)
    assert (low.n_steps, high.n_steps) == (5, 200)
    # nothing has piled up beyond the bound: the way back starts at once
    assert RULE.update(high, 0.45).n_steps == round(200 * math.exp(-0.2))


def test_small_changes_add_up():
    """Would fail if the rounded n were carried: at n = 5 each of these changes alone rounds to nothing."""
    state = RULE.init(5)
    assert RULE.update(state, 0.70).n_steps == 5
    for _ in range(4):
        state = RULE.update(state, 0.70)
    assert state.n_steps == 6


def test_state_in_steps():
    assert LengthState(math.log(17)).n_steps == 17
    assert LengthState(-5.0).n_steps == 1


@pytest.mark.parametrize("target", [0.0, 1.0, -0.2, 1.5, math.nan])
def test_impossible_target(target):
    with pytest.raises(ValueError, match="target_acceptance"):
        AcceptanceRule(target_acceptance=target)


@pytest.mark.parametrize(("low", "high"), [(0, 10), (20, 10), (-5, -1)])
def test_impossible_bounds(low, high):
    with pytest.raises(ValueError, match="n_steps_min"):
        AcceptanceRule(n_steps_min=low, n_steps_max=high)


def test_negative_rate():
    """It would drive n away from the target."""
    with pytest.raises(ValueError, match="rate"):
        AcceptanceRule(rate=-0.5)

"""Rules of the proposal length."""

import math

import numpy as np
import pytest

from aiida_slhmc.kernel.length_rules import AcceptanceRule, JumpRule, JumpState, LengthState

RULE = AcceptanceRule(target_acceptance=0.65, rate=1.0, n_steps_min=5, n_steps_max=200)
JUMP = JumpRule(factor=1.3, n_steps_min=5, n_steps_max=200)


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


@pytest.mark.parametrize("rule", [RULE, JUMP])
def test_state_survives_storage(rule):
    """Fails where the database's copy goes on differently."""
    state = rule.update(rule.init(20), 0.5, 0.01)
    assert rule.restore(state.as_dict()) == state


@pytest.mark.parametrize("target", [0.0, 1.0, -0.2, 1.5, math.nan, "0.5", True])
def test_impossible_target(target):
    with pytest.raises(ValueError, match="target_acceptance"):
        AcceptanceRule(target_acceptance=target)


@pytest.mark.parametrize("rule", [AcceptanceRule, JumpRule])
@pytest.mark.parametrize(("low", "high"), [(0, 10), (20, 10), (-5, -1), (5, "9"), (2.5, 9), (True, 9)])
def test_impossible_bounds(rule, low, high):
    with pytest.raises(ValueError, match="n_steps_min"):
        rule(n_steps_min=low, n_steps_max=high)


@pytest.mark.parametrize("rate", [-0.5, math.nan, None])
def test_impossible_rate(rate):
    """A negative one would drive n away from the target."""
    with pytest.raises(ValueError, match="rate"):
        AcceptanceRule(rate=rate)


@pytest.mark.parametrize("factor", [1.0, 0.5, math.inf, "2"])
def test_impossible_factor(factor):
    with pytest.raises(ValueError, match="factor"):
        JumpRule(factor=factor)


def synthetic_jump(n, best):
    """J(n) with its maximum, 1, at *best*: n² for short proposals, refused where they are long."""
    x = n / best
    return x**2 * math.exp(1 - x**2)


def climb(rule, start, best, noise, epochs, seed):
    """The n of each epoch where J has a relative Gaussian error *noise*; *best* of each epoch."""
    generator = np.random.default_rng(seed)
    state, visited = rule.init(start), []
    for epoch in range(epochs):
        visited.append(state.n_steps)
        jump = synthetic_jump(state.n_steps, best(epoch)) * (1 + noise * generator.standard_normal())
        state = rule.update(state, 0.5, max(jump, 1e-6))
    return np.array(visited)


@pytest.mark.parametrize("start", [5, 20, 150])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_jump_finds_the_optimum(start, noise):
    """From either side, and with the noise of a few dozen labels."""
    late = [np.log(climb(JUMP, start, lambda _: 40, noise, 60, seed)[20:]) for seed in range(20)]
    assert math.exp(np.mean(late)) == pytest.approx(40, rel=0.25)
    if noise == 0:
        assert np.ptp(late) <= 2 * math.log(1.3) + 0.05


def test_jump_follows_an_optimum_that_moves():
    """The model improves and longer proposals become worth while; then the temperature of the walkers settles."""
    visited = climb(JUMP, 20, lambda epoch: 20 if epoch < 40 else 80, 0.1, 80, 4)
    assert math.exp(np.mean(np.log(visited[10:40]))) == pytest.approx(20, rel=0.35)
    assert math.exp(np.mean(np.log(visited[55:]))) == pytest.approx(80, rel=0.35)


def test_control_a_climb_that_never_turns_runs_away():
    """Negative control: with a jump that always grows the rule has nothing to turn at, and ends near a bound."""
    state = JUMP.init(20)
    visited = []
    for epoch in range(20):
        state = JUMP.update(state, 0.5, 1.0 + epoch)
        visited.append(state.n_steps)
    assert max(visited) == 200


def test_jump_keeps_its_direction_or_turns():
    up = JumpState(math.log(40), last_jump=1.0, direction=1)
    down = JumpState(math.log(40), last_jump=1.0, direction=-1)
    assert JUMP.update(up, 0.5, 1.1) == JumpState(pytest.approx(math.log(52)), 1.1, 1)
    assert JUMP.update(up, 0.5, 0.9) == JumpState(pytest.approx(math.log(40 / 1.3)), 0.9, -1)
    assert JUMP.update(down, 0.5, 1.1) == JumpState(pytest.approx(math.log(40 / 1.3)), 1.1, -1)
    assert JUMP.update(down, 0.5, 0.9) == JumpState(pytest.approx(math.log(52)), 0.9, 1)


@pytest.mark.parametrize(("acceptance", "jump"), [(0.0, 0.3), (0.5, 0.0), (0.0, 0.0), (0.1, None)])
@pytest.mark.parametrize("direction", [1, -1])
def test_no_movement_asks_for_shorter(acceptance, jump, direction):
    """Fails where two epochs of zero turn the climb round: 0 is no less than 0, and going up finds nothing."""
    state = JumpState(math.log(100), last_jump=0.2, direction=direction)
    for _ in range(3):
        before = state.n_steps
        state = JUMP.update(state, acceptance, jump)
        assert state.n_steps < before
    for _ in range(20):
        state = JUMP.update(state, acceptance, jump)
    assert state.n_steps == 5


@pytest.mark.parametrize(("n", "direction", "expected"), [(200, 1, 154), (5, -1, 6)])
def test_jump_turns_at_a_bound(n, direction, expected):
    """Fails where a climb waits at its bound for a fall that does not come."""
    after = JUMP.update(JumpState(math.log(n), 1.0, direction), 0.5, 2.0)
    assert (after.n_steps, after.direction) == (expected, -direction)

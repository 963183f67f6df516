"""The rules chosen by name, put to work on an epoch's summary, and what they say about it."""

import math

import pytest

from aiida_slhmc.kernel.adaptation import make_rule
from aiida_slhmc.kernel.length_rules import AcceptanceRule, JumpRule
from aiida_slhmc.kernel.timestep_rule import TimestepRule
from aiida_slhmc.kernel.units import thermal_energy

KT = thermal_energy(300.0)


def seen(**changes):
    """A summary's part that adaptation looks at."""
    epoch = {
        "acceptance": 0.65,
        "expected_squared_jump_per_label": 0.02,
        "labels": 40,
        "sigma_integration": 0.1 * KT,
        "sigma_mismatch": 0.5 * KT,
        "temperature": 300.0,
    }
    return epoch | changes


ROUGH = {"sigma_integration": 0.5 * KT, "sigma_mismatch": 0.1 * KT}
START = {"n_steps": 20, "timestep": 1.0}
ACCEPTANCE = {"rule": "acceptance"}


def test_default_is_the_jump_with_time_step():
    adaptation = make_rule({})
    assert (adaptation.rule, adaptation.length, adaptation.timestep) == ("jump", JumpRule(), TimestepRule())


def test_options_reach_their_rules():
    bounds = {"n_steps_min": 2, "n_steps_max": 50}
    timestep = {"integration_acceptance": 0.8, "timestep_min": 0.3}
    adaptation = make_rule(bounds | {"rule": "jump", "factor": 1.5, "timestep": timestep})
    assert adaptation.length == JumpRule(factor=1.5, n_steps_min=2, n_steps_max=50)
    assert adaptation.timestep == TimestepRule(**timestep)
    acceptance = make_rule(bounds | {"rule": "acceptance", "target_acceptance": 0.5, "rate": 0.3, "timestep": False})
    assert acceptance.length == AcceptanceRule(target_acceptance=0.5, rate=0.3, n_steps_min=2, n_steps_max=50)
    assert acceptance.timestep is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "acceptence"}, "no adaptation rule 'acceptence'.*did you mean 'acceptance'"),
        ({"rule": "zzz"}, "no adaptation rule 'zzz'.*there are acceptance, jump"),
        ({"rule": None}, "no adaptation rule 'None'"),
        ({"n_step_max": 100}, "no option of the rule 'jump' 'n_step_max'.*did you mean 'n_steps_max'"),
        ({"rate": 0.5}, "no option of the rule 'jump' 'rate'"),
        ({"rule": "acceptance", "factor": 1.5}, "no option of the rule 'acceptance' 'factor'"),
        ({"timestep": {"timestep_mni": 0.1}}, "no option of timestep 'timestep_mni'.*did you mean 'timestep_min'"),
        ({"timestep": 0.5}, "timestep must be true, false or a dictionary"),
        ({"timestep": {"timestep_min": -1}}, "timestep_min must be positive"),
        ({"rule": "acceptance", "target_acceptance": 2}, "target_acceptance"),
        ({"factor": 0.9}, "factor must be above 1"),
        ({"n_steps_min": 50, "n_steps_max": 10}, "n_steps_min"),
    ],
)
def test_nonsense_is_refused(options, message):
    """Fails where a mistake in a name, or an option of the other rule, silently leaves a default in place."""
    with pytest.raises(ValueError, match=message):
        make_rule(options)


@pytest.mark.parametrize(
    ("acceptance", "n_steps", "reason"),
    [
        (0.42, 16, "Acceptance 0.42 is below 0.65: 20 → 16 steps."),
        (0.85, 24, "Acceptance 0.85 is above 0.65: 20 → 24 steps."),
        (0.65, 20, "Acceptance 0.65 is at 0.65: 20 steps as before."),
    ],
)
def test_acceptance(acceptance, n_steps, reason):
    new = make_rule(ACCEPTANCE).update(START, seen(acceptance=acceptance))
    assert (new["n_steps"], new["timestep"], new["rule"], new["reason"]) == (n_steps, 1.0, "acceptance", reason)
    assert new["state"] == {"log_n_steps": pytest.approx(math.log(20) + acceptance - 0.65)}


def test_jump_over_epochs():
    """Up, further up, and back after a fall, from what is stored alone."""
    adaptation = make_rule({"rule": "jump"})
    first = adaptation.update(START, seen(expected_squared_jump_per_label=0.020))
    second = adaptation.update(first, seen(expected_squared_jump_per_label=0.030))
    third = adaptation.update(second, seen(expected_squared_jump_per_label=0.010))
    last = adaptation.update(third, seen(acceptance=0.0, expected_squared_jump_per_label=0.0))
    assert [new["n_steps"] for new in (first, second, third, last)] == [26, 34, 26, 20]
    assert [new["reason"] for new in (first, second, third, last)] == [
        "The expected squared jump per label is 0.02 Å², the first to compare with: 20 → 26 steps.",
        "The expected squared jump per label is 0.03 Å², it has not fallen from 0.02 Å²: 26 → 34 steps.",
        "The expected squared jump per label is 0.01 Å², it fell from 0.03 Å²: 34 → 26 steps.",
        "No proposal moved the chain, so the next are shorter: 26 → 20 steps.",
    ]


def test_climb_begins_anew_after_an_epoch_that_did_not_move():
    """Fails where the first steps of a model that has learnt are taken for the merit of shorter proposals."""
    adaptation = make_rule({"rule": "jump"})
    trajectory = START
    lengths = []
    for acceptance, jump in ((0.0, 0.0), (0.0, 0.0), (0.75, 0.0015), (0.9, 0.0020)):
        trajectory = adaptation.update(trajectory, seen(acceptance=acceptance, expected_squared_jump_per_label=jump))
        lengths.append(trajectory["n_steps"])
    assert lengths == [15, 12, 15, 20]


@pytest.mark.parametrize("rule", ["acceptance", "jump"])
def test_shorter_time_step_keeps_the_length_in_time(rule):
    """Also where the acceptance is low: that came from the old time step."""
    new = make_rule({"rule": rule}).update(START, seen(acceptance=0.2, **ROUGH))
    assert new["timestep"] == pytest.approx(0.709, abs=1e-3)
    assert new["n_steps"] == 28
    assert math.exp(new["state"]["log_n_steps"]) * new["timestep"] == pytest.approx(20)
    assert new["reason"] == (
        "The integration error (σ 12.9 meV) exceeds the mismatch (2.59 meV) and alone lowers the acceptance to 0.80, "
        "so the time step goes 1 → 0.709 fs: 20 → 28 steps."
    )


def test_steps_stay_within_their_bounds_for_a_shorter_time_step():
    new = make_rule(ACCEPTANCE | {"n_steps_max": 22}).update(START, seen(**ROUGH))
    assert new["n_steps"] == 22


@pytest.mark.parametrize(
    ("options", "changes"),
    [({}, {}), ({"timestep": False}, ROUGH), ({}, ROUGH | {"labels": 4}), ({"timestep": {"timestep_min": 1.0}}, ROUGH)],
    ids=["mismatch dominates", "switched off", "too few labels", "at the bound"],
)
def test_time_step_stays(options, changes):
    new = make_rule(ACCEPTANCE | options).update(START, seen(acceptance=0.42, **changes))
    assert (new["timestep"], new["n_steps"]) == (1.0, 16)


def test_nothing_known():
    """An epoch whose labels all failed."""
    nothing = {"acceptance": 0.0, "expected_squared_jump_per_label": 0.0, "labels": 0}
    nothing |= {"sigma_integration": None, "sigma_mismatch": None, "temperature": 300.0}
    assert make_rule(ACCEPTANCE).update(START, nothing)["n_steps"] == 10
    assert make_rule({"rule": "jump"}).update(START, nothing)["n_steps"] == 15


@pytest.mark.parametrize(
    "stored",
    [
        {"rule": "jump", "state": {"log_n_steps": math.log(20), "last_jump": 0.1, "direction": -1}},
        {"rule": "acceptance", "state": {"log_n_steps": math.log(90)}},
        {"state": {"log_n_steps": math.log(90)}},
    ],
    ids=["of another rule", "of another length", "of no rule"],
)
def test_state_that_does_not_belong_is_not_used(stored):
    """Fails where a restart with another rule or length goes on from the old state."""
    new = make_rule(ACCEPTANCE).update(START | stored, seen(acceptance=0.85))
    assert new == make_rule(ACCEPTANCE).update(START, seen(acceptance=0.85))


@pytest.mark.parametrize(("n_steps", "acceptance", "word"), [(200, 1.0, "upper"), (5, 0.0, "lower")])
def test_a_bound_is_named(n_steps, acceptance, word):
    new = make_rule(ACCEPTANCE).update({"n_steps": n_steps, "timestep": 1.0}, seen(acceptance=acceptance))
    assert new["reason"].endswith(f": {n_steps} steps as before, the {word} bound.")

"""When the time step becomes shorter."""

import math

import pytest

from aiida_slhmc.kernel.diagnostics import predicted_acceptance, sigma_for_acceptance
from aiida_slhmc.kernel.timestep_rule import TimestepRule
from aiida_slhmc.kernel.units import thermal_energy

TEMPERATURE = 300.0
KT = thermal_energy(TEMPERATURE)
RULE = TimestepRule(integration_acceptance=0.9, timestep_min=0.25)
AIM = sigma_for_acceptance(0.9, TEMPERATURE)


def test_shortens_by_the_second_order():
    """σ of the integration error goes with Δt²: at 1.5 times the σ aimed at, Δt falls by √1.5. Fails for 1.5."""
    assert RULE.update(1.0, 1.5 * AIM, 0.0, TEMPERATURE) == pytest.approx(1 / math.sqrt(1.5))


def test_reaches_its_aim_where_the_law_holds():
    timestep, law = 1.0, lambda timestep: 2 * AIM * timestep**2
    for _ in range(3):
        timestep = RULE.update(timestep, law(timestep), 0.0, TEMPERATURE)
    assert predicted_acceptance(law(timestep), TEMPERATURE) == pytest.approx(0.9)


def test_never_by_more_than_a_half():
    assert RULE.update(1.0, 1e6 * KT, KT, TEMPERATURE) == 0.5


@pytest.mark.parametrize(
    ("integration", "mismatch"),
    [(2 * AIM, 2.1 * AIM), (5 * KT, 50 * KT), (0.99 * AIM, 0.0), (0.0, 0.0), (None, None), (2 * AIM, None)],
    ids=["the mismatch dominates", "by far", "good enough", "perfect", "no labels", "one unknown"],
)
def test_leaves_the_time_step_alone(integration, mismatch):
    assert RULE.update(1.0, integration, mismatch, TEMPERATURE) == 1.0


def test_bound():
    assert RULE.update(0.3, 1e6 * KT, KT, TEMPERATURE) == 0.25
    assert RULE.update(0.25, 1e6 * KT, KT, TEMPERATURE) == 0.25
    assert RULE.update(0.1, 1e6 * KT, KT, TEMPERATURE) == 0.1, "it is never raised, not even to the bound"


@pytest.mark.parametrize("acceptance", [0.05, 0.5, 0.65, 0.9, 0.99])
def test_sigma_for_acceptance_is_the_inverse(acceptance):
    assert predicted_acceptance(sigma_for_acceptance(acceptance, TEMPERATURE), TEMPERATURE) == pytest.approx(acceptance)


@pytest.mark.parametrize(
    "options",
    [
        {"integration_acceptance": 0.0},
        {"integration_acceptance": 1.0},
        {"integration_acceptance": True},
        {"timestep_min": 0.0},
        {"timestep_min": math.nan},
        {"timestep_min": "0.1"},
    ],
)
def test_impossible_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TimestepRule(**options)

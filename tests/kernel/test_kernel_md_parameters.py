"""Options of molecular dynamics: defaults, and what is refused with which words."""

import pytest

from aiida_slhmc.kernel.md_parameters import FREE_AT_RESTART, MdParameters

LEAST = {"n_steps": 100, "temperature": 300.0, "seed": 3}
NPT = {"ensemble": "npt", "pressure": 2.0, "cell_degrees_of_freedom": "full", "cell_time_constant": 200.0}


def test_defaults():
    made = MdParameters.from_dict(LEAST).to_dict()
    defaults = {"timestep": 1.0, "sampling_interval": 10, "n_equilibration_steps": 0, "thermostat_time_constant": 30.0}
    assert made == LEAST | defaults | {"chain_length": 4, "ensemble": "nvt", "device": "auto"}


def test_defaults_of_npt():
    """One atmosphere and the sampler's cell; given values stand."""
    made = MdParameters.from_dict(LEAST | {"ensemble": "npt"}).to_dict()
    assert (made["pressure"], made["cell_degrees_of_freedom"], made["cell_time_constant"]) == (
        1.01325e-4,
        "orthorhombic",
        300.0,
    )
    assert NPT.items() <= MdParameters.from_dict(LEAST | NPT).to_dict().items()


@pytest.mark.parametrize("content", [LEAST, LEAST | NPT])
def test_there_and_back(content):
    made = MdParameters.from_dict(content)
    assert MdParameters.from_dict(made.to_dict()) == made
    kernel = made.kernel()
    assert (kernel.temperature, kernel.ensemble) == (300.0, content.get("ensemble", "nvt"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_steps": 0}, "n_steps must be an integer of at least 1, not 0"),
        ({"n_steps": 10.0}, "n_steps must be an integer"),
        ({"sampling_interval": 0}, "sampling_interval must be an integer of at least 1"),
        ({"n_equilibration_steps": -1}, "n_equilibration_steps must be an integer of at least 0"),
        ({"chain_length": True}, "chain_length must be an integer"),
        ({"timestep": 0}, "timestep must be a positive number"),
        ({"thermostat_time_constant": float("nan")}, "thermostat_time_constant must be a positive number"),
        ({"temperature": "300 K"}, "temperature must be a positive number"),
        ({"seed": -1}, "seed must be a non-negative integer"),
        ({"ensemble": "nve"}, "ensemble must be one of nvt, npt"),
        ({"pressure": 1.0}, "pressure: only for ensemble npt"),
        ({"ensemble": "npt", "cell_degrees_of_freedom": "cubic"}, "cell_degrees_of_freedom must be one of iso"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda"),
        ({"time_step": 1.0}, "did you mean 'timestep'"),
        ({"jitter": 0.2}, "no option of the molecular dynamics 'jitter'"),
    ],
)
def test_wrong_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MdParameters.from_dict(LEAST | changes)


@pytest.mark.parametrize("name", LEAST)
def test_missing_options_are_named(name):
    with pytest.raises(ValueError, match=f"missing option of the molecular dynamics: {name}"):
        MdParameters.from_dict({key: value for key, value in LEAST.items() if key != name})


def test_differences():
    """What a run may not change that goes on from another's state; the rest is free."""
    one = MdParameters.from_dict(LEAST)
    free = {"n_steps": 7, "n_equilibration_steps": 5, "sampling_interval": 3, "seed": 9, "device": "cpu"}
    assert set(free) == FREE_AT_RESTART
    assert one.differences(MdParameters.from_dict(LEAST | free)) == []
    other = MdParameters.from_dict(LEAST | {"temperature": 301.0, "timestep": 2, "chain_length": 3})
    assert one.differences(other) == ["chain_length", "temperature", "timestep"]

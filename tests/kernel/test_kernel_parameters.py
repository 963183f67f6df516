"""The kernel's parameters: every value that makes no sense is refused, by its name."""

import json
import math

import pytest

from aiida_slhmc.kernel.parameters import KernelParameters

GOOD = {"temperature": 300.0, "timestep": 1.0, "seed": 0}


def test_defaults():
    assert KernelParameters(**GOOD).as_dict() == {
        **GOOD,
        "jitter": 0.2,
        "max_integration_error": 1.0,
        "device": "auto",
    }


def test_integers_where_numbers_are_asked_for():
    assert KernelParameters(temperature=300, timestep=2, seed=1, jitter=0).timestep == 2


def test_as_dict_survives_json():
    """It is what the job reads; a value that JSON cannot hold would be lost on the way."""
    everything = KernelParameters(**GOOD).as_dict()
    assert KernelParameters(**json.loads(json.dumps(everything, allow_nan=False))).as_dict() == everything


def test_frozen():
    with pytest.raises(AttributeError):
        KernelParameters(**GOOD).temperature = 400.0


@pytest.mark.parametrize("name", ["temperature", "timestep", "max_integration_error"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "300", None])
def test_positive_numbers(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        KernelParameters(**{**GOOD, name: value})


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None])
def test_seed(value):
    with pytest.raises(ValueError, match="seed must be a non-negative integer"):
        KernelParameters(**{**GOOD, "seed": value})


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, math.nan, True, False, "0.2", None])
def test_jitter(value):
    with pytest.raises(ValueError, match="jitter must lie in"):
        KernelParameters(**GOOD, jitter=value)


@pytest.mark.parametrize("value", ["gpu", "CPU", "", None])
def test_device(value):
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda"):
        KernelParameters(**GOOD, device=value)


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_no_default_for_what_defines_the_ensemble(missing):
    with pytest.raises(TypeError, match=missing):
        KernelParameters(**{name: value for name, value in GOOD.items() if name != missing})


def test_unknown_name():
    """A misspelt option must not be ignored."""
    with pytest.raises(TypeError, match="n_step"):
        KernelParameters(**GOOD, n_step=10)

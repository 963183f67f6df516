"""The kernel's parameters: every value that makes no sense is refused, by its name."""

import json
import math

import pytest

from aiida_slhmc.kernel.parameters import KernelParameters, Trajectory

GOOD = {"temperature": 300.0, "seed": 0}
NPT = {**GOOD, "ensemble": "npt"}
CELL = {"pressure": 2.5, "cell_degrees_of_freedom": "full", "cell_time_constant": 500.0}
NOT_POSITIVE = [0, -1.0, math.nan, math.inf, True, "300", None]


def test_defaults():
    """The parameters of NPT are absent, not zero."""
    assert KernelParameters(**GOOD).as_dict() == {
        **GOOD,
        "ensemble": "nvt",
        "jitter": 0.2,
        "max_integration_error": 1.0,
        "device": "auto",
    }


def test_npt_fills_in_what_is_not_given():
    """One atmosphere in GPa; and a given value is kept."""
    given = KernelParameters(**NPT).cell_motion()
    assert given["pressure"] == pytest.approx(101325e-9, rel=1e-12)
    assert given["cell_degrees_of_freedom"] == "orthorhombic"
    assert given["cell_time_constant"] > 0
    assert KernelParameters(**NPT, **CELL).cell_motion() == CELL
    assert KernelParameters(**NPT, **{**CELL, "pressure": -1}).pressure == -1


def test_integers_where_numbers_are_asked_for():
    assert KernelParameters(temperature=300, seed=1, jitter=0).temperature == 300
    assert Trajectory(n_steps=5, timestep=2).timestep == 2


@pytest.mark.parametrize("given", [GOOD, NPT, {**NPT, **CELL}], ids=["nvt", "npt", "npt given"])
def test_as_dict_survives_json(given):
    """It is what the job reads; a value that JSON cannot hold would be lost on the way."""
    everything = KernelParameters(**given).as_dict()
    assert KernelParameters(**json.loads(json.dumps(everything, allow_nan=False))).as_dict() == everything


def test_frozen():
    with pytest.raises(AttributeError):
        KernelParameters(**GOOD).temperature = 400.0
    with pytest.raises(AttributeError):
        Trajectory(n_steps=5, timestep=1.0).n_steps = 6


@pytest.mark.parametrize("name", ["temperature", "max_integration_error"])
@pytest.mark.parametrize("value", NOT_POSITIVE)
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
    with pytest.raises(ValueError, match="device must be one of auto, cpu, cuda"):
        KernelParameters(**GOOD, device=value)


@pytest.mark.parametrize("value", ["NVT", "npT", "nve", "", None])
def test_ensemble(value):
    with pytest.raises(ValueError, match="ensemble must be one of nvt, npt"):
        KernelParameters(**{**GOOD, "ensemble": value})


class TestCell:
    @pytest.mark.parametrize("name", sorted(CELL))
    def test_refused_in_nvt(self, name):
        """A pressure that nothing applies must not be ignored."""
        with pytest.raises(ValueError, match=f"{name}: only for ensemble npt"):
            KernelParameters(**GOOD, **{name: CELL[name]})

    @pytest.mark.parametrize("value", [math.nan, math.inf, True, "1"])
    def test_pressure(self, value):
        with pytest.raises(ValueError, match="pressure must be a number in GPa"):
            KernelParameters(**NPT, pressure=value)

    @pytest.mark.parametrize("value", ["Full", "triclinic", "", 6])
    def test_degrees_of_freedom(self, value):
        with pytest.raises(ValueError, match="cell_degrees_of_freedom must be one of isotropic, orthorhombic, full"):
            KernelParameters(**NPT, cell_degrees_of_freedom=value)

    @pytest.mark.parametrize("value", NOT_POSITIVE[:-1])
    def test_time_constant(self, value):
        with pytest.raises(ValueError, match="cell_time_constant must be a positive number"):
            KernelParameters(**NPT, cell_time_constant=value)


class TestTrajectory:
    @pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
    def test_steps(self, value):
        with pytest.raises(ValueError, match="n_steps must be a positive integer"):
            Trajectory(n_steps=value, timestep=1.0)

    @pytest.mark.parametrize("value", NOT_POSITIVE)
    def test_timestep(self, value):
        with pytest.raises(ValueError, match="timestep must be a positive number"):
            Trajectory(n_steps=5, timestep=value)


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_no_default_for_what_defines_the_ensemble(missing):
    with pytest.raises(TypeError, match=missing):
        KernelParameters(**{name: value for name, value in GOOD.items() if name != missing})


@pytest.mark.parametrize("name", ["n_step", "timestep", "pressure_gpa"])
def test_unknown_name(name):
    """A misspelt option, or one that has moved to the trajectory, must not be ignored."""
    with pytest.raises(TypeError, match=name):
        KernelParameters(**GOOD, **{name: 10})

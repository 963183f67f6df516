"""MaceMdParser on files made by hand: good ones, runs cut short, and one for each exit code."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from aiida import orm
from md_examples import OPTIONS, RESULT, frames, npz, state

from aiida_slhmc.calculations.mace_md import MaceMdCalculation

CODES = MaceMdCalculation.exit_codes


@pytest.fixture
def parse_md(parse, foundation, structure):
    """Function: parse this result, these frames and this state, of a run with these options."""

    def run(
        result: dict[str, Any] | str | None,
        frames: bytes | None = None,
        state: bytes | None = None,
        role: str | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], Any]:
        inputs = {"model": foundation, "structure": structure, "parameters": orm.Dict(OPTIONS | options).store()}
        inputs |= {} if role is None else {"role": orm.Str(role).store()}
        text = json.dumps(result) if isinstance(result, dict) else result
        temporary = {"trajectory.npz": frames, "state.npz": state}
        retrieved = {} if text is None else {"result.json": text}
        return parse("slhmc.mace_md", inputs, retrieved, {k: v for k, v in temporary.items() if v is not None})

    return run


def test_good_output(parse_md) -> None:
    """The control of the tests below: every array, to the last bit."""
    outputs, node = parse_md(RESULT, npz(frames()), npz(state()), role="adapted_md")
    assert node.is_finished_ok, node.exit_message
    trajectory = outputs["trajectory"]
    for name, values in frames().items():
        np.testing.assert_array_equal(trajectory.get_array(name), values, err_msg=name)
    assert trajectory.symbols == ["Ti", "Ti", "O", "O", "O", "O"]
    assert trajectory.pbc == (True, True, True)
    about = {"role": "adapted_md", "ensemble": "nvt", "temperature": 300.0, "timestep": 1.0, "sampling_interval": 2}
    about |= {"time_unit": "fs"}
    assert {key: trajectory.base.attributes.get(key) for key in about} == about
    assert trajectory.base.attributes.get("parameters")["chain_length"] == 4
    assert "pressure" not in trajectory.base.attributes.all
    for name, values in state().items():
        np.testing.assert_array_equal(outputs["state"].get_array(name), values, err_msg=name)
    # nodes that cannot be stored are no outputs
    for node in (trajectory, outputs["state"]):
        node.store()


def test_results(parse_md) -> None:
    """Fails where a mean is of another series, or the drift in another unit: 6e-6 eV/fs of six atoms is 1 meV/ps."""
    results = parse_md(RESULT, npz(frames()), npz(state()))[0]["results"].get_dict()
    made = frames()
    for name in ("n_steps", "n_equilibration_steps", "n_frames", "steps_per_second", "seconds", "device"):
        assert results[name] == RESULT[name]
    assert results["last_step"] == 6
    assert results["temperature_mean"] == pytest.approx(np.mean(made["temperatures"]))
    assert results["potential_energy_std"] == pytest.approx(np.std(made["potential_energies"]))
    assert results["volume_mean"] == pytest.approx(125.0)
    assert results["conserved_energy_drift"] == pytest.approx(1.0, rel=1e-6)


def test_npt(parse_md) -> None:
    outputs, node = parse_md(RESULT, npz(frames()), npz(state(n_coordinates=21)), ensemble="npt", pressure=2.0)
    assert node.is_finished_ok, node.exit_message
    about = {"ensemble": "npt", "pressure": 2.0}
    assert {key: outputs["trajectory"].base.attributes.get(key) for key in about} == about
    assert "role" not in outputs["trajectory"].base.attributes.all


def test_one_frame_and_none(parse_md) -> None:
    """Fails where a mean of nothing, or a slope of one point, raises or becomes a number that JSON lacks."""
    results = parse_md(RESULT | {"n_frames": 1}, npz(frames(1)), npz(state()))[0]["results"].get_dict()
    assert "temperature_mean" in results
    assert "conserved_energy_drift" not in results
    outputs, node = parse_md(RESULT | {"n_frames": 0}, npz(frames(0)), npz(state()))
    assert node.is_finished_ok
    assert set(outputs) == {"results", "state"}
    assert "temperature_mean" not in outputs["results"].get_dict()


def test_walltime_keeps_everything(parse_md) -> None:
    """Fails where hours of a run are thrown away, or nothing is said of how it goes on."""
    result = RESULT | {"status": "walltime", "message": "after 4 steps: time was up", "n_steps": 4, "n_frames": 2}
    outputs, node = parse_md(result, npz(frames(2)), npz(state(4)))
    assert node.exit_status == CODES.ERROR_WALLTIME.status == 311
    assert "after 4 steps: time was up" in node.exit_message
    assert "give the output `state`" in node.exit_message
    assert set(outputs) == {"trajectory", "results", "state"}
    assert outputs["trajectory"].get_stepids().tolist() == [2, 4]
    assert outputs["results"]["n_steps"] == 4


def test_diverged_keeps_what_came_before(parse_md) -> None:
    """But no state, with which the same would happen again."""
    result = RESULT | {"status": "diverged", "message": "after 5 steps: too hot", "n_steps": 5, "n_frames": 2}
    outputs, node = parse_md(result, npz(frames(2)), npz(state(5)))
    assert node.exit_status == CODES.ERROR_DIVERGED.status == 340
    assert "after 5 steps: too hot" in node.exit_message
    assert set(outputs) == {"trajectory", "results"}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("out_of_memory", "ERROR_OUT_OF_MEMORY"),
        ("invalid_input", "ERROR_INVALID_INPUT"),
        ("missing_element", "ERROR_MISSING_ELEMENT"),
        ("unreachable_cell", "ERROR_UNREACHABLE_CELL"),
    ],
)
def test_each_status_of_the_worker(parse_md, status: str, name: str) -> None:
    outputs, node = parse_md({"status": status, "message": "so and so"})
    assert node.exit_status == getattr(CODES, name).status
    assert "so and so" in node.exit_message
    assert not outputs


def test_walltime_without_outputs(parse_md) -> None:
    """The worker's time was up while it loaded the model: its common status, without files."""
    outputs, node = parse_md({"status": "walltime", "message": "early"})
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert not outputs


def test_no_result(parse_md) -> None:
    outputs, node = parse_md(None, npz(frames()), npz(state()))
    assert node.exit_status == CODES.ERROR_NO_RESULT.status
    assert not outputs


@pytest.mark.parametrize("change", [{"status": "unheard_of"}, {"n_frames": None}, {"device": None}])
def test_unexpected_result(parse_md, change: dict[str, Any]) -> None:
    result = {key: value for key, value in (RESULT | change).items() if value is not None}
    outputs, node = parse_md(result, npz(frames()), npz(state()))
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert not outputs


def _without(content: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != name}


BROKEN = {
    "missing": (None, npz(state()), "trajectory.npz"),
    "empty": (b"", npz(state()), "trajectory.npz"),
    "foreign": (b"no archive", npz(state()), "trajectory.npz"),
    "cut": (npz(frames())[:500], npz(state()), "trajectory.npz"),
    "array missing": (npz(_without(frames(), "cells")), npz(state()), "trajectory.npz"),
    "pickle": (npz(frames(cells=np.array([{}], dtype=object))), npz(state()), "trajectory.npz"),
    "frame missing": (npz(frames(2)), npz(state()), "2 frames of 3"),
    "no state": (npz(frames()), None, "state.npz"),
    "half a state": (npz(frames()), npz(_without(state(), "momenta")), "state.npz"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(parse_md, case: str) -> None:
    """Fails where half a file raises, or passes for a whole one."""
    content, end, reason = BROKEN[case]
    outputs, node = parse_md(RESULT, content, end)
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert reason in node.exit_message
    assert not outputs


@pytest.mark.parametrize("where", ["positions", "temperatures", "momenta"])
def test_not_finite(parse_md, where: str) -> None:
    made, end = frames(), state()
    values = (made if where in made else end)[where]
    values.flat[-1] = np.nan
    outputs, node = parse_md(RESULT, npz(made), npz(end))
    assert node.exit_status == CODES.ERROR_NOT_FINITE.status
    assert not outputs

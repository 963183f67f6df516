"""MaceFineTuneParser on files made by hand: good ones, and one for each exit code."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fixtures import FOUNDATION_FILE

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation

CODES = MaceFineTuneCalculation.exit_codes
CHECKPOINT = FOUNDATION_FILE.read_bytes()
METRICS = {"status": "finished", "message": "so and so", "curve": {"epoch": [1, 2], "training_loss": [1.0, 0.5]}}


@pytest.fixture
def parse_training(parse, fine_tune_inputs):
    """Function: parse these metrics and this checkpoint."""
    inputs = {name: fine_tune_inputs[name] for name in ("parameters", "model")}

    def run(
        metrics: str | None,
        model: bytes | None = CHECKPOINT,
        exit_status: int | None = None,
        state: bytes | None = None,
    ) -> Any:
        retrieved = {} if metrics is None else {"metrics.json": metrics}
        temporary = {} if model is None else {"trained.safetensors": model}
        temporary |= {} if state is None else {"training_state.safetensors": state}
        return parse("slhmc.mace_fine_tune", inputs, retrieved, temporary, exit_status)

    return run


def test_good_output(parse_training) -> None:
    """The control of the tests below."""
    outputs, node = parse_training(json.dumps(METRICS))
    assert node.is_finished_ok, node.exit_message
    assert set(outputs) == {"model", "curve", "metrics"}
    np.testing.assert_array_equal(outputs["curve"].get_array("training_loss"), [1.0, 0.5])
    assert outputs["metrics"]["message"] == "so and so"
    assert "curve" not in outputs["metrics"].get_dict()


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("diverged", "ERROR_DIVERGED"),
        ("no_improvement", "ERROR_NO_IMPROVEMENT"),
        ("worse_than_parent", "ERROR_WORSE_THAN_PARENT"),
        ("walltime", "ERROR_WALLTIME"),
    ],
)
def test_status_with_outputs(parse_training, status: str, name: str) -> None:
    """Fails where the curve, which tells what happened, or the best model so far is thrown away."""
    curve = {"epoch": [1, 2], "training_loss": [1.0, None]}
    outputs, node = parse_training(json.dumps(METRICS | {"status": status, "curve": curve}))
    assert node.exit_status == getattr(CODES, name).status
    assert "so and so" in node.exit_message
    assert set(outputs) == {"model", "curve", "metrics"}
    assert np.isnan(outputs["curve"].get_array("training_loss")[1])


def test_training_state_comes_with_the_wall_time_only(parse_training) -> None:
    """Fails where a training that was cut short cannot go on, or a finished one leaves what nobody needs."""
    outputs, node = parse_training(json.dumps(METRICS | {"status": "walltime"}), state=b"the state")
    assert node.exit_status == CODES.ERROR_WALLTIME.status
    assert "training_state" in node.exit_message
    assert set(outputs) == {"model", "curve", "metrics", "training_state"}
    state = outputs["training_state"]
    assert (state.filename, state.get_content(mode="rb")) == ("training_state.safetensors", b"the state")
    outputs, node = parse_training(json.dumps(METRICS), state=b"the state")
    assert node.is_finished_ok
    assert set(outputs) == {"model", "curve", "metrics"}


@pytest.mark.parametrize(
    ("status", "name"), [("out_of_memory", "ERROR_OUT_OF_MEMORY"), ("invalid_input", "ERROR_INVALID_INPUT")]
)
def test_status_without_outputs(parse_training, status: str, name: str) -> None:
    outputs, node = parse_training(json.dumps({"status": status, "message": "so and so"}), model=None)
    assert node.exit_status == getattr(CODES, name).status
    assert "so and so" in node.exit_message
    assert not outputs


@pytest.mark.parametrize(
    ("metrics", "model"),
    [
        ('{"status": "fin', CHECKPOINT),
        (json.dumps(METRICS), None),
        (json.dumps(METRICS), CHECKPOINT[:-100]),
        (json.dumps(METRICS), CHECKPOINT[:100]),
        (json.dumps(METRICS), b"no checkpoint"),
        (json.dumps({"status": "finished", "message": ""}), CHECKPOINT),
        (json.dumps(METRICS | {"curve": {"epoch": ["one"]}}), CHECKPOINT),
        (json.dumps(METRICS | {"status": "strange"}), CHECKPOINT),
    ],
    ids=["JSON cut", "no model", "model cut", "header cut", "foreign", "no curve", "curve of text", "unknown status"],
)
def test_incomplete_output(parse_training, metrics: str, model: bytes | None) -> None:
    """Fails where half a file raises, or passes for a model."""
    outputs, node = parse_training(metrics, model)
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert not outputs


def test_no_result(parse_training) -> None:
    _, node = parse_training(None)
    assert node.exit_status == CODES.ERROR_NO_RESULT.status


def test_the_schedulers_verdict_stands(parse_training) -> None:
    """Fails where a job that ran out of wall time is reported as one without a result."""
    _, node = parse_training(None, exit_status=120)
    assert node.exit_status == 120

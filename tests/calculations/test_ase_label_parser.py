"""AseLabelParser on files made by hand: a good label, and one for each exit code."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm

from aiida_slhmc.calculations.ase_label import AseLabelCalculation

CODES = AseLabelCalculation.exit_codes
RESULT = {"status": "finished", "message": "", "energy_kind": "energy", "versions": {"ase": "3.29.0"}, "seconds": 0.25}


def npz(**changes: Any) -> bytes:
    """The arrays of a label of six atoms, with *changes*; None leaves one out."""
    generator = np.random.default_rng(0)
    shapes = {"energy": (), "forces": (6, 3), "stress": (3, 3), "positions": (6, 3), "cell": (3, 3)}
    made = {name: np.asarray(generator.normal(size=shape)) for name, shape in shapes.items()}
    made |= {"numbers": np.array([22, 22, 8, 8, 8, 8])} | changes
    handle = io.BytesIO()
    np.savez(handle, **{name: values for name, values in made.items() if values is not None})
    return handle.getvalue()


@pytest.fixture
def parse_label(parse, structure) -> Callable[..., tuple[dict[str, Any], orm.ProcessNode]]:
    """Function: parse this result, this label and this standard error."""

    def run(
        result: str | None, output: bytes | None = None, stderr: str | None = None, status: int | None = None
    ) -> Any:
        files = {"result.json": result, "worker.err": stderr}
        retrieved = {name: text for name, text in files.items() if text is not None}
        temporary = {} if output is None else {"label.npz": output}
        return parse("slhmc.ase_label", {"structure": structure}, retrieved, temporary, status)

    return run


def test_good_output(parse_label) -> None:
    """The control of the tests below; fails where a digit of a float64 is lost."""
    content = npz(energy=np.asarray(-1 / 3))
    outputs, node = parse_label(json.dumps(RESULT), content)
    assert node.is_finished_ok, node.exit_message
    label = outputs["label"]
    label.store()
    assert label.get_array("energy") == -1 / 3
    assert label.get_array("energy").dtype == np.float64
    with np.load(io.BytesIO(content)) as archive:
        assert set(label.get_arraynames()) == set(archive.files)
        for name in archive.files:
            np.testing.assert_array_equal(label.get_array(name), archive[name])
    assert label.base.attributes.get("energy_kind") == "energy"
    assert label.base.attributes.get("versions") == {"ase": "3.29.0"}
    assert label.base.attributes.get("seconds") == 0.25


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("calculator_unavailable", CODES.ERROR_CALCULATOR_UNAVAILABLE),
        ("wrong_arguments", CODES.ERROR_WRONG_ARGUMENTS),
        ("property_missing", CODES.ERROR_PROPERTY_MISSING),
        ("not_converged", CODES.ERROR_NOT_CONVERGED),
        ("calculator_failed", CODES.ERROR_CALCULATOR_FAILED),
        ("not_finite", CODES.ERROR_NOT_FINITE),
        ("out_of_memory", CODES.ERROR_OUT_OF_MEMORY),
    ],
)
def test_named_failures(parse_label, status: str, code: Any) -> None:
    """Fails where a failure that the worker names ends in another exit code, or its reason is lost."""
    outputs, node = parse_label(json.dumps({"status": status, "message": "for this reason", "seconds": 0.1}))
    assert node.exit_status == code.status
    assert "for this reason" in node.exit_message
    assert "label" not in outputs


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (None, "No such file"),
        (b"", "label.npz"),
        (npz()[:-200], "label.npz"),
        (npz(stress=None), "stress"),
        (npz(forces=np.zeros((5, 3))), r"forces \(5, 3\)"),
        (npz(energy=np.zeros(1)), r"energy \(1,\)"),
        (npz(stress=np.zeros(6)), r"stress \(6,\)"),
    ],
    ids=["missing", "empty", "truncated", "no stress", "an atom less", "energy in a list", "Voigt"],
)
def test_incomplete_output(parse_label, output: bytes | None, reason: str) -> None:
    """Fails where half a label passes, or a parser excepts."""
    _, node = parse_label(json.dumps(RESULT), output)
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status, node.exit_message
    assert re.search(reason, node.exit_message)


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_not_finite(parse_label, name: str) -> None:
    shapes = {"energy": (), "forces": (6, 3), "stress": (3, 3)}
    _, node = parse_label(json.dumps(RESULT), npz(**{name: np.full(shapes[name], np.inf)}))
    assert node.exit_status == CODES.ERROR_NOT_FINITE.status


@pytest.mark.parametrize("result", ["{", "[]", '{"status": "finished"}', json.dumps({"status": "x", "message": ""})])
def test_broken_result(parse_label, result: str) -> None:
    _, node = parse_label(result, npz())
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status


def test_no_result(parse_label) -> None:
    """Fails where somebody whose Python lacks ASE is not told so."""
    _, node = parse_label(None, stderr="Traceback\nModuleNotFoundError: No module named 'ase'\n")
    assert node.exit_status == CODES.ERROR_NO_RESULT.status
    assert "No module named 'ase'" in node.exit_message
    assert "must be a Python interpreter with ase" in node.exit_message


def test_the_schedulers_verdict_stands(parse_label) -> None:
    assert parse_label(None, stderr="killed", status=110)[1].exit_status == 110

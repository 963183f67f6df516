"""MaceProposalParser on files made by hand: good ones, and one for each exit code."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation

CODES = MaceProposalCalculation.exit_codes
RESULT = {"status": "finished", "message": "", "n_steps": 4, "device": "cpu", "integration_errors": [0.0, 0.0]}


def arrays(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    made = {name: generator.normal(size=(2, 6, 3)) for name in ("positions", "momenta", "forces")}
    return made | {"energies": np.zeros((2, 2)), "kinetic_energies": np.ones((2, 2))} | changes


def npz(content: dict[str, Any]) -> bytes:
    handle = io.BytesIO()
    np.savez(handle, **content)
    return handle.getvalue()


@pytest.fixture
def parse_proposal(parse, proposal_inputs):
    """Function: parse this result, these arrays and this standard error."""
    names = ("parameters", "epoch", "cycle", "model", "length")
    inputs = {name: proposal_inputs[name] for name in names}
    inputs |= {f"states__{name}": node for name, node in proposal_inputs["states"].items()}

    def run(
        result: str | None, output: bytes | None = None, exit_status: int | None = None, stderr: str | None = None
    ) -> tuple[dict[str, Any], Any]:
        files = {"result.json": result, "worker.err": stderr}
        retrieved = {name: text for name, text in files.items() if text is not None}
        temporary = {} if output is None else {"proposals.npz": output}
        return parse("slhmc.mace_proposal", inputs, retrieved, temporary, exit_status)

    return run


def test_good_output(parse_proposal) -> None:
    """The control of the tests below."""
    content = arrays(energies=np.array([[1.0, 3.0], [1.0, 1.5]]), kinetic_energies=np.array([[2.0, 1.0], [2.0, 2.0]]))
    outputs, node = parse_proposal(json.dumps(RESULT), npz(content))
    assert node.is_finished_ok, node.exit_message
    proposals = outputs["proposals"]
    np.testing.assert_array_equal(proposals.get_array("positions"), content["positions"])
    np.testing.assert_allclose(proposals.get_array("integration_errors"), [1.0, 0.5])
    assert proposals.base.attributes.get("n_steps") == 4
    structures = outputs["structures"]
    assert set(structures) == {"walker_0", "walker_1"}
    np.testing.assert_allclose(structures["walker_1"].get_ase().positions, content["positions"][1], atol=1e-12)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("out_of_memory", "ERROR_OUT_OF_MEMORY"),
        ("walltime", "ERROR_WALLTIME"),
        ("invalid_input", "ERROR_INVALID_INPUT"),
        ("not_finite", "ERROR_NOT_FINITE"),
        ("divergent", "ERROR_DIVERGENT"),
        ("missing_element", "ERROR_MISSING_ELEMENT"),
    ],
)
def test_each_status_of_the_worker(parse_proposal, status: str, name: str) -> None:
    """Fails where the worker's reason is lost, or a failed job gives outputs."""
    outputs, node = parse_proposal(json.dumps({"status": status, "message": "so and so"}))
    assert node.exit_status == getattr(CODES, name).status
    assert "so and so" in node.exit_message
    assert not outputs


@pytest.mark.parametrize("change", [{"status": "unheard_of"}, {"n_steps": None}])
def test_unexpected_result(parse_proposal, change: dict[str, Any]) -> None:
    """Fails where the result of another version of the worker passes for a finished one, or raises."""
    result = {key: value for key, value in (RESULT | change).items() if value is not None}
    outputs, node = parse_proposal(json.dumps(result), npz(arrays()))
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert not outputs


def test_no_result(parse_proposal) -> None:
    """Fails where the traceback's last line, which says what to do, is not passed on."""
    _, node = parse_proposal(None, stderr="Traceback …\nModuleNotFoundError: No module named 'mace'\n")
    assert node.exit_status == CODES.ERROR_NO_RESULT.status
    assert "No module named 'mace'" in node.exit_message


@pytest.mark.parametrize(("stderr", "reason"), [(None, "did not start"), ("", "stopped from outside")])
def test_no_result_and_nothing_said(parse_proposal, stderr: str | None, reason: str) -> None:
    _, node = parse_proposal(None, stderr=stderr)
    assert node.exit_status == CODES.ERROR_NO_RESULT.status
    assert reason in node.exit_message


def test_the_schedulers_verdict_stands(parse_proposal) -> None:
    """Fails where a job that ran out of memory is reported as one without a result."""
    _, node = parse_proposal(None, exit_status=110, stderr="killed")
    assert node.exit_status == 110
    assert node.exit_message == "the scheduler's verdict"


@pytest.mark.parametrize("text", ["", '{"status": "fini', "[]", "{}", '{"status": "finished"}', "null"])
def test_truncated_result(parse_proposal, text: str) -> None:
    """Fails where a file cut off by a full disk raises, or passes for a result."""
    outputs, node = parse_proposal(text, npz(arrays()))
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert "result.json" in node.exit_message
    assert not outputs


def _without(name: str) -> dict[str, Any]:
    content = arrays()
    del content[name]
    return content


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no archive",
        npz(arrays())[:400],
        npz(arrays())[:-30],
        npz(_without("forces")),
        npz(arrays(forces=np.array([{"a": "pickle"}], dtype=object))),
    ],
    ids=["missing", "empty", "foreign", "cut", "end cut", "array missing", "pickle"],
)
def test_broken_arrays(parse_proposal, content: bytes | None) -> None:
    """Fails where half a file raises, or a pickle in it is loaded."""
    outputs, node = parse_proposal(json.dumps(RESULT), content)
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert "proposals.npz" in node.exit_message
    assert not outputs


@pytest.mark.parametrize("name", ["positions", "energies", "forces"])
def test_arrays_that_are_not_finite(parse_proposal, name: str) -> None:
    """Fails where a NaN could be sent to the target."""
    content = arrays()
    content[name].flat[1] = np.nan
    outputs, node = parse_proposal(json.dumps(RESULT), npz(content))
    assert node.exit_status == CODES.ERROR_NOT_FINITE.status
    assert not outputs

"""MaceProposalParser on files made by hand: good ones, and one for each exit code."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation

CODES = MaceProposalCalculation.exit_codes
RESULT = {"status": "finished", "message": "", "n_steps": 4, "device": "cpu", "divergences": {}}


def arrays(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    made = {name: generator.normal(size=(2, 6, 3)) for name in ("positions", "momenta", "forces")}
    made |= {name: np.zeros((2, 2)) for name in ("energies", "cell_energies", "kinetic_energies")}
    made["diverged"] = np.array([False, False])
    return made | {"cells": np.array([5.0 * np.eye(3), 6.0 * np.eye(3)]), "cell_momenta": np.zeros((2, 0))} | changes


def npt_arrays(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    return arrays(cell_momenta=generator.normal(size=(2, 6)), stresses=generator.normal(size=(2, 3, 3)), **changes)


def npz(content: dict[str, Any]) -> bytes:
    handle = io.BytesIO()
    np.savez(handle, **content)
    return handle.getvalue()


def make_parse(parse, all_inputs):
    names = ("parameters", "epoch", "cycle", "model", "trajectory", "reference_structure")
    inputs = {name: all_inputs[name] for name in names if name in all_inputs}
    inputs |= {f"states__{name}": node for name, node in all_inputs["states"].items()}

    def run(
        result: str | None, output: bytes | None = None, exit_status: int | None = None, stderr: str | None = None
    ) -> tuple[dict[str, Any], Any]:
        files = {"result.json": result, "worker.err": stderr}
        retrieved = {name: text for name, text in files.items() if text is not None}
        temporary = {} if output is None else {"proposals.npz": output}
        return parse("slhmc.mace_proposal", inputs, retrieved, temporary, exit_status)

    return run


@pytest.fixture
def parse_proposal(parse, proposal_inputs):
    """Function: parse this result, these arrays and this standard error."""
    return make_parse(parse, proposal_inputs)


@pytest.fixture
def parse_npt(parse, npt_inputs):
    """The same for a job in NPT."""
    return make_parse(parse, npt_inputs)


def test_good_output(parse_proposal) -> None:
    """The control of the tests below."""
    content = arrays(energies=np.array([[1.0, 3.0], [1.0, 1.5]]), kinetic_energies=np.array([[2.0, 1.0], [2.0, 2.0]]))
    # of a worker that gives them in NVT, too
    content["stresses"] = np.zeros((2, 3, 3))
    outputs, node = parse_proposal(json.dumps(RESULT), npz(content))
    assert node.is_finished_ok, node.exit_message
    proposals = outputs["proposals"]
    np.testing.assert_array_equal(proposals.get_array("positions"), content["positions"])
    np.testing.assert_allclose(proposals.get_array("integration_errors"), [1.0, 0.5])
    assert proposals.base.attributes.get("n_steps") == 4
    assert not {"cell_momenta", "stresses", "reference_cell"} & set(proposals.get_arraynames())
    structures = outputs["structures"]
    assert set(structures) == {"walker_0", "walker_1"}
    np.testing.assert_allclose(structures["walker_1"].get_ase().positions, content["positions"][1], atol=1e-12)


def test_good_npt_output(parse_npt, npt_inputs) -> None:
    """Fails where a walker gets another's cell, or the cell's energy is left out of the integration error."""
    content = npt_arrays(cell_energies=np.array([[1.0, 3.0], [1.0, 1.5]]))
    outputs, node = parse_npt(json.dumps(RESULT), npz(content))
    assert node.is_finished_ok, node.exit_message
    proposals = outputs["proposals"]
    for name in ("cells", "cell_momenta", "cell_energies", "stresses"):
        np.testing.assert_array_equal(proposals.get_array(name), content[name])
    np.testing.assert_array_equal(proposals.get_array("reference_cell"), npt_inputs["reference_structure"].cell)
    np.testing.assert_allclose(proposals.get_array("integration_errors"), [2.0, 0.5])
    for k in range(2):
        np.testing.assert_allclose(outputs["structures"][f"walker_{k}"].cell, content["cells"][k], atol=1e-12)


def test_diverged_walker_has_no_structure(parse_proposal) -> None:
    """Fails where a start would be sent to the target as if it were an end, or nobody learns why it is none."""
    result = RESULT | {"divergences": {"walker_0": "so and so"}}
    outputs, node = parse_proposal(json.dumps(result), npz(arrays(diverged=np.array([True, False]))))
    assert node.is_finished_ok, node.exit_message
    assert set(outputs["structures"]) == {"walker_1"}
    assert outputs["structures"]["walker_1"].base.attributes.get("walker") == 1
    proposals = outputs["proposals"]
    assert proposals.get_array("diverged").tolist() == [True, False]
    assert proposals.base.attributes.get("divergences") == {"walker_0": "so and so"}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("out_of_memory", "ERROR_OUT_OF_MEMORY"),
        ("walltime", "ERROR_WALLTIME"),
        ("invalid_input", "ERROR_INVALID_INPUT"),
        ("missing_element", "ERROR_MISSING_ELEMENT"),
        ("unreachable_cell", "ERROR_UNREACHABLE_CELL"),
    ],
)
def test_each_status_of_the_worker(parse_proposal, status: str, name: str) -> None:
    """Fails where the worker's reason is lost, or a failed job gives outputs."""
    outputs, node = parse_proposal(json.dumps({"status": status, "message": "so and so"}))
    assert node.exit_status == getattr(CODES, name).status
    assert "so and so" in node.exit_message
    assert not outputs


@pytest.mark.parametrize("change", [{"status": "unheard_of"}, {"n_steps": None}, {"divergences": None}])
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
        npz(_without("diverged")),
        npz(arrays(forces=np.array([{"a": "pickle"}], dtype=object))),
    ],
    ids=["missing", "empty", "foreign", "cut", "end cut", "array missing", "flags missing", "pickle"],
)
def test_broken_arrays(parse_proposal, content: bytes | None) -> None:
    """Fails where half a file raises, or a pickle in it is loaded."""
    outputs, node = parse_proposal(json.dumps(RESULT), content)
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert "proposals.npz" in node.exit_message
    assert not outputs


@pytest.mark.parametrize("name", ["stresses", "cell_momenta", "cell_energies", "cells"])
def test_broken_npt_arrays(parse_npt, name: str) -> None:
    """Fails where a cell that is not finite could be sent to the target."""
    content = npt_arrays()
    spoilt = content[name].copy()
    spoilt.flat[1] = np.inf
    outputs, node = parse_npt(json.dumps(RESULT), npz(content | {name: spoilt}))
    assert node.exit_status == CODES.ERROR_NOT_FINITE.status
    assert not outputs


@pytest.mark.parametrize("name", ["stresses", "cell_momenta", "cell_energies", "cells"])
def test_missing_npt_arrays(parse_npt, name: str) -> None:
    """Fails where the file of an NVT job passes for one of NPT."""
    content = npt_arrays()
    del content[name]
    outputs, node = parse_npt(json.dumps(RESULT), npz(content))
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert name in node.exit_message
    assert not outputs


@pytest.mark.parametrize("name", ["positions", "energies", "forces", "cells"])
def test_arrays_that_are_not_finite(parse_proposal, name: str) -> None:
    """Fails where a NaN could be sent to the target."""
    content = arrays()
    content[name].flat[1] = np.nan
    outputs, node = parse_proposal(json.dumps(RESULT), npz(content))
    assert node.exit_status == CODES.ERROR_NOT_FINITE.status
    assert not outputs

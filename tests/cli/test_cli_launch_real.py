"""`aiida-slhmc launch` to the end, with the real worker and the stand-in: from the file that `--dump` writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from click.testing import CliRunner, Result
from fixtures import FAMILY, rutile_atoms

from aiida_slhmc.cli import status
from aiida_slhmc.cli.launch import command
from aiida_slhmc.data.mace_model import MaceModelData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

OVERRIDES = {
    "trajectory": {"n_steps": 3, "timestep": 1.0},
    "adaptation": {"n_steps_min": 3},
    "fine_tune": {"max_epochs": 2, "batch_size": 4},
}
NUMBERS = ("--seed", 3, "--n-walkers", 2, "--n-cycles", 1, "--label-budget", 2, "--device", "cpu")
JOBS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "withmpi": False}


def called(*arguments: Any) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def started(result: Result) -> Any:
    """The process that was announced."""
    found = re.search(r"^started \S+ (\d+)$", result.output, re.MULTILINE)
    assert found, result.output
    return orm.load_node(int(found[1]))


@pytest.fixture(scope="module")
def target(vasp_code: orm.Code, family: str) -> list[Any]:
    """Options of the target."""
    words = [
        f"target_options.options={json.dumps(JOBS)}",
        *(f"overrides.{k}={json.dumps(v)}" for k, v in OVERRIDES.items()),
    ]
    settings = [word for assignment in words for word in ("--set", assignment)]
    return ["--functional", "pbe", "--code", vasp_code.full_label, "--potential-family", FAMILY, *settings]


@pytest.fixture(scope="module")
def run(target: list[Any], foundation: MaceModelData, python_code: orm.Code, tmp_path_factory: Any) -> Any:
    """A self-learning run of one epoch of one cycle, from the file that `--dump` writes."""
    folder = tmp_path_factory.mktemp("launch")
    rutile_atoms().write(folder / "rutile.vasp", format="vasp")
    models = ["--model", foundation.pk, "--python-code", python_code.full_label]
    given = ["--structure", folder / "rutile.vasp", *models, *target, *NUMBERS, "--protocol", "fast"]
    file: Path = folder / "run.yaml"
    file.write_text(called("slhmc", *given, "--dump").output)
    return started(called("slhmc", "--config", file, "--no-display"))


def test_slhmc(run: Any) -> None:
    """Fails where the run is not the one that was asked for, or `status` does not show how it ended."""
    assert run.is_finished_ok
    assert [epoch["labels"] for epoch in run.outputs.history["epochs"]] == [2]
    assert run.inputs.parameters["seed"] == 3
    assert run.inputs.fine_tune.parameters["max_epochs"] == 2
    shown = CliRunner().invoke(status.command, [str(run.pk)])
    assert "epoch 0, cycle 1/1, 2/2 labels" in shown.output
    assert f"run {run.pk}: finished" in shown.output

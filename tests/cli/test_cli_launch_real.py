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


@pytest.mark.long
def test_restart(run: Any) -> None:
    """Fails where the restart does not go on with as many further labels as it was given."""
    restarted = started(called("slhmc", "--restart", run.pk, "--label-budget", 2, "--no-display"))
    assert restarted.is_finished_ok
    assert [(epoch["epoch"], epoch["labels"]) for epoch in restarted.outputs.history["epochs"]] == [(0, 2), (1, 2)]


@pytest.mark.long
def test_epoch(run: Any) -> None:
    """Fails where the epoch is not one with the run's last model and another seed."""
    epoch = started(called("epoch", "--run", run.pk, "--n-cycles", 1, "--seed", 5, "--no-display"))
    assert epoch.is_finished_ok
    assert epoch.inputs.model.uuid == run.outputs.model.uuid
    assert epoch.inputs.parameters["seed"] == 5
    assert "1/1" in CliRunner().invoke(status.command, [str(epoch.pk)]).output


@pytest.mark.long
def test_finetune(run: Any, foundation: MaceModelData, python_code: orm.Code) -> None:
    """Fails where another model or other labels are trained on than the ones named."""
    [epoch] = [node for node in run.called if node.process_label == "EpochWorkChain"]
    block = epoch.outputs.dataset
    codes = ["--model", foundation.pk, "--python-code", python_code.full_label]
    settings = ["--set", "parameters.max_epochs=2", "--set", "parameters.batch_size=4"]
    node = started(called("finetune", *codes, "--dataset", block.pk, *settings, "--no-display"))
    assert node.is_finished_ok
    assert [dataset.uuid for dataset in node.inputs.datasets.values()] == [block.uuid]
    assert node.outputs.model.uuid != foundation.uuid


@pytest.mark.long
def test_relabel(target: list[Any], foundation: MaceModelData, python_code: orm.Code, tmp_path: Path) -> None:
    """Fails where the control does not label as many frames as it may, or does not train on them."""
    rutile_atoms().write(tmp_path / "rutile.vasp", format="vasp")
    models = ["--model", foundation.pk, "--python-code", python_code.full_label]
    few = ["--set", "overrides.md={n_steps: 6, sampling_interval: 2}", "--set", "overrides.production=null"]
    given = ["--structure", tmp_path / "rutile.vasp", *models, *target, *few, "--protocol", "fast", "--device", "cpu"]
    control = started(called("relabel", *given, "--label-budget", 2, "--no-display"))
    assert control.is_finished_ok
    assert control.outputs.dataset.n_frames == 2
    assert control.outputs.model.uuid != foundation.uuid

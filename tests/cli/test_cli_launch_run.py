"""What `aiida-slhmc launch` does with a builder: run here, hand over, go on from a run; its exit status."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from aiida import orm
from aiida.engine import ProcessBuilder
from click.testing import CliRunner, Result
from run_graph import add_epoch, decision, end, new_run, process

from aiida_slhmc.cli import launch_run
from aiida_slhmc.cli.launch import command
from aiida_slhmc.cli.launch_inputs import get_builder
from aiida_slhmc.cli.launch_restart import CODES, restart_arguments, restart_builder, restart_settings
from aiida_slhmc.cli.launch_settings import EpochSettings, SlhmcSettings
from aiida_slhmc.cli.settings import check_settings
from aiida_slhmc.cli.settings_options import collect_values
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.targets.vasp import VaspTarget

STEPS = ("--n-steps", 4, "--temperature", 300, "--set", "parameters.sampling_interval=2", "--device", "cpu")


def called(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(result: Result, message: str, code: int = 1) -> None:
    """Ended with this exit status and one message, without a traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert message in result.output


@pytest.fixture(scope="module")
def md(structure: orm.StructureData, foundation: MaceModelData) -> tuple[Any, ...]:
    """Arguments of a short molecular dynamics, but for the code."""
    return ("md", "--structure", structure.pk, "--model", foundation.pk, *STEPS)


def test_run_here(md: tuple[Any, ...], python_code: orm.Code) -> None:
    """Fails where nothing runs, its PK is not told at once, or a run that ends well is an error."""
    result = called(*md, "--python-code", python_code.full_label, "--role", "adapted_md")
    assert result.exit_code == 0, result.output
    first, *_ = result.output.splitlines()
    found = re.fullmatch(r"started MdWorkChain (\d+)", first)
    assert found, result.output
    node = orm.load_node(int(found[1]))
    assert node.is_finished_ok
    assert node.outputs.trajectory.base.attributes.get("role") == "adapted_md"
    assert len(node.outputs.trajectory.get_stepids()) == 2


def test_a_run_that_fails(md: tuple[Any, ...], computer: orm.Computer, tmp_path: Path) -> None:
    """Fails where the exit status is 0 although the process failed, or it is not said where to look."""
    program = tmp_path / "no_python"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    code = orm.InstalledCode(label=f"fails-{tmp_path.name}", computer=computer, filepath_executable=str(program))
    code.with_mpi = False
    result = called(*md, "--python-code", code.store().full_label)
    refused(result, "ended with exit status 412")
    assert "verdi process report" in result.output


def test_submit_without_a_broker(md: tuple[Any, ...], python_code: orm.Code) -> None:
    """Fails where a profile without a daemon gives a traceback."""
    result = called(*md, "--python-code", python_code.full_label, "--submit")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)


def test_restart_takes_over(monkeypatch: pytest.MonkeyPatch, python_code: orm.Code, vasp_code: orm.Code) -> None:
    """Fails where a restart computes stored labels again, or an option does not reach it."""
    asked: dict[str, Any] = {}
    builder = {part: {"code": "of the run"} for part in CODES}

    def restart_builder(node: orm.Node, **given: Any) -> dict[str, Any]:
        asked.update(given, pk=node.pk)
        return builder

    def run_here(builder: ProcessBuilder, *, take_over: bool) -> orm.Node:
        asked.update(builder=builder, take_over=take_over)
        return orm.load_node(asked["pk"])

    monkeypatch.setattr("aiida_slhmc.workflows.restart.get_restart_builder", restart_builder)
    monkeypatch.setattr(launch_run, "run_here", run_here)
    run = new_run()
    end(run, {})
    words = ["--label-budget", 30, "--python-code", python_code.full_label, "--code", vasp_code.full_label]
    words += ["--set", "target_options.options.queue_name=long", "--set", "python_options={withmpi: false}"]
    result = called("slhmc", "--restart", run.pk, *words)
    assert result.exit_code == 0, result.output
    codes = [asked.pop(name).uuid for name in ("python_code", "target_code")]
    assert codes == [python_code.uuid, vasp_code.uuid]
    given = {"label_budget": 30, "target_options": {"queue_name": "long"}, "python_options": {"withmpi": False}}
    assert asked == {"pk": run.pk, "builder": builder, "take_over": True, **given}


@pytest.mark.parametrize("words", ["--seed 0", "--temperature 300", "--set target_options.incar.encut=300"])
def test_restart_with_other_settings(words: str, aiida_profile: Any) -> None:
    """Fails where a setting that a restart cannot change is silently left out."""
    refused(called("slhmc", "--restart", new_run().pk, *words.split()), "takes all settings from the run itself")


def test_arguments_of_a_restart_say_the_same(aiida_profile: Any) -> None:
    """Fails where the process that runs, while this one shows it, is given other settings."""
    given = {
        "overrides": {"label_budget": 3},
        "target_options": {"code": "a@b", "options": {"account": "x y", "n": None}},
    }
    settings = restart_settings(given)
    _, pk, *words = restart_arguments("17", settings)
    assert pk == "17"
    assert restart_settings(collect_values(SlhmcSettings, {}, tuple(words[1::2]), {})) == settings


def test_restart_of_an_imported_run(
    finished_run: orm.WorkChainNode, python_code: orm.Code, vasp_code: orm.Code
) -> None:
    """Fails where a run without codes cannot be gone on with, or begins without one."""
    content = {"trajectory": orm.Dict({"n_steps": 4, "timestep": 1.0}), "target__engine": orm.Str("vasp")}
    run = new_run(**content, model=finished_run.outputs.model, parameters=finished_run.inputs.parameters)
    refused(
        called("slhmc", "--restart", run.pk), "no code for its proposal, as one that was imported: give --python-code"
    )
    python = ("--python-code", python_code.full_label)
    refused(
        called("slhmc", "--restart", run.pk, *python), "no code for its target, as one that was imported: give --code"
    )
    values = {
        "python_code": python_code.full_label,
        "target_options": {"code": vasp_code.full_label, "options": {"a": 1}},
    }
    builder: Any = restart_builder(str(run.pk), restart_settings(values))
    assert builder.proposal.code.uuid == builder.fine_tune.code.uuid == python_code.uuid
    assert builder.target["code"].uuid == vasp_code.uuid
    assert builder.target["options"].get_dict() == {"a": 1}


def test_restart_of_what_is_no_run(aiida_profile: Any) -> None:
    """Fails where a wrong PK gives a traceback."""
    other = process(orm.WorkChainNode, "MdWorkChain", {})
    refused(called("slhmc", "--restart", other.pk), "is not a run of SlhmcWorkChain")
    refused(called("slhmc", "--restart", 10**9), "there is no node")


def flat(inputs: dict[str, Any], prefix: str) -> dict[str, orm.Data]:
    """Nested inputs by the labels of their links."""
    found: dict[str, orm.Data] = {}
    for name, value in inputs.items():
        label = f"{prefix}__{name}"
        found |= flat(value, label) if isinstance(value, dict) else {label: value}
    return found


@pytest.fixture
def target(structure: orm.StructureData, vasp_code: orm.Code, family: str) -> dict[str, orm.Data]:
    """Inputs of a run for its labels."""
    options = {"code": vasp_code, "potential_family": family}
    return flat(VaspTarget.get_inputs(structure=structure, functional="pbe", **options), "target")


@pytest.fixture
def finished_run(
    python_code: orm.Code,
    foundation: MaceModelData,
    walkers: dict[str, ConfigurationData],
    target: dict[str, orm.Data],
) -> orm.WorkChainNode:
    """A run with two epochs and all that a long epoch takes from it."""
    run = new_run(
        **target,
        parameters=orm.Dict({"temperature": 300.0, "seed": 5, "ensemble": "nvt"}),
        target__engine=orm.Str("vasp"),
        proposal__code=python_code,
        max_failed_labels=orm.Int(4),
        clean_workdir=orm.Bool(True),
    )
    for number in range(2):
        add_epoch(run, number, [decision(number, 0, (True, False))], is_finished=True)
    outputs = {f"walkers__{name}": node for name, node in walkers.items()}
    end(run, {"model": foundation, "trajectory": orm.Dict({"n_steps": 9, "timestep": 1.0}), **outputs})
    return run


def test_epoch_goes_on_from_the_run(finished_run: orm.WorkChainNode, walkers: dict[str, ConfigurationData]) -> None:
    """Fails where model, walkers or trajectory are not the run's last ones, or its random numbers are used again."""
    values = {"run": finished_run.pk, "n_cycles": 50, "seed": 8}
    builder: Any = get_builder(check_settings(EpochSettings, values))
    assert builder.model.uuid == finished_run.outputs.model.uuid
    assert builder.trajectory["n_steps"] == 9
    assert {name: node.uuid for name, node in builder.walkers.items()} == {k: node.uuid for k, node in walkers.items()}
    assert builder.epoch.value == 2
    assert builder.n_cycles.value == 50
    assert builder.parameters.get_dict() == {"temperature": 300.0, "seed": 8, "ensemble": "nvt"}
    assert builder.target["engine"].value == "vasp"
    assert builder.target["parameters"].uuid == finished_run.inputs.target.parameters.uuid


def test_epoch_of_an_unfinished_run(aiida_profile: Any) -> None:
    """Fails where a long epoch begins with a model that is not the run's last one."""
    refused(called("epoch", "--run", new_run().pk, "--n-cycles", 3), "no self-learning run that has finished well")


def test_the_child_of_the_display_says_why_it_cannot_begin(aiida_profile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where an error of the child is lost, or waited for forever."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ValueError, match="could not be started"):
        launch_run.run_watched(["slhmc"], launch_run.Console())


def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> orm.ProcessNode:
    """What run_watched returns where the child is this shell script; logs go into *tmp_path*."""
    program = tmp_path / "child"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return launch_run.run_watched(["slhmc"], launch_run.Console())


def test_a_child_that_dies_after_it_has_begun(
    aiida_profile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fails where what it said last is lost, or a run that nobody works on any more seems to go on."""
    run = new_run()
    lines = "\n".join(f"echo line {k}" for k in range(30))
    node = watched(
        tmp_path, monkeypatch, f"echo started SlhmcWorkChain {run.pk}\n{lines}\necho out of memory\nkill -9 $$"
    )
    shown = capsys.readouterr().err
    assert "line 20\n" in shown
    assert "line 2\n" not in shown
    assert "out of memory" in shown
    (log,) = tmp_path.glob("*.log")
    assert str(log) in shown
    assert "line 2\n" in log.read_text()
    with pytest.raises(click.ClickException, match=r"left unfinished.*has died.*--restart"):
        launch_run.finish(node)


def test_a_child_that_ends_well_leaves_no_log(
    aiida_profile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    end(run, {})
    node = watched(tmp_path, monkeypatch, f"echo started SlhmcWorkChain {run.pk}")
    assert node.is_finished_ok
    assert list(tmp_path.glob("*.log")) == []


def test_ctrl_c_says_how_to_go_on(aiida_profile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where the child is left behind, or the user has to look for the PK."""
    run = new_run()
    children = []
    popen = launch_run.subprocess.Popen

    def start(*arguments: Any, **options: Any) -> Any:
        children.append(popen(*arguments, **options))
        return children[0]

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch_run.subprocess, "Popen", start)
    monkeypatch.setattr(launch_run, "watch", interrupted)
    message = f"stopped SlhmcWorkChain {run.pk}.*aiida-slhmc launch slhmc --restart {run.pk}"
    with pytest.raises(click.ClickException, match=message):
        watched(tmp_path, monkeypatch, f"echo started SlhmcWorkChain {run.pk}\nexec sleep 60")
    assert children[0].poll() is not None

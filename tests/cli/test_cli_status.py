"""`aiida-slhmc status`: lists of runs and single runs, in every state that they may be in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.manage import get_manager
from aiida.manage.configuration import get_config
from aiida.schedulers import JobState
from click.testing import CliRunner, Result
from run_graph import add_epoch, chain_of, decision, end, new_run, process

from aiida_slhmc.analysis.run_summary import summarise_chains
from aiida_slhmc.calculations.epoch import read_chain
from aiida_slhmc.cli import status

FIRST = [decision(0, cycle, (True, False)) for cycle in range(3)]


def called(*arguments: Any) -> Result:
    return CliRunner().invoke(status.command, [str(argument) for argument in arguments])


def rows(result: Result) -> dict[int, str]:
    """The lines of the table that begin with a PK."""
    lines = [line for line in result.output.splitlines() if line.split() and line.split()[0].isdigit()]
    return {int(line.split()[0]): line for line in lines}


@pytest.fixture
def running(aiida_profile: Any) -> orm.WorkChainNode:
    """Epoch 0 finished, epoch 1 in its first cycle."""
    node = new_run()
    add_epoch(node, 0, FIRST, is_finished=True)
    add_epoch(node, 1, [decision(1, 0, (True, True))], is_finished=False)
    return node


@pytest.mark.usefixtures("aiida_profile")
def test_an_empty_profile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where an empty table is all that a new user sees."""
    monkeypatch.setattr("aiida_slhmc.report.process_state.find_launched", lambda *_, **__: [])
    result = called()
    assert result.exit_code == 0
    assert "There are no runs" in result.output


def test_list(running: orm.WorkChainNode) -> None:
    """Fails where a run is missing, or its state, labels or acceptance are others."""
    failed = new_run()
    end(failed, {}, status=402)
    result = called()
    lines = {
        int(line.split()[0]): line
        for line in result.output.splitlines()
        if line.split()[:1][0:1] and line.split()[0].isdigit()
    }
    assert {running.pk, failed.pk} <= set(lines), result.output
    assert "8/24" in lines[running.pk]
    assert "1.00" in lines[running.pk]
    assert "exit status 402" in lines[failed.pk]
    unfinished = rows(called("--unfinished"))
    assert running.pk in unfinished
    assert failed.pk not in unfinished
    assert list(rows(called("--last", 1))) == [failed.pk]


def test_running(running: orm.WorkChainNode) -> None:
    """Fails where a run that goes on is called ended, or the command waits for its end."""
    result = called(running.pk)
    assert result.exit_code == 0
    assert "epoch 1, cycle 1/3, 8/24 labels, acceptance 1.00" in result.output
    assert "not finished" in result.output


def test_finished(aiida_profile: Any) -> None:
    """Fails where the table of the epochs is missing, or how the run ended."""
    node = new_run()
    add_epoch(node, 0, FIRST, is_finished=True)
    history = orm.Dict(summarise_chains([read_chain(chain_of(FIRST))])).store()
    end(node, {"history": history})
    output = called(node.pk).output
    assert "forward predictions" in output
    assert f"run {node.pk}: finished" in output
    assert "--restart" not in output


def test_failed(aiida_profile: Any) -> None:
    """Fails where a run that failed does not say why, and how to go on."""
    node = new_run()
    end(node, {}, status=402)
    output = called(node.pk).output
    assert "exit status 402: so and so." in output
    assert f"aiida-slhmc launch slhmc --restart {node.pk}" in output


def test_failed_before_its_first_epoch(aiida_profile: Any) -> None:
    """Fails where a run that has ended is said to label its start."""
    node = new_run()
    end(node, {}, status=402)
    assert "ended before its first epoch, 0/24 labels" in called(node.pk).output


def test_epoch_alone(aiida_profile: Any) -> None:
    """Fails where an epoch that was launched by itself is not listed, or has no numbers of its own."""
    inputs = {"epoch": orm.Int(3), "n_cycles": orm.Int(5)}
    walkers = {f"walkers__walker_{k}": orm.Int(k) for k in range(2)}
    node = process(orm.WorkChainNode, "EpochWorkChain", inputs | walkers)
    for cycle in range(2):
        call = process(orm.CalcFunctionNode, "metropolis", {}, (node, f"decide_{cycle:05d}"))
        end(call, {"result": orm.Dict(decision(3, cycle, (True, False)))})
    assert "epoch 3, cycle 2/5, 4/10 labels, acceptance 0.50" in called(node.pk).output
    line = rows(called())[node.pk]
    assert "4/10" in line
    assert "Epoch" in line


def test_other_processes(computer: orm.Computer, tmp_path: Path) -> None:
    """Fails where a molecular dynamics has no state, its job's progress is lost, or one that is called is listed."""
    node = process(orm.WorkChainNode, "MdWorkChain", {})
    first, second = (
        process(orm.CalcJobNode, "MaceMdCalculation", {}, (node, f"iteration_{k:02d}"), computer) for k in range(1, 3)
    )
    end(first, {}, status=311)
    second.set_remote_workdir(str(tmp_path))
    second.set_scheduler_state(JobState.RUNNING)
    second.set_job_id("77")
    (tmp_path / "worker.out").write_text("step 1/9\nstep 4/9 (44 %)\nstep 5")
    output = called(node.pk).output
    assert f"MdWorkChain {node.pk}: running" in output
    assert "MaceMdCalculation 1/2 ended, 1 failed" in output
    assert f"MaceMdCalculation {second.pk}: running on {computer.label}, job 77, step 4/9 (44 %)" in output
    listed = rows(called())
    assert "Md" in listed[node.pk]
    end(second, {}, status=0)
    end(node, {}, status=403)
    output = called(node.pk).output
    assert f"MdWorkChain {node.pk}: exit status 403: so and so." in output
    assert "--restart" not in output


def test_called_processes_are_not_listed(running: orm.WorkChainNode) -> None:
    """Fails where each epoch of a run is a run."""
    epochs = {child.pk for child in running.called}
    assert epochs
    assert not epochs & set(rows(called()))


def test_follow_sees_what_happens_and_ends_with_the_run(running: orm.WorkChainNode, monkeypatch: Any) -> None:
    """Fails where the display does not look again, or goes on after the end of the run."""
    looks = []
    sleep = time.sleep

    def work(seconds: float) -> None:
        """What the run does between two looks."""
        looks.append(seconds)
        if len(looks) == 1:
            add_epoch(running, 2, [decision(2, 0, (False, True))], is_finished=False)
        else:
            end(running, {}, status=0)
        sleep(0)

    monkeypatch.setattr("aiida_slhmc.report.display.time.sleep", work)
    result = called(running.pk, "--follow", "--interval", 0.7)
    assert result.exit_code == 0, result.output
    assert looks == [0.7, 0.7]
    assert "epoch 2, cycle 1/3" in result.output
    assert f"run {running.pk}: finished" in result.output


def test_ctrl_c_ends_the_display_only(running: orm.WorkChainNode, monkeypatch: Any) -> None:
    """Fails where Ctrl-C is an error, or the user is left to think that the run was stopped."""

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aiida_slhmc.report.display.time.sleep", interrupted)
    result = called(running.pk, "--follow")
    assert result.exit_code == 0
    assert "the run goes on" in result.output


@pytest.mark.usefixtures("aiida_profile")
def test_user_errors() -> None:
    """Fails where a wrong PK or option gives a traceback."""
    other = orm.Int(1).store()
    for arguments, message, code in (
        ((other.pk,), "is a Int, not a ProcessNode", 1),
        ((10**9,), "no node", 1),
        (("nonsense",), "no node", 1),
        (("--follow",), "needs the PK", 2),
    ):
        result = called(*arguments)
        assert result.exit_code == code, result.output
        assert isinstance(result.exception, SystemExit)
        assert message in result.output


def test_help_has_an_example() -> None:
    assert "aiida-slhmc status 1234 --follow" in called("--help").output


def test_from_another_process(running: orm.WorkChainNode) -> None:
    """Fails where it needs the process that works on the run."""
    profile, folder = get_manager().get_profile(), Path(get_config().dirpath)
    assert profile is not None
    command = [sys.executable, "-W", "ignore", "-m", "aiida_slhmc.cli", "-p", profile.name, "status", str(running.pk)]
    environment = os.environ | {"AIIDA_PATH": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch 1, cycle 1/3, 8/24 labels" in done.stdout

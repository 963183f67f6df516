"""What FineTuneWorkChain and MdWorkChain have in common: no crash repeats a job, and every failure has a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode, ProcessState
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_slhmc.calculations.worker_calculation import MaceCalculation
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain
from aiida_slhmc.workflows.md import MdWorkChain
from aiida_slhmc.workflows.worker_work_chain import WorkerWorkChain

CODES = MaceCalculation.exit_codes


@pytest.fixture(params=[FineTuneWorkChain, MdWorkChain], ids=["fine_tune", "md"])
def chain_of(request, fine_tune_inputs, md_inputs) -> Callable[..., WorkerWorkChain]:
    """Function: a work chain with these inputs replaced, set up and about to start its first job."""
    given = fine_tune_inputs if request.param is FineTuneWorkChain else md_inputs

    def make(**changes: Any) -> WorkerWorkChain:
        process = instantiate_process(get_manager().get_runner(), request.param, **given | changes)
        process.setup()
        process.ctx.children = []
        return process

    return make


def job_of(process: WorkerWorkChain, computer: orm.Computer) -> orm.CalcJobNode:
    """A job of its calculation, not stored."""
    node = orm.CalcJobNode(computer=computer, process_type=process._process_class.build_process_type())
    node.set_option("resources", {"num_machines": 1, "tot_num_mpiprocs": 1})
    node.base.attributes.set("process_label", process._process_class.__name__)
    return node


def after(
    process: WorkerWorkChain, computer: orm.Computer, code: ExitCode, state: ProcessState = ProcessState.FINISHED
) -> ExitCode | None:
    """What the work chain returns once its next job has ended with this exit code, or in this state without one."""
    node = job_of(process, computer).store()
    node.set_process_state(state)
    if state is ProcessState.FINISHED:
        node.set_exit_status(code.status)
        node.set_exit_message(code.message)
    else:
        node.set_exception("no space left")
    process.ctx.iteration += 1
    process.ctx.children.append(node)
    return process.inspect_process()


@pytest.mark.parametrize("iterations", [5, 1])
def test_killed_by_the_scheduler(chain_of, computer, iterations: int) -> None:
    """Fails where the last of the iterations is blamed for it."""
    process = chain_of(max_iterations=orm.Int(iterations))
    code = after(process, computer, CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME)
    assert code.status == process.exit_codes.ERROR_WALLTIME_TOO_SHORT.status
    assert "Raise max_wallclock_seconds" in code.message
    assert not process.should_run_process()


@pytest.mark.parametrize("name", ["ERROR_SCHEDULER_NODE_FAILURE", "ERROR_OUTPUT_INCOMPLETE"])
def test_accident_is_repeated_once(chain_of, computer, name: str) -> None:
    """Fails where a broken node costs a run, or a broken disk repeats for ever."""
    process = chain_of()
    accident = CODES[name].format(reason="half a file")
    assert after(process, computer, accident).status == 0
    assert process.should_run_process()
    code = after(process, computer, accident)
    assert code.status == process.exit_codes.ERROR_CALCULATION_FAILED.status
    assert f"exit code {CODES[name].status}" in code.message
    assert not process.should_run_process()


def test_job_that_excepted_is_repeated_once(chain_of, computer) -> None:
    """AiiDA's broker or its database was away. Fails where that costs a run, or an error repeats for ever."""
    process = chain_of()
    assert after(process, computer, ExitCode(), ProcessState.EXCEPTED) is None
    assert process.should_run_process()
    code = after(process, computer, ExitCode(), ProcessState.EXCEPTED)
    assert code.status == process.exit_codes.ERROR_CALCULATION_FAILED.status
    assert "excepted: no space left" in code.message
    assert not process.should_run_process()


def test_job_that_was_killed_is_not_repeated(chain_of, computer) -> None:
    """Somebody wanted it to end."""
    process = chain_of()
    code = after(process, computer, ExitCode(), ProcessState.KILLED)
    assert code.status == process.exit_codes.ERROR_CALCULATION_FAILED.status
    assert "was killed" in code.message
    assert not process.should_run_process()


def test_other_failures_are_not_repeated(chain_of, computer) -> None:
    """Fails where a wrong interpreter costs another wait in the queue, or the reason is lost."""
    process = chain_of()
    code = after(process, computer, CODES.ERROR_NO_RESULT.format(reason="No module named mace"))
    assert code.status == process.exit_codes.ERROR_CALCULATION_FAILED.status
    assert "exit code 300" in code.message
    assert "No module named mace" in code.message
    assert not process.outputs


def test_job_that_runs_already_is_not_launched_again(chain_of, computer) -> None:
    """Fails where a crash between launching a job and saving the work chain's state runs it twice."""
    process = chain_of()
    node = job_of(process, computer)
    node.base.links.add_incoming(process.node, link_type=LinkType.CALL_CALC, link_label="iteration_01")
    node.store()
    process.run_process()
    assert process.ctx.iteration == 1
    assert [child.uuid for child in process.node.called] == [node.uuid]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_iterations": lambda: orm.Int(0)}, "must be at least 1"),
        ({"options": lambda: orm.Dict({"max_wallclock_second": 5})}, "options: .*max_wallclock_second"),
    ],
)
def test_wrong_inputs_are_refused(chain_of, changes: dict[str, Callable[[], Any]], message: str) -> None:
    """Fails where a mistake costs a queue's wait."""
    with pytest.raises(ValueError, match=message):
        chain_of(**{name: make() for name, make in changes.items()})

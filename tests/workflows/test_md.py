"""MdWorkChain: what it does after each way in which a job ends, and one run in pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode, ProcessState, run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from md_examples import RESULT, frames, state
from run_examples import MD_OPTIONS

from aiida_slhmc.calculations.mace_md import MaceMdCalculation
from aiida_slhmc.calculations.trajectory import join_runs, make_trajectory, remaining_steps, summarise
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.workflows.md import MdWorkChain

CODES = MaceMdCalculation.exit_codes
OWN_CODES = MdWorkChain.exit_codes
SYMBOLS = ["Ti", "Ti", "O", "O", "O", "O"]
OUTPUTS = {"trajectory", "state", "results"}


@pytest.fixture
def chain_of(md_inputs) -> Callable[..., MdWorkChain]:
    """Function: a work chain with these inputs replaced, set up and about to start its first job."""

    def make(**changes: Any) -> MdWorkChain:
        given = {key: value for key, value in (md_inputs | changes).items() if value is not None}
        process = instantiate_process(get_manager().get_runner(), MdWorkChain, **given)
        process.setup()
        process.ctx.children = []
        return process

    return make


def ended(computer: orm.Computer, code: ExitCode, steps: tuple[int, int] | None = None) -> orm.CalcJobNode:
    """A job that ended with this exit code; *steps*: its first and its last step, where it has outputs."""
    node = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:slhmc.mace_md")
    node.set_option("resources", {"num_machines": 1, "tot_num_mpiprocs": 1})
    node.base.attributes.set("process_label", "MaceMdCalculation")
    node.store()
    node.set_process_state(ProcessState.FINISHED)
    node.set_exit_status(code.status)
    node.set_exit_message(code.message)
    if steps is None:
        return node
    for name, data in outputs_of(*steps, diverged=code.status == CODES.ERROR_DIVERGED.status).items():
        data.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label=name)
        data.store()
    return node


def outputs_of(first: int, last: int, *, diverged: bool = False) -> dict[str, orm.Data]:
    """What a job leaves that went from after step *first* to step *last*; before step 0 is the equilibration."""
    sampled = [step for step in range(max(first, 0) + 1, last + 1) if step % 2 == 0]
    n_equilibration = max(0, min(last, 0) - first)
    result = {key: RESULT[key] for key in ("steps_per_second", "seconds", "device")}
    result |= {"n_steps": last - first - n_equilibration, "n_equilibration_steps": n_equilibration}
    result |= {"n_frames": len(sampled), "last_step": last}
    made: dict[str, orm.Data] = {"results": orm.Dict(result)}
    if sampled:
        options = MdParameters.from_dict(MD_OPTIONS).to_dict()
        made["trajectory"] = make_trajectory(SYMBOLS, frames(len(sampled), sampled[0]), options, "adapted_md")
    if not diverged:
        made["state"] = orm.ArrayData(state(last))
    return made


def after(process: MdWorkChain, node: orm.CalcJobNode) -> ExitCode | None:
    """What the work chain returns once its next job has ended as *node*."""
    process.ctx.iteration += 1
    process.ctx.children.append(node)
    return process.inspect_process()


WALLTIME = CODES.ERROR_WALLTIME.format(reason="the time was up")
DIVERGED = CODES.ERROR_DIVERGED.format(reason="after 5 steps: too hot")


def test_end_of_a_good_run(chain_of, computer) -> None:
    """The control: no handler, and the job's own outputs, not copies."""
    process = chain_of()
    node = ended(computer, ExitCode(0), (0, 10))
    assert after(process, node) is None
    assert not process.should_run_process()
    process.results()
    assert {name: data.uuid for name, data in process.outputs.items()} == {
        name: node.outputs[name].uuid for name in OUTPUTS
    }


def test_walltime_goes_on_from_the_state(chain_of, computer, md_inputs) -> None:
    """Fails where steps are done twice, or the number of those that are left has no provenance."""
    process = chain_of()
    node = ended(computer, WALLTIME, (0, 7))
    assert after(process, node).status == 0
    assert process.should_run_process()
    given = process.ctx.inputs
    assert given.state.uuid == node.outputs.state.uuid
    assert "structure" not in given
    assert given.parameters.get_dict() == MD_OPTIONS | {"n_steps": 3, "n_equilibration_steps": 0}
    assert given.parameters.creator.process_label == "remaining_steps"
    assert (given.model.uuid, given.role.uuid) == (md_inputs["model"].uuid, md_inputs["role"].uuid)


def test_walltime_in_the_equilibration(chain_of, computer) -> None:
    process = chain_of(parameters=orm.Dict(MD_OPTIONS | {"n_equilibration_steps": 6}))
    after(process, ended(computer, WALLTIME, (-6, -2)))
    left = process.ctx.inputs.parameters
    assert (left["n_steps"], left["n_equilibration_steps"]) == (10, 2)
    after(process, ended(computer, WALLTIME, (-2, 1)))
    left = process.ctx.inputs.parameters
    assert (left["n_steps"], left["n_equilibration_steps"]) == (9, 0)


def test_pieces_are_joined(chain_of, computer) -> None:
    """Three jobs, the second without a frame, cut between frames: one trajectory without a seam, by a process."""
    process = chain_of()
    nodes = [
        ended(computer, WALLTIME, (0, 6)),
        ended(computer, WALLTIME, (6, 7)),
        ended(computer, ExitCode(0), (7, 10)),
    ]
    for node in nodes:
        after(process, node)
    assert not process.should_run_process()
    process.results()
    assert set(process.outputs) == OUTPUTS
    trajectory, results = process.outputs["trajectory"], process.outputs["results"].get_dict()
    assert trajectory.creator.process_label == "join_runs"
    assert trajectory.get_stepids().tolist() == [2, 4, 6, 8, 10]
    parts = [node.outputs.trajectory for node in (nodes[0], nodes[2])]
    for name in frames():
        expected = np.concatenate([part.get_array(name) for part in parts])
        np.testing.assert_array_equal(trajectory.get_array(name), expected, err_msg=name)
    about = {"role": "adapted_md", "ensemble": "nvt", "sampling_interval": 2, "time_unit": "fs"}
    assert {key: trajectory.base.attributes.get(key) for key in about} == about
    assert trajectory.base.attributes.get("parameters")["n_steps"] == 10
    sums = {"n_steps": 10, "n_frames": 5, "seconds": 4.5, "last_step": 10, "steps_per_second": 20.0}
    assert {key: results[key] for key in sums} == pytest.approx(sums)
    assert results["temperature_mean"] == pytest.approx(np.mean(trajectory.get_array("temperatures")))
    assert process.outputs["state"].uuid == nodes[2].outputs.state.uuid


def test_pieces_that_do_not_make_one_run_are_a_failure(chain_of, computer) -> None:
    """Frames are missing between them. Fails where the last piece passes for the whole, or there is no reason."""
    process = chain_of()
    for node in (ended(computer, WALLTIME, (0, 4)), ended(computer, ExitCode(0), (6, 10))):
        after(process, node)
    with process._process_scope():
        code = process.results()
    assert code.status == OWN_CODES.ERROR_CALCULATION_FAILED.status
    assert "join_runs" in code.message
    assert "frames are missing or doubled" in code.message
    assert set(process.outputs) == {"state"}


@pytest.mark.parametrize("last", [3, 5], ids=["missing", "doubled"])
def test_seams_are_checked(md_inputs, last: int) -> None:
    """Frames up to step 4, and on after step 6, or after step 3. Fails where a gap becomes part of an average."""
    first, second = outputs_of(0, 4), outputs_of(6 if last == 3 else 3, 10)
    given = {f"{name}_{k}": piece[name].store() for k, piece in enumerate((first, second)) for name in piece}
    given = {key: node for key, node in given.items() if not key.startswith("state")}
    with pytest.raises(ValueError, match="frames are missing or doubled"):
        join_runs(parameters=md_inputs["parameters"], **given)


def test_pieces_of_other_atoms_are_not_joined(md_inputs) -> None:
    options = MdParameters.from_dict(MD_OPTIONS).to_dict()
    given = {
        f"trajectory_{k}": make_trajectory(s, frames(2, 2 + 4 * k), options, None).store()
        for k, s in enumerate((SYMBOLS, SYMBOLS[::-1]))
    }
    results = {f"results_{k}": outputs_of(4 * k, 4 * k + 4)["results"].store() for k in range(2)}
    with pytest.raises(ValueError, match="different atoms"):
        join_runs(parameters=md_inputs["parameters"], **given, **results)


def test_remaining_steps_keeps_all_else() -> None:
    parameters = orm.Dict(MD_OPTIONS | {"n_equilibration_steps": 4, "timestep": 0.5})
    left = remaining_steps(parameters, outputs_of(-4, 3)["results"])
    assert left.get_dict() == MD_OPTIONS | {"n_equilibration_steps": 0, "timestep": 0.5, "n_steps": 7}


def test_drift_of_joined_pieces_is_that_of_the_whole() -> None:
    """1 meV per atom and ps, as in each of the pieces."""
    whole = {name: np.concatenate([frames(3, 2)[name], frames(3, 8)[name]]) for name in frames()}
    assert summarise(whole, 6)["conserved_energy_drift"] == pytest.approx(1.0, rel=1e-6)


def test_walltime_for_the_last_time(chain_of, computer) -> None:
    """Fails where what was done is lost, or cannot be gone on from."""
    process = chain_of(max_iterations=orm.Int(2))
    assert after(process, ended(computer, WALLTIME, (0, 4))).status == 0
    last = ended(computer, WALLTIME, (4, 8))
    code = after(process, last)
    assert code.status == CODES.ERROR_WALLTIME.status == OWN_CODES.ERROR_WALLTIME.status
    assert "the time was up" in code.message
    assert process.outputs["trajectory"].get_stepids().tolist() == [2, 4, 6, 8]
    assert process.outputs["state"].uuid == last.outputs.state.uuid
    assert not process.should_run_process()


@pytest.mark.parametrize("before", [False, True])
def test_walltime_without_room_for_a_step(chain_of, computer, before: bool) -> None:
    """Fails where fifty jobs wait in the queue for nothing, or what was done before is lost."""
    process = chain_of()
    if before:
        assert after(process, ended(computer, WALLTIME, (0, 4))).status == 0
    code = after(process, ended(computer, WALLTIME, (4, 4)))
    assert code.status == OWN_CODES.ERROR_WALLTIME_TOO_SHORT.status
    assert "Raise max_wallclock_seconds" in code.message
    assert set(process.outputs) == (OUTPUTS if before else set())


@pytest.mark.parametrize("before", [False, True])
def test_divergence_keeps_what_came_before(chain_of, computer, before: bool) -> None:
    process = chain_of()
    if before:
        after(process, ended(computer, WALLTIME, (0, 4)))
    code = after(process, ended(computer, DIVERGED, (4 if before else 0, 9)))
    assert code.status == CODES.ERROR_DIVERGED.status == OWN_CODES.ERROR_DIVERGED.status
    assert "too hot" in code.message
    assert set(process.outputs) == {"trajectory", "results"}
    assert process.outputs["trajectory"].get_stepids().tolist() == [2, 4, 6, 8]
    assert not process.should_run_process()


@pytest.mark.parametrize("name", ["ERROR_OUT_OF_MEMORY", "ERROR_SCHEDULER_OUT_OF_MEMORY"])
def test_out_of_memory(chain_of, computer, name: str) -> None:
    process = chain_of()
    code = after(process, ended(computer, CODES[name].format(reason="CUDA is full")))
    assert code.status == OWN_CODES.ERROR_OUT_OF_MEMORY.status
    assert "ask for more memory" in code.message


def test_accident_is_repeated_from_the_same_state(chain_of, computer) -> None:
    """The second time it ends, and hands out what there is."""
    process = chain_of()
    first = ended(computer, WALLTIME, (0, 4))
    after(process, first)
    assert after(process, ended(computer, CODES.ERROR_SCHEDULER_NODE_FAILURE)).status == 0
    assert process.ctx.inputs.state.uuid == first.outputs.state.uuid
    code = after(process, ended(computer, CODES.ERROR_SCHEDULER_NODE_FAILURE))
    assert code.status == OWN_CODES.ERROR_CALCULATION_FAILED.status
    assert {label: node.uuid for label, node in process.outputs.items()} == {
        label: first.outputs[label].uuid for label in OUTPUTS
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": lambda: orm.Dict(MD_OPTIONS | {"temperatur": 1})}, "did you mean 'temperature'"),
        ({"structure": lambda: None}, "give either `structure`"),
    ],
)
def test_wrong_inputs_are_refused(chain_of, changes: dict[str, Callable[[], Any]], message: str) -> None:
    """Fails where a mistake costs a queue's wait."""
    with pytest.raises(ValueError, match=message):
        chain_of(**{name: make() for name, make in changes.items()})


def test_real_run(md_inputs) -> None:
    """One real job."""
    _, node = run_get_node(MdWorkChain, **md_inputs)
    assert node.is_finished_ok, node.exit_message
    assert node.outputs.trajectory.get_stepids().tolist() == [2, 4, 6, 8, 10]
    assert node.outputs.trajectory.creator.process_label == "MaceMdCalculation"


@pytest.mark.slow
@pytest.mark.long
def test_real_run_in_pieces(md_inputs) -> None:
    """Real wall times, one after the other, and the frames as if there had been none: the control is one job's."""
    endless = orm.Dict(MD_OPTIONS | {"n_steps": 1000000})
    changes = {"parameters": endless, "options": orm.Dict({"max_wallclock_seconds": 60}), "max_iterations": orm.Int(2)}
    _, node = run_get_node(MdWorkChain, **md_inputs | changes)
    assert node.exit_status == CODES.ERROR_WALLTIME.status, node.exit_message
    jobs = sorted((child for child in node.called if isinstance(child, orm.CalcJobNode)), key=lambda child: child.pk)
    counts = [job.outputs.results["n_steps"] for job in jobs]
    assert len(counts) == 2
    steps = node.outputs.trajectory.get_stepids()
    assert steps.tolist() == list(range(2, sum(counts) + 1, 2))
    n_beyond = min(sum(counts), counts[0] + 20)
    whole = orm.Dict(MD_OPTIONS | {"n_steps": n_beyond})
    _, alone = run_get_node(MaceMdCalculation, **md_inputs | {"parameters": whole})
    expected = alone.outputs.trajectory.get_positions()
    np.testing.assert_array_equal(node.outputs.trajectory.get_positions()[: len(expected)], expected)

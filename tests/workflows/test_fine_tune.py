"""FineTuneWorkChain: what it does after each way in which a training ends, and one training in pieces."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode, ProcessState, run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from fixtures import FOUNDATION_FILE

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain

CODES = MaceFineTuneCalculation.exit_codes
OWN_CODES = FineTuneWorkChain.exit_codes


@pytest.fixture
def chain_of(fine_tune_inputs) -> Callable[..., FineTuneWorkChain]:
    """Function: a work chain with these inputs replaced, set up and about to start its first job."""

    def make(**changes: Any) -> FineTuneWorkChain:
        process = instantiate_process(get_manager().get_runner(), FineTuneWorkChain, **fine_tune_inputs | changes)
        process.setup()
        process.ctx.children = []
        return process

    return make


def ended(computer: orm.Computer, code: ExitCode, *outputs: str, n_epochs: int = 3) -> orm.CalcJobNode:
    """A training that ended with this exit code, after so many epochs in all, and has these outputs."""
    node = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:slhmc.mace_fine_tune")
    node.set_option("resources", {"num_machines": 1, "tot_num_mpiprocs": 1})
    node.base.attributes.set("process_label", "MaceFineTuneCalculation")
    node.store()
    node.set_process_state(ProcessState.FINISHED)
    node.set_exit_status(code.status)
    node.set_exit_message(code.message)
    made = {
        "model": lambda: MaceModelData(checkpoint=FOUNDATION_FILE),
        "curve": orm.ArrayData,
        "metrics": lambda: orm.Dict({"n_epochs": n_epochs}),
        "training_state": lambda: orm.SinglefileData(io.BytesIO(b"state"), filename="training_state.safetensors"),
    }
    for name in outputs:
        data = made[name]()
        data.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label=name)
        data.store()
    return node


def after(process: FineTuneWorkChain, node: orm.CalcJobNode) -> ExitCode | None:
    """What the work chain returns once its next job has ended as *node*."""
    process.ctx.iteration += 1
    process.ctx.children.append(node)
    return process.inspect_process()


RESULTS = ("model", "curve", "metrics")


def test_end_of_a_good_training(chain_of, computer) -> None:
    """The control: no handler, and the outputs."""
    process = chain_of()
    assert after(process, ended(computer, ExitCode(0), *RESULTS)) is None
    assert not process.should_run_process()
    process.results()
    assert set(process.outputs) == set(RESULTS)


@pytest.mark.parametrize("name", ["ERROR_OUT_OF_MEMORY", "ERROR_SCHEDULER_OUT_OF_MEMORY"])
def test_out_of_memory_halves_the_batch(chain_of, computer, fine_tune_inputs, name: str) -> None:
    """Fails where the same training runs out of memory again, or the new options have no provenance."""
    process = chain_of(training_state=orm.SinglefileData(io.BytesIO(b"state"), filename="state").store())
    assert "training_state" in process.ctx.inputs
    code = after(process, ended(computer, CODES[name].format(reason="so and so")))
    assert code.status == 0
    assert process.should_run_process()
    made = process.ctx.inputs.parameters
    assert made.get_dict() == fine_tune_inputs["parameters"].get_dict() | {"batch_size": 1}
    assert made.creator.process_label == "smaller_batch"
    assert "training_state" not in process.ctx.inputs, "it belongs to the former batches"


def test_out_of_memory_with_single_configurations(chain_of, computer) -> None:
    """Fails where nothing is said of what to do when the batch cannot become smaller."""
    process = chain_of(parameters=orm.Dict({"batch_size": 1}))
    code = after(process, ended(computer, CODES.ERROR_OUT_OF_MEMORY.format(reason="CUDA is full")))
    assert code.status == OWN_CODES.ERROR_OUT_OF_MEMORY.status
    assert "batch of 1" in code.message
    assert "CUDA is full" in code.message
    assert "ask for more memory" in code.message


def test_out_of_memory_in_the_last_iteration(chain_of, computer) -> None:
    process = chain_of(max_iterations=orm.Int(1))
    code = after(process, ended(computer, CODES.ERROR_OUT_OF_MEMORY.format(reason="full")))
    assert code.status == OWN_CODES.ERROR_OUT_OF_MEMORY.status
    assert "batch of 2" in code.message


def test_walltime_goes_on_from_the_state(chain_of, computer, fine_tune_inputs) -> None:
    """Fails where epochs that were paid for are trained again, or other labels or options come in."""
    process = chain_of()
    node = ended(computer, CODES.ERROR_WALLTIME.format(reason="after 3 epochs"), *RESULTS, "training_state")
    assert after(process, node).status == 0
    assert process.should_run_process()
    assert process.ctx.inputs.training_state.uuid == node.outputs.training_state.uuid
    assert process.ctx.inputs.model.uuid == fine_tune_inputs["model"].uuid, "the state holds the weights"
    assert process.ctx.inputs.parameters.uuid == fine_tune_inputs["parameters"].uuid
    assert {name: node.uuid for name, node in process.ctx.inputs.datasets.items()} == {
        name: node.uuid for name, node in fine_tune_inputs["datasets"].items()
    }


@pytest.mark.parametrize(("iterations", "state"), [(1, ["training_state"]), (5, [])], ids=["last time", "no state"])
def test_walltime_for_the_last_time(chain_of, computer, iterations: int, state: list[str]) -> None:
    """Fails where the best model so far is lost."""
    process = chain_of(max_iterations=orm.Int(iterations))
    node = ended(computer, CODES.ERROR_WALLTIME.format(reason="after 3 epochs"), *RESULTS, *state)
    code = after(process, node)
    assert code.status == CODES.ERROR_WALLTIME.status == OWN_CODES.ERROR_WALLTIME.status
    assert "after 3 epochs" in code.message
    assert set(process.outputs) == {*RESULTS, *state}
    assert process.outputs["model"].uuid == node.outputs.model.uuid


WALLTIME = CODES.ERROR_WALLTIME.format(reason="the time was up")


def test_walltime_without_room_for_an_epoch(chain_of, computer) -> None:
    """Fails where five jobs wait in the queue for nothing, or a model that nothing was trained on passes for one."""
    process = chain_of()
    code = after(process, ended(computer, WALLTIME, *RESULTS, "training_state", n_epochs=0))
    assert code.status == OWN_CODES.ERROR_WALLTIME_TOO_SHORT.status
    assert "Raise max_wallclock_seconds" in code.message
    assert not process.outputs


def test_walltime_that_gets_nowhere(chain_of, computer) -> None:
    """Fails where jobs go on that add no epoch, or what was trained before is lost."""
    process = chain_of()
    assert after(process, ended(computer, WALLTIME, *RESULTS, "training_state", n_epochs=2)).status == 0
    assert after(process, ended(computer, WALLTIME, *RESULTS, "training_state", n_epochs=3)).status == 0
    code = after(process, ended(computer, WALLTIME, *RESULTS, "training_state", n_epochs=3))
    assert code.status == CODES.ERROR_WALLTIME.status
    assert set(process.outputs) == {*RESULTS, "training_state"}


@pytest.mark.parametrize("name", ["ERROR_DIVERGED", "ERROR_NO_IMPROVEMENT", "ERROR_WORSE_THAN_PARENT"])
def test_judgement_is_handed_on(chain_of, computer, name: str) -> None:
    """Fails where the caller cannot see that the model is no gain, or has no curve to look at."""
    process = chain_of()
    code = after(process, ended(computer, CODES[name].format(reason="force RMSE 2.00 of the parent's"), *RESULTS))
    assert code.status == CODES[name].status == OWN_CODES[name].status
    assert "force RMSE 2.00" in code.message
    assert set(process.outputs) == set(RESULTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": lambda: orm.Dict({"learning_rat": 1})}, "did you mean 'learning_rate'"),
        ({"parameters": lambda: orm.Dict({"hessian": {"weight": 1}})}, "nothing in `force_constants`"),
        ({"datasets": dict}, "at least one block"),
    ],
)
def test_wrong_inputs_are_refused(chain_of, changes: dict[str, Callable[[], Any]], message: str) -> None:
    """Fails where a mistake costs a queue's wait."""
    with pytest.raises(ValueError, match=message):
        chain_of(**{name: make() for name, make in changes.items()})


@pytest.mark.slow
@pytest.mark.long
def test_training_in_pieces(fine_tune_inputs) -> None:
    """Fails where the second job begins anew, or the labels' provenance of the model is lost between the jobs."""
    # it never ends by itself, so each job uses up its wall time
    endless = {"max_epochs": 100000, "patience": 100000, "batch_size": 2, "device": "cpu"}
    changes = {"parameters": orm.Dict(endless), "max_iterations": orm.Int(2)}
    changes["options"] = orm.Dict({"max_wallclock_seconds": 40})
    _, node = run_get_node(FineTuneWorkChain, **fine_tune_inputs | changes)
    assert node.exit_status == CODES.ERROR_WALLTIME.status
    first, second = sorted(node.called, key=lambda child: child.pk)
    assert second.inputs.training_state.uuid == first.outputs.training_state.uuid
    before, after = (job.outputs.curve.get_array("training_loss") for job in (first, second))
    assert 0 < len(before) < len(after)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert node.outputs.model.creator.uuid == second.uuid
    assert {block.uuid for block in second.inputs.datasets.values()} == {
        block.uuid for block in fine_tune_inputs["datasets"].values()
    }
    assert node.outputs.training_state.uuid == second.outputs.training_state.uuid

"""Restarts: nothing is computed twice, nothing is lost, and the run is the one that nothing had disturbed."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from run_examples import called, computed, training_that_ended

from aiida_slhmc.workflows import epoch
from aiida_slhmc.workflows.restart import get_restart_builder


def test_interrupted_runs_say_what_happened(cut_before_training, cut_in_epoch) -> None:
    """Fails where a run that was cut off looks finished, or does not say which child failed."""
    assert cut_before_training.is_excepted
    assert cut_in_epoch.exit_status == 402
    assert "EpochWorkChain" in cut_in_epoch.exit_message
    assert "excepted" in cut_in_epoch.exit_message
    assert "None" not in cut_in_epoch.exit_message


def test_restart_trains_first_on_a_block_that_waits(cut_before_training, cut_in_epoch) -> None:
    """Fails where the labels of the last epoch are not trained on before the next one proposes."""
    (training,) = called(cut_in_epoch, "MaceFineTuneCalculation")
    (old,), (new,) = (called(node, "EpochWorkChain") for node in (cut_before_training, cut_in_epoch))
    assert [node.uuid for node in training.inputs.datasets.values()] == [old.outputs.dataset.uuid]
    assert new.inputs.model.uuid == training.outputs.model.uuid
    assert new.inputs.epoch.value == 1
    assert cut_in_epoch.inputs.label_budget.value == 4
    for k in range(2):
        assert new.inputs.walkers[f"walker_{k}"].uuid == old.outputs.walkers[f"walker_{k}"].uuid


def test_restart_computes_what_is_missing_only(restarted) -> None:
    """Fails where a label, a proposal or a training that is stored is paid for again.

    The model that the run before had trained is taken over, although its epoch decided nothing.
    """
    assert restarted.is_finished_ok, restarted.exit_message
    counts = {
        label: (len(called(restarted, label)), len(computed(restarted, label)))
        for label in ("VaspCalculation", "MaceProposalCalculation", "MaceFineTuneCalculation")
    }
    assert counts == {
        "VaspCalculation": (4, 2),
        "MaceProposalCalculation": (2, 1),
        "MaceFineTuneCalculation": (1, 1),
    }


def test_restart_is_the_undisturbed_run(cut_before_training, restarted, finished) -> None:
    """Fails where a restart takes other random numbers: the undisturbed run would then not find its jobs cached."""
    assert finished.is_finished_ok, finished.exit_message
    for label in ("VaspCalculation", "MaceProposalCalculation", "MaceFineTuneCalculation"):
        assert called(finished, label)
        assert not computed(finished, label)
    first, second = finished.outputs.history["epochs"]
    assert first == called(cut_before_training, "EpochWorkChain")[0].outputs.summary.get_dict()
    assert restarted.outputs.history["epochs"] == [first, second], "the earlier runs' epochs are in the history"
    hashes = {node.outputs.model.base.attributes.get("sha256") for node in (restarted, finished)}
    assert len(hashes) == 1


def test_builder_from_a_finished_run(finished) -> None:
    """Fails where a longer run starts with another state than the first one ended with."""
    with pytest.raises(ValueError, match="spent its label budget; give `label_budget`"):
        get_restart_builder(finished)
    builder = get_restart_builder(finished, label_budget=40)
    assert (builder.failed_updates.value, builder.tried_blocks.value) == (0, 0)
    assert builder.label_budget.value == 40
    assert builder.first_epoch.value == 2
    assert builder.model.uuid == finished.outputs.model.uuid
    assert builder.trajectory.uuid == finished.outputs.trajectory.uuid
    assert "structure" not in builder._inputs(prune=True)
    assert {name: node.uuid for name, node in builder.walkers.items()} == {
        name: node.uuid for name, node in finished.outputs.walkers.items()
    }
    assert [builder.datasets[name].uuid for name in sorted(builder.datasets)] == [
        finished.outputs.datasets[name].uuid for name in sorted(finished.outputs.datasets)
    ]
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    assert not process.has_to_label_start()
    assert process.is_to_go_on()
    assert not process.has_new_labels(), "the model has been trained on all blocks"


def test_builder_from_a_restart(restarted, finished) -> None:
    """Fails where a restarted run, which began with walkers, cannot be restarted, or loses the blocks before it."""
    builder = get_restart_builder(restarted, label_budget=4)
    assert builder.first_epoch.value == 2
    assert builder.model.uuid == restarted.outputs.model.uuid
    assert sorted(builder.datasets) == ["block_0000", "block_0001"]


def test_only_runs_can_be_restarted(first_epoch) -> None:
    with pytest.raises(ValueError, match="is not a run of SlhmcWorkChain"):
        get_restart_builder(first_epoch)


def test_what_is_no_process_cannot_be_restarted(structure) -> None:
    with pytest.raises(ValueError, match=r"StructureData<.*is not a run of SlhmcWorkChain"):
        get_restart_builder(structure)


@pytest.fixture(scope="module")
def failed_in_second_cycle(builder_of, finished, computer) -> orm.WorkChainNode:
    """A run whose first epoch decided on one cycle, and then could not propose any more."""
    code = orm.InstalledCode(label="false-in-run", computer=computer, filepath_executable="false").store()
    launch = epoch.launch_once

    def failing(parent, process, label, inputs, **options):
        return launch(parent, process, label, inputs | ({"code": code} if label == "propose_00001" else {}), **options)

    with pytest.MonkeyPatch.context() as patch, enable_caching():
        patch.setattr(epoch, "launch_once", failing)
        return run_get_node(builder_of())[1]


def test_epoch_that_ended_early_is_taken_over(failed_in_second_cycle) -> None:
    """Fails where labels that are paid for are lost, paid for again, or not counted."""
    run = failed_in_second_cycle
    assert run.exit_status == 402
    assert run.exit_message.endswith("Its labels are kept: restart.")
    (failed,) = called(run, "EpochWorkChain")
    assert failed.exit_status == 401
    builder = get_restart_builder(run)
    assert builder.label_budget.value == 8 - 2
    assert builder.first_epoch.value == 1, "other random numbers than those of what failed"
    assert {name: node.uuid for name, node in builder.datasets.items()} == {"block_0000": failed.outputs.dataset.uuid}
    assert {name: node.uuid for name, node in builder.chains.items()} == {"epoch_0000": failed.outputs.chain.uuid}
    assert builder.trajectory.uuid == failed.outputs.next_trajectory.uuid
    for k in range(2):
        assert builder.walkers[f"walker_{k}"].uuid == failed.outputs.walkers[f"walker_{k}"].uuid
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    assert process.has_new_labels(), "it trains on them first"
    assert process.is_to_go_on()


def test_all_diverged(builder_of, finished) -> None:
    """Fails where a run goes on without ever moving, or a restart draws the same momenta and diverges again."""
    with enable_caching():
        _, run = run_get_node(builder_of(kernel={"seed": 3, "device": "cpu", "max_integration_error": 1e-9}))
    assert run.exit_status == 402
    assert "All trajectories of 2 cycles in a row diverged" in run.exit_message
    builder = get_restart_builder(run)
    assert builder.first_epoch.value == 1
    assert builder.label_budget.value == 8


def test_run_that_was_cut_off_is_run_again_with_the_same_streams(cut_in_epoch) -> None:
    assert get_restart_builder(cut_in_epoch).first_epoch.value == 1
    assert called(cut_in_epoch, "EpochWorkChain")[-1].inputs.epoch.value == 1


def run_with_inputs(**inputs: orm.Data) -> orm.WorkChainNode:
    """A run with nothing but these inputs, as another version of this package might have left it."""
    node = orm.WorkChainNode(process_type="aiida.workflows:slhmc.slhmc")
    node.base.attributes.set("process_label", "SlhmcWorkChain")
    for name, data in inputs.items():
        node.base.links.add_incoming(data.store(), link_type=LinkType.INPUT_WORK, link_label=name)
    return node.store()


def test_run_of_an_earlier_version() -> None:
    """Fails where the reason is an attribute that does not exist, or nothing is said of what to do."""
    old = run_with_inputs(label_budget=orm.Int(8))
    with pytest.raises(ValueError, match=r"made by an earlier version.*no input `trajectory`.*new run.*`walkers`"):
        get_restart_builder(old)
    inputs = {"trajectory": orm.Dict({"n_steps": 4, "timestep": 1.0}), "label_budget": orm.Int(8)}
    with pytest.raises(ValueError, match=r"not those of this version.*new run") as caught:
        get_restart_builder(run_with_inputs(**inputs, gone_since=orm.Int(1)))
    assert "no input gone_since any more" in str(caught.value)
    strange = orm.Dict({"temperature": 300.0, "seed": 3, "gone_since": 1})
    with pytest.raises(ValueError, match=r"not those of this version.*gone_since.*new run"):
        get_restart_builder(run_with_inputs(**inputs, parameters=strange))
    assert get_restart_builder(run_with_inputs(**inputs)).label_budget.value == 8, "the control"


def test_refused_updates_and_committee_are_taken_over(finished, foundation) -> None:
    """Fails where a restart tries what was refused again, starts with the full learning rate or loses a member."""
    inputs = {"trajectory": orm.Dict({"n_steps": 4, "timestep": 1.0}), "label_budget": orm.Int(8)}
    run = run_with_inputs(**inputs, committee_size=orm.Int(3), failed_updates=orm.Int(1), tried_blocks=orm.Int(1))
    blocks = dict(finished.outputs.datasets.items())
    model = finished.outputs.model
    common = {"run": run, "datasets": blocks}
    # a second refusal, after which one member is no gain either
    training_that_ended(342, label="fine_tune_0001", **common)
    training_that_ended(0, label="committee_0001_1", model=model, **common)
    training_that_ended(341, label="committee_0001_2", **common)
    builder = get_restart_builder(run)
    assert (builder.failed_updates.value, builder.tried_blocks.value) == (2, 2)
    assert {name: node.uuid for name, node in builder.committee.items()} == {"member_1": model.uuid}
    assert builder.committee_size.value == 3
    assert "model" not in builder._inputs(prune=True), "the parent goes on"
    # one that was cut off before the last member had ended is done again as a whole
    training_that_ended(0, label="fine_tune_0002", model=foundation, **common)
    training_that_ended(0, label="committee_0002_1", model=foundation, **common)
    builder = get_restart_builder(run)
    assert builder.committee["member_1"].uuid == model.uuid
    assert "model" not in builder._inputs(prune=True)
    training_that_ended(0, label="committee_0002_2", model=foundation, **common)
    builder = get_restart_builder(run)
    assert builder.model.uuid == foundation.uuid
    assert {name: node.uuid for name, node in builder.committee.items()} == {
        "member_1": foundation.uuid,
        "member_2": foundation.uuid,
    }
    assert builder.failed_updates.value == 2

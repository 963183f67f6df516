"""Restarts: nothing is computed twice, nothing is lost, and the run is the one that nothing had disturbed."""

from __future__ import annotations

import pytest
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from run_examples import called, computed

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
    """Fails where a label, a proposal or a training that is stored is paid for again."""
    assert restarted.is_finished_ok, restarted.exit_message
    counts = {
        label: (len(called(restarted, label)), len(computed(restarted, label)))
        for label in ("VaspCalculation", "MaceProposalCalculation", "MaceFineTuneCalculation")
    }
    assert counts == {
        "VaspCalculation": (4, 2),
        "MaceProposalCalculation": (2, 1),
        "MaceFineTuneCalculation": (2, 1),
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

"""SlhmcWorkChain: outputs and lineage of a finished run, and the ways in which a run ends early or goes on."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from run_examples import called, computed, training_that_ended

from aiida_slhmc.workflows import slhmc
from aiida_slhmc.workflows.restart import get_restart_builder
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

CODES = SlhmcWorkChain.exit_codes


def test_outputs(finished) -> None:
    """Fails where a next run, or a reader, lacks something."""
    assert finished.is_finished_ok, finished.exit_message
    # no committee was asked for
    assert set(finished.outputs) == {"model", "walkers", "restart_folders", "datasets", "trajectory", "history"}
    assert set(finished.outputs.datasets) == {"block_0000", "block_0001"}
    assert set(finished.outputs.walkers) == {"walker_0", "walker_1"}
    history = finished.outputs.history
    assert [epoch["epoch"] for epoch in history["epochs"]] == [0, 1]
    assert history["labels"] == 8
    assert 3 <= finished.outputs.trajectory["n_steps"] <= 20
    assert len(called(finished, "VaspCalculation")) == 9, "one for the start and one for each end point"


def test_lineage(finished, foundation) -> None:
    """Fails where the graph does not answer which labels trained which model, and which model proposed."""
    first, second = called(finished, "MaceFineTuneCalculation")
    assert [node.process_label for node in (first.caller, first.caller.caller)] == [
        "FineTuneWorkChain",
        "SlhmcWorkChain",
    ]
    epochs = called(finished, "EpochWorkChain")
    assert finished.outputs.model.creator.uuid == second.uuid
    assert first.inputs.model.uuid == foundation.uuid
    assert second.inputs.model.uuid == first.outputs.model.uuid
    blocks = [epoch.outputs.dataset.uuid for epoch in epochs]
    assert [node.uuid for node in first.inputs.datasets.values()] == blocks[:1]
    assert [second.inputs.datasets[f"block_{i:04d}"].uuid for i in range(2)] == blocks
    assert [epoch.inputs.model.uuid for epoch in epochs] == [foundation.uuid, first.outputs.model.uuid]
    (start,) = [child for child in finished.called if child.process_label == "VaspLabelWorkChain"]
    assert {node.uuid for node in epochs[0].inputs.walkers.values()} == {start.outputs.label.uuid}
    for k in range(2):
        name = f"walker_{k}"
        assert epochs[1].inputs.walkers[name].uuid == epochs[0].outputs.walkers[name].uuid


def test_trajectory_is_adapted_between_epochs(finished) -> None:
    """Fails where the trajectory changes within an epoch, not at all, or without a reason that people can read."""
    first, second = called(finished, "EpochWorkChain")
    assert first.outputs.next_trajectory.creator.inputs.summary.uuid == first.outputs.summary.uuid
    assert second.inputs.trajectory.uuid == first.outputs.next_trajectory.uuid
    assert finished.outputs.trajectory.uuid == second.outputs.next_trajectory.uuid
    assert second.outputs.next_trajectory["state"] != first.outputs.next_trajectory["state"]
    assert "steps" in first.outputs.next_trajectory["reason"]
    for proposal in called(second, "MaceProposalCalculation"):
        assert proposal.inputs.trajectory.uuid == second.inputs.trajectory.uuid


def test_the_model_gets_better(finished) -> None:
    """Fails where training does not reach the proposals: the forward error falls from epoch to epoch."""
    first, second = finished.outputs.history["epochs"]
    assert second["force_rmse_mev_per_angstrom"] < 0.7 * first["force_rmse_mev_per_angstrom"]


LOOSE = {"force_rmse_mev_per_angstrom": 1e6, "acceptance": 0.01}


def test_convergence_ends_the_run(builder_of, finished) -> None:
    """Fails where a run goes on that has converged, or leaves its last block untrained."""
    with enable_caching():
        _, node = run_get_node(builder_of(convergence=LOOSE))
    assert node.is_finished_ok, node.exit_message
    assert len(node.outputs.history["epochs"]) == 1
    assert node.outputs.model.creator.process_label == "MaceFineTuneCalculation"
    assert not computed(node, "VaspCalculation")


@pytest.mark.parametrize(
    ("force_rmse", "acceptance", "expected"),
    [(20.0, 0.7, True), (40.0, 0.7, False), (20.0, 0.5, False), (None, 0.7, False)],
    ids=["both met", "force error too large", "acceptance too low", "no label in the epoch"],
)
def test_convergence_needs_both_bounds(builder_of, force_rmse: float | None, acceptance: float, expected: bool) -> None:
    """Fails where one of the two bounds is enough, or an epoch without labels counts as accurate."""
    bounds = {"force_rmse_mev_per_angstrom": 30.0, "acceptance": 0.6}
    process = instantiate_process(get_manager().get_runner(), builder_of(convergence=bounds))
    summary = orm.Dict({"force_rmse_mev_per_angstrom": force_rmse, "acceptance": acceptance})
    assert process._has_converged(summary) is expected


@pytest.mark.slow
def test_training_without_gain_is_not_used(builder_of, finished, foundation) -> None:
    """Fails where a model that training made worse proposes, or the run ends instead of going on with its parent."""
    training = {"max_epochs": 2, "learning_rate": 1e3, "device": "cpu"}
    with enable_caching():
        _, node = run_get_node(builder_of(fine_tune=training, n_cycles=1, label_budget=4))
    assert node.is_finished_ok, node.exit_message
    trainings = called(node, "MaceFineTuneCalculation")
    assert len(trainings) == 2, "the next one has more labels, and is tried"
    assert all(child.exit_status in (340, 341, 342) for child in trainings)
    assert [child.inputs.parameters["learning_rate"] for child in trainings] == [1e3, 5e2]
    assert len({child.inputs.parameters.get_dict().get("seed", 0) for child in trainings}) == 2
    assert [epoch.inputs.model.uuid for epoch in called(node, "EpochWorkChain")] == [foundation.uuid] * 2
    assert node.outputs.model.uuid == foundation.uuid
    assert set(node.outputs.datasets) == {"block_0000", "block_0001"}
    builder = get_restart_builder(node, label_budget=2)
    assert (builder.failed_updates.value, builder.tried_blocks.value) == (2, 2)


def test_start_without_label(builder_of) -> None:
    """Fails where a run starts from a structure without an energy, or does not say why it cannot."""
    _, node = run_get_node(builder_of("no_xml"))
    assert node.exit_status == CODES.ERROR_START_NOT_LABELLED.status
    assert "VaspLabelWorkChain" in node.exit_message
    assert "exit code 422" in node.exit_message
    assert "Check the target" in node.exit_message
    assert not called(node, "EpochWorkChain")


@pytest.mark.slow
def test_epoch_that_fails_ends_the_run_and_keeps_its_record(builder_of, finished) -> None:
    """Fails where labels that fail one after the other do not end the run with the reason."""
    builder = builder_of("killed")
    del builder.structure
    del builder.n_walkers
    builder.walkers = dict(called(finished, "EpochWorkChain")[0].inputs.walkers.items())
    builder.max_failed_labels = orm.Int(2)
    with enable_caching(identifier="aiida.calculations:slhmc.mace_proposal"):
        _, node = run_get_node(builder)
    assert node.exit_status == CODES.ERROR_EPOCH_FAILED.status
    assert "Epoch 0 failed" in node.exit_message
    assert "2 labels in a row failed" in node.exit_message
    assert len(called(node, "record_unlabelled")) == 2


def test_training_that_does_not_run_ends_the_run(builder_of, finished, computer) -> None:
    """Fails where a broken interpreter on the compute node passes for a training without gain."""
    builder = builder_of()
    builder.fine_tune.code = orm.InstalledCode(label="broken", computer=computer, filepath_executable="false").store()
    with enable_caching():
        _, node = run_get_node(builder)
    assert node.exit_status == CODES.ERROR_FINE_TUNE_FAILED.status
    assert "before epoch 1 failed" in node.exit_message
    assert "exit code 300" in node.exit_message


def test_the_budget_counts_labels_not_divergences(builder_of, with_divergence) -> None:
    """Fails where a divergence is paid for like a label, or the epoch's block is lost."""
    process = instantiate_process(get_manager().get_runner(), builder_of())
    process.setup()
    process.ctx.walkers = ["two", "walkers"]
    process.ctx.running = with_divergence[0]
    assert process.inspect_epoch() is None
    assert process.ctx.labels == 1
    assert process.ctx.blocks == [with_divergence[0].outputs.dataset.uuid]
    assert process.is_to_go_on()


def test_training_waits_for_two_labels(builder_of, with_divergence, first_epoch) -> None:
    """Fails where an epoch of one label is trained on: nothing would be left to validate, and the run would end."""
    process = instantiate_process(get_manager().get_runner(), builder_of())
    process.setup()
    one, four = (node.outputs.dataset for node in (with_divergence[0], first_epoch))
    assert (one.n_frames, four.n_frames) == (1, 4)
    for blocks, expected in (([one], False), ([four], True), ([one, four], True)):
        process.ctx.blocks = [block.uuid for block in blocks]
        assert process.has_new_labels() is expected


def process_of(builder) -> SlhmcWorkChain:
    """A run that is set up and has done nothing yet."""
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    return process


@pytest.mark.parametrize("status", [340, 341, 342])
def test_refused_update(builder_of, finished, foundation, status: int) -> None:
    """Fails where a refused model proposes, or the same training is tried again, at once or with the same options."""
    given = builder_of()
    process = process_of(given)
    blocks = [finished.outputs.datasets[f"block_{i:04d}"].uuid for i in range(2)]
    assert process._update_parameters().uuid == process.inputs.fine_tune.parameters.uuid, "before, those of the run"
    process.ctx.blocks = blocks[:1]
    assert process.has_new_labels()
    process.ctx.training = training_that_ended(status, model=finished.outputs.model)
    assert process.inspect_fine_tune() is None
    assert process.ctx.model == foundation.uuid
    assert not process.has_new_labels(), "it waits for another block"
    process.ctx.blocks = blocks
    assert process.has_new_labels()
    made = process._update_parameters()
    assert made.creator.process_label == "update_parameters"
    before, after = process.inputs.fine_tune.parameters.get_dict(), made.get_dict()
    assert after["learning_rate"] == 0.5 * before["learning_rate"]
    assert after["seed"] != before.get("seed", 0)
    (report,) = [log.message for log in orm.Log.collection.get_logs_for(process.node) if "is not used" in log.message]
    assert "so and so." in report
    # a later one that is good is used, and the reduction stays
    process.ctx.training = training_that_ended(0, model=finished.outputs.model)
    assert process.inspect_fine_tune() is None
    assert process.ctx.model == finished.outputs.model.uuid
    assert process._update_parameters()["learning_rate"] == 0.5 * before["learning_rate"]


def test_update_that_did_not_run_is_no_refusal(builder_of, finished) -> None:
    """Fails where a full disk passes for a training without gain, and the run goes on for ever without learning."""
    process = process_of(builder_of())
    process.ctx.training = training_that_ended(412)
    assert process.inspect_fine_tune().status == CODES.ERROR_FINE_TUNE_FAILED.status


def test_data_of_another_functional_end_the_run_before_anything_is_trained(builder_of, finished, springs) -> None:
    """Fails where a run pays for an epoch of labels before it says that the force constants do not go with them."""
    (start,) = [child for child in finished.called if child.process_label == "VaspLabelWorkChain"]
    for functional, expected in (("hse06", CODES.ERROR_TRAINING_DATA.status), ("pbe", None)):
        builder = builder_of()
        builder.fine_tune.force_constants = {"rutile": springs(functional)}
        process = process_of(builder)
        process.ctx.start = start
        code = process.inspect_start()
        assert getattr(code, "status", None) == expected
    builder = builder_of()
    builder.fine_tune.replay = {"same": finished.outputs.datasets.block_0000}
    process = process_of(builder)
    process.ctx.start = start
    assert "they belong into `datasets`" in process.inspect_start().message


def test_data_beside_the_labels_reach_the_training(builder_of, finished, springs, monkeypatch) -> None:
    """Fails where a namespace of the run is not handed on."""
    builder = builder_of(fine_tune={"hessian": {"weight": 5.0}})
    extra = {"probes": {"kept": finished.outputs.datasets.block_0000}, "force_constants": {"rutile": springs("pbe")}}
    for name, nodes in extra.items():
        builder.fine_tune[name] = nodes
    builder.fine_tune.options = orm.Dict({"max_wallclock_seconds": 600})
    builder.fine_tune.max_iterations = orm.Int(3)
    process = process_of(builder)
    launched = []
    monkeypatch.setattr(slhmc, "launch_once", lambda *arguments: launched.append(arguments))
    monkeypatch.setattr(process, "to_context", lambda **_: None)
    process.ctx.blocks = [finished.outputs.datasets.block_0001.uuid]
    process.fine_tune()
    ((_, process_class, label, inputs),) = launched
    assert (process_class.__name__, label) == ("FineTuneWorkChain", "fine_tune_0000")
    for name, nodes in extra.items():
        assert {key: node.uuid for key, node in inputs[name].items()} == {key: node.uuid for key, node in nodes.items()}
    assert (inputs["options"]["max_wallclock_seconds"], inputs["max_iterations"].value) == (600, 3)
    assert set(inputs) == {"code", "model", "parameters", "datasets", "options", "max_iterations", *extra}

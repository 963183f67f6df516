"""A training that is cut in two by its wall time ends with the weights of one that is not."""

import json
from itertools import count

import pytest
import torch
from safetensors.torch import save_file
from worker_examples import label, make_model, parameters, rutile_frames, to_frame, write_parameters

from aiida_slhmc.worker import fine_tune
from aiida_slhmc.worker.checkpoint_header import read_metadata
from aiida_slhmc.worker.dataset import frame_graphs
from aiida_slhmc.worker.replay import Replay
from aiida_slhmc.worker.trainee import Trainee
from aiida_slhmc.worker.training import train
from aiida_slhmc.worker.training_state import TrainingState, load_state, save_state

OPTIONS = [
    {},
    {"ema_decay": 0.9},
    {"scheduler_patience": 0, "scheduler_factor": 0.5, "learning_rate": 0.05},
    {"scheduler": "cosine"},
    {"scheduler": "exponential"},
    {"lora": {"rank": 2}},
    {"dtype": "float32"},
    {"replay": {"weight": 3.0, "every": 2}},
]


def weights_and_curve(labelled, options, *, state=None, deadline=None):
    """Train as a job would; with a *deadline* in ticks of the clock."""
    options, model, ticks = parameters(max_epochs=5, **options), make_model(1), count()
    trainee = Trainee(model, options)
    graphs = trainee.graphs(frame_graphs([to_frame(atoms) for atoms in labelled], model))
    terms = []
    if options.replay.every > 1:
        upstream = frame_graphs([to_frame(label(atoms, make_model(2))) for atoms in rutile_frames(5, seed=8)], model)
        terms = [Replay(upstream[:4], upstream[4:], options, torch.device("cpu"))]
    result = train(
        trainee.model,
        graphs[:9],
        graphs[9:],
        options,
        terms=terms,
        state=state,
        deadline=deadline,
        clock=lambda: next(ticks),
        log=lambda _: None,
    )
    return trainee.plain().state_dict(), result


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cut_in_two(labelled, tmp_path, options):
    whole, undisturbed = weights_and_curve(labelled, options)
    _, first = weights_and_curve(labelled, options, deadline=12)
    done = len(first.curve["epoch"])
    assert (first.stop_reason, 1 <= done <= 4) == ("walltime", True)
    save_state(first.state, tmp_path / "state", belongs_to="this")
    rest, second = weights_and_curve(labelled, options, state=load_state(tmp_path / "state", belongs_to="this"))
    assert second.curve == undisturbed.curve
    assert (second.best_epoch, second.stop_reason) == (undisturbed.best_epoch, undisturbed.stop_reason)
    assert all(torch.equal(tensor, rest[name]) for name, tensor in whole.items())


def test_all_of_the_state_counts(labelled):
    """Negative control: without what the optimiser holds, or in another order of batches, the end is another."""
    whole, _ = weights_and_curve(labelled, {})
    state = weights_and_curve(labelled, {}, deadline=12)[1].state
    fresh_order = {"order/generator": torch.Generator().manual_seed(1).get_state()}
    for tensors in (
        {name: tensor for name, tensor in state.tensors.items() if not name.startswith("optimiser/")},
        state.tensors | fresh_order,
    ):
        rest, _ = weights_and_curve(labelled, {}, state=TrainingState(tensors, state.numbers))
        assert not all(torch.equal(tensor, rest[name]) for name, tensor in whole.items())


def test_no_state_without_walltime(labelled):
    assert weights_and_curve(labelled, {})[1].state is None


def test_only_its_own_training_goes_on(labelled, tmp_path):
    state = weights_and_curve(labelled, {}, deadline=12)[1].state
    save_state(state, tmp_path / "state", belongs_to="this")
    with pytest.raises(ValueError, match="state of another training"):
        load_state(tmp_path / "state", belongs_to="that")
    (tmp_path / "text").write_text("nonsense")
    with pytest.raises(ValueError, match="not the state of a training"):
        load_state(tmp_path / "text", belongs_to="this")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign", metadata={"format": "other"})
    with pytest.raises(ValueError, match="format 'other'"):
        load_state(tmp_path / "foreign", belongs_to="this")


def test_two_jobs(job, monkeypatch):
    """The job that ran out of time leaves its state; the next one with the same folder and that file goes on."""

    def hash_of_result():
        return read_metadata(job / "trained.safetensors")["sha256"]

    write_parameters(job, max_epochs=4)
    undisturbed, expected = fine_tune.run(job), hash_of_result()
    ticks = count()

    def interrupted(*arguments, **options):
        return train(*arguments, **options | {"deadline": 12, "clock": lambda: next(ticks)})

    with monkeypatch.context() as patch:
        patch.setattr(fine_tune, "train", interrupted)
        cut = fine_tune.run(job)
    assert cut["status"] == "walltime"
    assert hash_of_result() != expected
    write_parameters(job, max_epochs=4, walltime_seconds=3600.0)  # which does not count
    rest = fine_tune.run(job)
    assert rest["curve"] == undisturbed["curve"]
    assert hash_of_result() == expected
    write_parameters(job, max_epochs=4, learning_rate=0.02)
    assert fine_tune.main([str(job)]) == 1
    refused = json.loads((job / "metrics.json").read_text())
    assert (refused["status"], "another training" in refused["message"]) == ("invalid_input", True)

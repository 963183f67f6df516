"""Each defect found in ``mace_run_train`` 0.3.16 has a test that this package does not have it."""

import math

import pytest
import torch
from worker_examples import make_model, parameters, rutile_frames, to_frame, write_block, write_parameters

from aiida_slhmc.worker import training as training_module
from aiida_slhmc.worker.checkpoint import load_checkpoint
from aiida_slhmc.worker.checkpoint_header import read_metadata
from aiida_slhmc.worker.dataset import frame_graphs
from aiida_slhmc.worker.elements import filter_elements
from aiida_slhmc.worker.evaluation import Errors, make_loss
from aiida_slhmc.worker.fine_tune import run
from aiida_slhmc.worker.training import make_loader, make_optimiser, train


@pytest.fixture
def graphs(labelled, model):
    frames = [to_frame(atoms) for atoms in labelled]
    return frame_graphs(frames[:9], model), frame_graphs(frames[9:], model)


def quiet(_):
    """No log."""


def programmed(monkeypatch, losses):
    """Let the loop see these validation losses, the first of them for the initial model."""
    values = iter(losses)
    monkeypatch.setattr(training_module, "evaluate", lambda *_, **__: Errors(next(values), 1.0, 1.0, None))


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_defect_1_early_stopping_stops(graphs, model, monkeypatch):
    losses = [5.0, 4.0, 3.0, 3.5, 3.2, 3.1, 0.1]
    programmed(monkeypatch, losses)
    result = train(model, *graphs, parameters(max_epochs=6, patience=3), log=quiet)
    assert (result.stop_reason, result.best_epoch) == ("early_stopping", 2)
    assert result.curve["validation_loss"] == losses[1:6]  # epoch 6, which would have been the best, is not trained
    programmed(monkeypatch, losses)
    patient = train(make_model(1), *graphs, parameters(max_epochs=6, patience=4), log=quiet)
    assert (patient.stop_reason, patient.best_epoch) == ("max_epochs", 6)  # negative control


def test_defect_2_references_change_where_the_elements_are_the_same(job):
    table = {"O": -11.0, "Ti": -3.5}
    assert read_metadata(job / "model.safetensors")["elements"] == sorted(table)
    write_parameters(job, max_epochs=1, references={"method": "explicit", "table": table})
    assert run(job)["references"]["table"] == table
    assert read_metadata(job / "trained.safetensors")["atomic_energies"] == table
    assert load_checkpoint(job / "trained.safetensors").atomic_energies_fn.atomic_energies.tolist() == [[-11.0, -3.5]]


def test_defect_3_shift_starts_nearer_than_average(job):
    starts = {}
    for method in ("keep", "average", "shift"):
        write_parameters(job, max_epochs=1, references={"method": method})
        starts[method] = run(job)["initial"]["validation"]["energy_rmse_mev_per_atom"]
    assert starts["shift"] < 0.1 * starts["average"]
    assert starts["shift"] < 0.1 * starts["keep"]


def test_defect_4_the_initial_model_is_a_candidate(graphs, model):
    train(model, *graphs, parameters(max_epochs=8), log=quiet)  # a good model, which a huge step only spoils
    start = weights(model)
    result = train(model, *graphs, parameters(learning_rate=1.0, max_epochs=3), log=quiet)
    assert (result.stop_reason, result.best_epoch) == ("no_improvement", 0)
    assert len(result.curve["epoch"]) == 3
    assert equal(start, model.state_dict())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_defect_5_not_a_number_is_never_the_best(graphs, model, monkeypatch, bad):
    programmed(monkeypatch, [5.0, 4.0, bad])
    result = train(model, *graphs, parameters(), log=quiet)
    assert (result.stop_reason, result.best_epoch) == ("diverged", 1)
    monkeypatch.undo()
    reference = make_model(1)
    train(reference, *graphs, parameters(max_epochs=1), log=quiet)
    assert equal(reference.state_dict(), model.state_dict())


def test_defect_5_not_a_number_in_the_training_loss(graphs, model):
    graphs[0][2].forces[0, 0] = math.nan
    start = weights(model)
    result = train(model, *graphs, parameters(), log=quiet)
    assert (result.stop_reason, result.best_epoch, result.curve["epoch"]) == ("diverged", 0, [])
    assert equal(start, model.state_dict())


def test_defect_5_weights_overflow(graphs, model):
    result = train(model, *graphs, parameters(learning_rate=1e200), log=quiet)
    assert result.stop_reason == "diverged"
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 1]), (20, [9])])
def test_defect_6_no_configuration_is_dropped(graphs, model, batch_size, sizes):
    batches = list(make_loader(graphs[0], batch_size, seed=0))
    assert [batch.num_graphs for batch in batches] == sizes
    energies = torch.cat([batch.energy for batch in batches]).sort().values
    assert torch.equal(energies, torch.stack([graph.energy for graph in graphs[0]]).sort().values)
    result = train(model, *graphs, parameters(max_epochs=1, batch_size=batch_size), log=quiet)
    assert result.best_epoch == 1  # fewer configurations than the batch size do train


def test_defect_7_only_trained_parameters_count_in_the_clipping(graphs):
    def with_bessel_parameter():
        model = make_model(1)
        basis = model.radial_embedding.bessel_fn
        values = basis.bessel_weights.clone()
        del basis.bessel_weights
        basis.bessel_weights = torch.nn.Parameter(values)  # what MACE's foundation loading does
        return model

    options = parameters(max_epochs=3, clip_gradient=1e-3)
    plain, other = make_model(1), with_bessel_parameter()
    for model in (plain, other):
        train(model, *graphs, options, log=quiet)
    assert equal(plain.state_dict(), other.state_dict())
    assert other.radial_embedding.bessel_fn.bessel_weights.grad is None

    # negative control: clipped over all parameters, as MACE does it, the norm is another one
    model = with_bessel_parameter()
    batch = next(iter(make_loader(graphs[0], 9, seed=0)))
    make_loss(options)(pred=model(batch.to_dict(), training=True), ref=batch).backward()
    trained = [tensor for group in make_optimiser(model, options).param_groups for tensor in group["params"]]
    norms = [torch.nn.utils.get_total_norm([t.grad for t in ts]) for ts in (trained, list(model.parameters()))]
    assert norms[1] > 1.001 * norms[0]


def test_defect_8_validation_frames_are_fixed_for_life(job, teacher):
    from worker_examples import label

    write_parameters(job, max_epochs=1)
    first = run(job)["validation"]
    write_block(job / "datasets" / "block_002.extxyz", [label(atoms, teacher) for atoms in rutile_frames(15, seed=9)])
    second = run(job)
    assert set(first) < set(second["validation"])
    assert len(second["validation"]) == len(first) + 2
    assert second["n_training"] + second["n_validation"] == 27


def test_defect_9_the_next_generation_starts_where_the_last_one_ended(job):
    write_parameters(job, max_epochs=5)
    first = run(job)
    (job / "trained.safetensors").rename(job / "model.safetensors")
    write_parameters(job, max_epochs=1, references={"method": "keep"})
    second = run(job)
    for quantity, value in first["final"]["validation"].items():
        assert second["initial"]["validation"][quantity] == pytest.approx(value, rel=1e-9), quantity
    assert first["final"] != first["initial"]  # negative control: the first generation did move


def test_defect_9_filtering_elements_keeps_the_readouts():
    model = make_model(4, numbers=(1, 8, 22))
    cut = filter_elements(model, ["O", "Ti"])
    for name, tensor in model.readouts.state_dict().items():
        assert torch.equal(tensor, cut.readouts.state_dict()[name]), name

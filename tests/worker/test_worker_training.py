"""The training loop: what it optimises, when it stops, which model it keeps."""

import math
from itertools import count

import pytest
import torch
from worker_examples import make_model, parameters, to_frame

from aiida_slhmc.worker import training as training_module
from aiida_slhmc.worker.dataset import frame_graphs
from aiida_slhmc.worker.evaluation import Errors, evaluate, make_batches, make_loss, predict_energies
from aiida_slhmc.worker.optimiser import make_loader
from aiida_slhmc.worker.training import copy_weights, train


@pytest.fixture
def graphs(labelled, model):
    frames = [to_frame(atoms) for atoms in labelled]
    return frame_graphs(frames[:9], model), frame_graphs(frames[9:], model)


def quiet(_):
    """No log."""


def run(graphs, *, seed=1, **options):
    """Train a fresh model; return it with the result."""
    model = make_model(seed=seed)
    return model, train(model, *graphs, parameters(**options), log=quiet)


def same_weights(first, second):
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def programmed(monkeypatch, losses):
    """Let the loop see these validation losses, the first of them for the initial model."""
    values = iter(losses)
    monkeypatch.setattr(training_module, "evaluate", lambda *_, **__: Errors(next(values), 1.0, 1.0, None))


def test_it_learns(graphs):
    model, result = run(graphs, max_epochs=8)
    losses = result.curve["validation_loss"]
    assert losses[-1] < 0.3 * losses[0]
    assert result.curve["epoch"] == list(range(1, 9))
    best = evaluate(model, make_batches(graphs[1], 4, torch.device("cpu")), make_loss(parameters()), stress=False)
    assert best.loss == pytest.approx(min(losses), rel=1e-9)  # the model is left with its best weights
    assert result.best_epoch == 1 + losses.index(min(losses))


@pytest.mark.parametrize("loss", ["energy_forces_stress", "huber", "universal"])
def test_losses_with_stress(graphs, loss):
    before = evaluate(
        make_model(1), make_batches(graphs[1], 4, torch.device("cpu")), make_loss(parameters(loss=loss)), stress=True
    )
    _, result = run(graphs, loss=loss, stress_weight=1000.0)
    assert result.best_epoch > 0
    assert min(result.curve["validation_loss"]) < before.loss


def test_seed_fixes_the_order_of_the_batches(graphs):
    first, _ = run(graphs, max_epochs=2)
    again, _ = run(graphs, max_epochs=2)
    other, _ = run([graphs[0], graphs[1]], max_epochs=2)
    reordered = make_model(1)
    train(reordered, *graphs, parameters(max_epochs=2, seed=5), log=quiet)
    assert same_weights(first, again)
    assert same_weights(first, other)
    assert not same_weights(first, reordered)  # negative control: another seed shows


def test_early_stopping_counts_trained_epochs(graphs, monkeypatch):
    programmed(monkeypatch, [1.0, 9.0, 8.0, 8.5, 8.2, 0.1])
    _, result = run(graphs, max_epochs=5, patience=2)
    assert result.curve["validation_loss"] == [9.0, 8.0, 8.5, 8.2]  # worse than at first, but still getting better
    assert (result.stop_reason, result.best_epoch) == ("no_improvement", 0)


def test_learning_rate_goes_down_on_a_plateau(graphs, monkeypatch):
    programmed(monkeypatch, [5.0, 4.0, 4.5, 4.5, 4.5, 4.5])
    _, result = run(graphs, max_epochs=5, learning_rate=0.01, scheduler_patience=1)
    assert result.curve["learning_rate"] == pytest.approx([0.01, 0.01, 0.01, 0.008, 0.008])


def test_averaged_weights(graphs):
    plain, without = run(graphs, max_epochs=3)
    averaged, result = run(graphs, max_epochs=3, ema_decay=0.9)
    assert result.curve["training_loss"] == without.curve["training_loss"]  # the steps themselves do not change
    assert result.curve["validation_loss"] != without.curve["validation_loss"]
    assert not same_weights(plain, averaged)
    batches = make_batches(graphs[1], 4, torch.device("cpu"))
    kept = evaluate(averaged, batches, make_loss(parameters()), stress=False)
    assert kept.loss == pytest.approx(min(result.curve["validation_loss"]), rel=1e-9)


def test_walltime_keeps_the_best_so_far(graphs):
    ticks = count()
    model = make_model(1)
    result = train(model, *graphs, parameters(max_epochs=50), deadline=20, clock=lambda: next(ticks), log=quiet)
    epochs = len(result.curve["epoch"])
    assert result.stop_reason == "walltime"
    assert 1 <= epochs <= 5
    reference, _ = run(graphs, max_epochs=epochs)
    assert same_weights(model, reference)


def test_walltime_is_over_before_the_first_epoch(graphs):
    model, start = make_model(1), make_model(1)
    result = train(model, *graphs, parameters(), deadline=-1.0, clock=lambda: 0.0, log=quiet)
    assert (result.stop_reason, result.best_epoch, result.curve["epoch"]) == ("walltime", 0, [])
    assert same_weights(model, start)


def test_walltime_within_an_epoch(graphs):
    times = iter([0.0, 0.0, *[100.0] * 50])  # at the start of the epoch, before the first batch, later
    model, start = make_model(1), make_model(1)
    result = train(model, *graphs, parameters(), deadline=50.0, clock=lambda: next(times), log=quiet)
    assert result.stop_reason == "walltime"
    assert same_weights(model, start)


def test_errors_against_a_direct_calculation(graphs, model, labelled):
    batches = make_batches(graphs[0], 4, torch.device("cpu"))
    errors = evaluate(model, batches, make_loss(parameters()), stress=True)
    differences = {"energy": [], "forces": [], "stress": []}
    for graph in graphs[0]:
        batch = make_batches([graph], 1, torch.device("cpu"))[0]
        output = model(batch.to_dict(), compute_stress=True)
        differences["energy"].append(float((output["energy"] - graph.energy).detach()) / 6)
        differences["forces"].extend((output["forces"] - graph.forces).detach().flatten().tolist())
        differences["stress"].extend((output["stress"] - graph.stress).detach().flatten().tolist())
    root = {name: math.sqrt(sum(value**2 for value in values) / len(values)) for name, values in differences.items()}
    assert errors.energy_rmse_mev_per_atom == pytest.approx(1000 * root["energy"])
    assert errors.force_rmse_mev_per_angstrom == pytest.approx(1000 * root["forces"])
    assert errors.stress_rmse_gpa == pytest.approx(160.2176634 * root["stress"], rel=1e-6)
    # the loss does not depend on how the configurations are put into batches
    assert errors.loss == pytest.approx(root["energy"] ** 2 + 100 * root["forces"] ** 2)
    energies = predict_energies(model, batches)
    assert [(energy - float(graph.energy)) / 6 for energy, graph in zip(energies, graphs[0], strict=True)] == (
        pytest.approx(differences["energy"])
    )


def test_frames_without_stress_do_not_count_in_the_stress_error(model, labelled):
    frames = [to_frame(atoms) for atoms in labelled[:2]]
    without = type(frames[0])(frames[1].atoms, frames[1].energy, frames[1].forces, None, None)
    loss = make_loss(parameters())
    alone, both, none = (
        evaluate(model, make_batches(frame_graphs(part, model), 4, torch.device("cpu")), loss, stress=True)
        for part in (frames[:1], [frames[0], without], [without])
    )
    assert alone.stress_rmse_gpa == pytest.approx(both.stress_rmse_gpa)
    assert none.stress_rmse_gpa is None


def test_order_of_the_batches_is_new_in_each_epoch(graphs):
    loader = make_loader(graphs[0], 9, seed=0)
    first, second = (next(iter(loader)).energy for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)


def test_copies_are_copies(model):
    weights = copy_weights(model)
    with torch.no_grad():
        model.scale_shift.scale += 1
    assert not torch.equal(weights["scale_shift.scale"], model.scale_shift.scale)

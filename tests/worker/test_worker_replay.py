"""Replay of upstream configurations beside the labels."""

import numpy as np
import pytest
import torch
from worker_examples import label, make_model, parameters, predict, rutile_frames, to_frame

from aiida_slhmc.worker.dataset import frame_graphs
from aiida_slhmc.worker.evaluation import evaluate, make_batches, make_loss
from aiida_slhmc.worker.references import get_atomic_energies, set_atomic_energies
from aiida_slhmc.worker.replay import Replay, batch_indices, with_references
from aiida_slhmc.worker.training import train

CPU = torch.device("cpu")


def test_every_configuration_has_its_turn_once_a_round():
    drawn = [index for count in range(7) for index in batch_indices(7, 3, count, seed=4)]
    assert sorted(drawn[:7]) == list(range(7))
    assert sorted(drawn[7:14]) == list(range(7))
    assert drawn[:7] != drawn[7:14]
    assert batch_indices(7, 3, 2, seed=4) == batch_indices(7, 3, 2, seed=4)
    assert [batch_indices(7, 3, count, seed=5) for count in range(3)] != [drawn[:3], drawn[3:6], drawn[6:9]]
    assert sorted(batch_indices(2, 8, 3, seed=0)) == [0, 1]


def test_energies_follow_the_references():
    """With its energies moved to other references, the model that made them still agrees with them."""
    model = make_model(2)
    frames = [to_frame(label(atoms, model)) for atoms in rutile_frames(2, seed=8)]
    before = get_atomic_energies(model)
    now = {"O": before["O"] - 1.5, "Ti": before["Ti"] + 4.0}
    set_atomic_energies(model, now)
    energies = [float(predict(model, frame.atoms)["energy"]) for frame in frames]
    moved = [frame.energy for frame in with_references(frames, now, before)]
    np.testing.assert_allclose(moved, energies, rtol=0, atol=1e-9)
    assert abs(frames[0].energy - energies[0]) > 1  # negative control


def test_the_loss_is_that_of_the_batch():
    model = make_model(1)
    graphs = frame_graphs([to_frame(label(atoms, make_model(2))) for atoms in rutile_frames(6, seed=8)], model)
    options = parameters(batch_size=2, replay={"weight": 0.5, "every": 3}, seed=7)
    term = Replay(graphs[:4], graphs[4:], options, CPU)
    assert term.every == 3
    chosen = [graphs[index] for index in batch_indices(4, 2, 2, seed=7)]
    direct = evaluate(model, make_batches(chosen, 2, CPU), make_loss(options), stress=False).loss
    assert float(term.loss(model, 6).detach()) == pytest.approx(0.5 * direct, rel=1e-10)
    held_out = evaluate(model, make_batches(graphs[4:], 2, CPU), make_loss(options), stress=False).loss
    assert term.validation_loss(model) == pytest.approx(0.5 * held_out, rel=1e-10)


def test_replay_keeps_what_training_would_forget(labelled):
    """A model that knows its upstream data is trained on another's labels, with and without replay."""
    errors = {}
    for weight in (None, 10.0):
        model = make_model(1)
        upstream = [to_frame(label(atoms, model)) for atoms in rutile_frames(10, seed=8)]
        graphs, known = frame_graphs([to_frame(atoms) for atoms in labelled], model), frame_graphs(upstream, model)
        options = parameters(max_epochs=4, **({} if weight is None else {"replay": {"weight": weight}}))
        terms = [] if weight is None else [Replay(known[:4], known[4:6], options, CPU)]
        result = train(model, graphs[:9], graphs[9:], options, terms=terms, log=lambda _: None)
        assert len(result.curve["epoch"]) == 4
        loss = make_loss(options)
        errors[weight] = evaluate(
            model, make_batches(known[6:], 4, CPU), loss, stress=False
        ).force_rmse_mev_per_angstrom
    assert errors[10.0] < 0.6 * errors[None]

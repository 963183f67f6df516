"""The forms in which a model can be trained, and the plain model that comes back."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from worker_examples import make_model, parameters, predict, rutile_frames, to_frame

from aiida_slhmc.worker.checkpoint import model_config, model_dtype, save_checkpoint
from aiida_slhmc.worker.dataset import frame_graphs
from aiida_slhmc.worker.evaluation import evaluate, make_batches, make_loss
from aiida_slhmc.worker.references import get_atomic_energies
from aiida_slhmc.worker.trainee import Trainee, fresh_model
from aiida_slhmc.worker.training import train

FORMS = [
    {"lora": {"rank": 2}},
    {"dtype": "float32"},
    {"freeze": ["embedding", "interactions"]},
    {"lora": {"rank": 2}, "dtype": "float32"},
]


def trained(labelled, **options):
    """A model trained in some form, what it was, and the trainee."""
    model = make_model(1)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = parameters(max_epochs=3, **options)
    trainee = Trainee(model, options)
    graphs = frame_graphs([to_frame(atoms) for atoms in labelled], model)
    training, validation = trainee.graphs(graphs[:9]), trainee.graphs(graphs[9:])
    result = train(trainee.model, training, validation, options, log=lambda _: None)
    plain = trainee.plain()
    errors = evaluate(plain, make_batches(graphs[9:], 4, torch.device("cpu")), make_loss(options), stress=False)
    return plain, start, result, errors


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_it_learns_and_comes_back_plain(labelled, tmp_path, form):
    plain, start, result, errors = trained(labelled, **form)
    assert result.best_epoch > 0
    losses = result.curve["validation_loss"]
    assert min(losses) < losses[0]
    # what comes back, in float64, is as good as what was trained
    assert errors.loss == pytest.approx(min(losses), rel=1e-4)
    assert model_dtype(plain) == "float64"
    assert plain.state_dict().keys() == start.keys()
    assert get_atomic_energies(plain) == get_atomic_energies(make_model(1))
    assert all(weight.requires_grad for weight in plain.parameters())
    save_checkpoint(plain, tmp_path / "m.safetensors")


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_untrained_it_is_the_model_it_was(form):
    atoms = rutile_frames(1, seed=3)[0]
    plain = Trainee(make_model(1), parameters(**form)).plain()
    tolerance = 1e-6 if "dtype" in form else 1e-12
    for name, value in predict(make_model(1), atoms).items():
        np.testing.assert_allclose(predict(plain, atoms)[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


def test_frozen_layers_keep_their_weights(labelled):
    plain, start, _, _ = trained(labelled, freeze=["embedding", "interactions"])
    changed = {name for name, tensor in plain.state_dict().items() if not torch.equal(tensor, start[name])}
    assert changed
    assert {name.split(".")[0] for name in changed} <= {"products", "readouts"}


def test_single_precision_resolves_forces_where_total_energies_are_large(labelled):
    """Labels of 120 keV: single precision would know them to 8 meV; the references take most of that off."""
    model = make_model(1, atomic_energies=np.array([[-2e4, -2e4]]))
    frames = [to_frame(atoms) for atoms in labelled[:2]]
    graph = frame_graphs(frames, model)[0]
    graph.energy = graph.energy - 1.2e5
    single = Trainee(model, parameters(dtype="float32")).graphs([graph])[0]
    assert single.energy.dtype == torch.float32
    assert float(single.energy) == pytest.approx(float(graph.energy) + 1.2e5, abs=1e-5)
    assert graph.energy.dtype == torch.float64  # the graph itself is left alone
    # negative control: the total energy in single precision
    assert abs(float(graph.energy.float()) - float(graph.energy)) > 1e-4


def test_fresh_weights():
    model = make_model(1)
    first, again, other = fresh_model(model, 5), fresh_model(model, 5), fresh_model(model, 6)
    assert model_config(first) == model_config(model)
    weight = "products.0.linear.weight"
    assert torch.equal(first.state_dict()[weight], again.state_dict()[weight])
    for another in (model, other):
        assert not torch.equal(first.state_dict()[weight], another.state_dict()[weight])


@pytest.mark.skipif(find_spec("openequivariance") is not None, reason="needs a machine without openequivariance")
def test_kernels_of_a_package_that_is_not_there():
    with pytest.raises(ValueError, match="need the package openequivariance"):
        Trainee(make_model(1), parameters(kernels="openequivariance"))


@pytest.mark.skipif(find_spec("cuequivariance_torch") is None, reason="needs cuequivariance-torch")
def test_fused_kernels(labelled):
    atoms = rutile_frames(1, seed=3)[0]
    trainee, start = Trainee(make_model(1), parameters(kernels="cuequivariance")), predict(make_model(1), atoms)
    for model in (trainee.model.eval(), trainee.plain()):
        np.testing.assert_allclose(predict(model, atoms)["forces"], start["forces"], rtol=0, atol=1e-9)
    fused, _, result, errors = trained(labelled, kernels="cuequivariance")
    _, _, reference, _ = trained(labelled)
    # some weights are the same numbers in other units, and Adam's steps are alike in each unit: nearly the same course
    assert result.curve["validation_loss"] == pytest.approx(reference.curve["validation_loss"], rel=0.02)
    assert errors.loss == pytest.approx(min(result.curve["validation_loss"]), rel=1e-6)
    assert model_config(fused) == model_config(make_model(1))

"""Columns of the Hessian: what they are, that they can be trained on, and which ones are."""

import copy

import numpy as np
import pytest
import torch
from worker_examples import make_model, predict, rutile_frames

from aiida_slhmc.worker.dataset import make_graph
from aiida_slhmc.worker.evaluation import make_batches
from aiida_slhmc.worker.fine_tune_options import HessianParameters
from aiida_slhmc.worker.force_constants import ForceConstants
from aiida_slhmc.worker.hessian import MOST_HELD_OUT, HessianColumns, hessian_columns

CPU = torch.device("cpu")
ATOMS = rutile_frames(1, amplitude=0.05)[0]
N_COLUMNS = 3 * len(ATOMS)


def hessian_of(model, atoms=ATOMS) -> np.ndarray:
    """All columns as (n, n, 3, 3), [i, j, a, b]."""
    graph = make_batches([make_graph(atoms, model)], 1, CPU)[0].to_dict()
    columns = hessian_columns(model, graph, range(3 * len(atoms)), differentiable=False)
    stacked = torch.stack(columns).reshape(len(atoms), 3, len(atoms), 3)
    return stacked.permute(2, 0, 3, 1).double().numpy()


@pytest.fixture(scope="module")
def reference() -> ForceConstants:
    """The second derivatives of the teacher at some cell; nothing here needs an equilibrium."""
    return ForceConstants(ATOMS, hessian_of(make_model(seed=3)))


def term(reference, model, *, seed: int = 0, **options) -> HessianColumns:
    return HessianColumns([reference], model, HessianParameters(**options), seed=seed, device=CPU)


def test_columns_are_differences_of_forces(model):
    """Fails where the sign, the order of atoms and axes or the periodic images are wrong."""
    hessian, step = hessian_of(model), 1e-3
    for atom, axis in ((0, 0), (3, 2), (5, 1)):
        forces = []
        for shift in (-2, -1, 1, 2):
            moved = ATOMS.copy()
            moved.positions[atom, axis] += shift * step
            forces.append(predict(model, moved)["forces"])
        # central differences of fourth order
        derivative = (forces[0] - 8 * forces[1] + 8 * forces[2] - forces[3]) / (12 * step)
        expected, found = -derivative, hessian[:, atom, :, axis]
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
        assert np.abs(found + expected).max() > np.abs(expected).max(), "the control: the other sign"


def test_whole_matrix_is_symmetric_and_sums_to_zero(model):
    """Fails where the product is not the derivative of one energy, or atoms are mixed up."""
    hessian = hessian_of(model)
    largest = np.abs(hessian).max()
    np.testing.assert_allclose(hessian, hessian.transpose(1, 0, 3, 2), atol=1e-12 * largest)
    np.testing.assert_allclose(hessian.sum(axis=1), 0, atol=1e-12 * largest)
    assert np.abs(hessian - hessian.transpose(0, 1, 3, 2)).max() > 1e-3 * largest, "the control: a wrong transpose"


def test_loss_is_the_mean_error_of_its_columns(model, reference):
    """Fails where another column is compared than the one that was computed."""
    columns = term(reference, model, weight=7.0, n_columns=3)
    difference = np.abs(hessian_of(model) - reference.hessian)

    def expected(chosen) -> float:
        return np.mean([difference[:, column // 3, :, column % 3].mean() for _, column in chosen])

    assert float(columns.loss(model, 5).detach()) == pytest.approx(7.0 * expected(columns.columns(5)), rel=1e-10)
    assert columns.validation_loss(model) == pytest.approx(7.0 * expected(columns.held_out), rel=1e-10)
    assert columns.mean_absolute_error(model) == pytest.approx(expected(columns.held_out), rel=1e-10)
    assert columns.mean_absolute_error(make_model(seed=3)) < 1e-12, "its own force constants"


def test_gradient_by_a_weight(model, reference):
    """Fails where a part of the loss is cut off from the weights, as a detached force would be."""
    columns = term(reference, model, n_columns=2)
    weight = model.interactions[0].linear_up.weight
    (gradient,) = torch.autograd.grad(columns.loss(model, 0), weight)
    index = int(gradient.abs().argmax())
    values, step = [], 1e-5
    for sign in (-1, 1):
        with torch.no_grad():
            weight.view(-1)[index] += sign * step
            values.append(float(columns.loss(model, 0).detach()))
            weight.view(-1)[index] -= sign * step
    assert float(gradient.view(-1)[index]) == pytest.approx((values[1] - values[0]) / (2 * step), rel=1e-5)
    assert abs(float(gradient.view(-1)[index])) > 1e-3


def test_a_few_steps_lower_the_error_on_columns_held_out(model, reference):
    """Fails where training on some columns teaches nothing about the others; the control trains on wrong ones."""
    wrong = ForceConstants(ATOMS, reference.hessian[::-1, ::-1].copy())
    errors = {}
    for name, target in (("right", reference), ("wrong", wrong)):
        trainee = copy.deepcopy(model)
        optimiser = torch.optim.Adam(trainee.parameters(), lr=0.005)
        columns = term(target, trainee, weight=1.0, n_columns=4)
        for step in range(15):
            optimiser.zero_grad()
            columns.loss(trainee, step).backward()
            optimiser.step()
        errors[name] = term(reference, trainee).mean_absolute_error(trainee)
    start = term(reference, model).mean_absolute_error(model)
    assert errors["right"] < 0.8 * start
    assert errors["wrong"] > errors["right"]


def test_columns_held_out_are_the_same_for_life(model, reference):
    """Fails where a continued or later training validates with what an earlier one trained on."""
    first, second = term(reference, model, seed=1), term(reference, make_model(seed=9), seed=2, n_columns=5)
    assert first.held_out == second.held_out
    assert len(first.held_out) == round(0.1 * N_COLUMNS)
    assert len(set(first.trained) | set(first.held_out)) == N_COLUMNS
    drawn = {column for step in range(200) for column in second.columns(step)}
    assert drawn == set(second.trained)
    assert not drawn & set(second.held_out)


def test_draws_depend_on_seed_and_step_alone(model, reference):
    """Fails where a training that was cut off goes on with other columns."""
    first = term(reference, model, seed=4, n_columns=3)
    draws = [first.columns(step) for step in range(20)]
    again = term(reference, model, seed=4, n_columns=3)
    assert [again.columns(step) for step in reversed(range(20))] == draws[::-1]
    assert [term(reference, model, seed=5, n_columns=3).columns(step) for step in range(20)] != draws
    assert all(len(set(columns)) == 3 for columns in draws)
    everything = term(reference, model, n_columns=1000)
    assert sorted(everything.columns(0)) == everything.trained


def test_two_supercells(model, reference):
    """Fails where a column is looked up in another supercell's force constants."""
    pair = ATOMS[[0, 2]]
    both = [reference, ForceConstants(pair, hessian_of(make_model(seed=3), pair))]
    columns = HessianColumns(both, model, HessianParameters(n_columns=6), seed=0, device=CPU)
    assert {number for number, _ in columns.held_out} == {0, 1}
    assert columns.mean_absolute_error(make_model(seed=3)) < 1e-12
    assert float(columns.loss(make_model(seed=3), 1).detach()) < 1e-10


def test_few_columns_of_a_large_supercell_are_held_out(model):
    """Fails where the validation after each epoch would cost more than the epoch."""
    large = ATOMS.repeat((2, 2, 2))
    columns = term(ForceConstants(large, np.zeros((48, 48, 3, 3))), model)
    assert len(columns.held_out) == MOST_HELD_OUT


def test_single_precision_model(model, reference):
    """Fails where the graph keeps its double precision and the model refuses it."""
    columns, exact = term(reference, model), term(reference, model).mean_absolute_error(model)
    single = copy.deepcopy(model).float()
    assert columns.mean_absolute_error(single) == pytest.approx(exact, rel=1e-3)
    loss = columns.loss(single, 0)
    assert loss.dtype == torch.float32
    loss.backward()
    assert columns.mean_absolute_error(model) == exact


def test_no_supercell(model):
    with pytest.raises(ValueError, match="no force constants"):
        HessianColumns([], model, HessianParameters(), seed=0, device=CPU)

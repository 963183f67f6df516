"""The batched MACE potential against MACE's own calculator, and against itself walker by walker."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mace.calculators import MACECalculator
from worker_examples import rutile_frames

from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
from aiida_slhmc.worker.potential import MacePotential

FOUNDATION = Path(__file__).parents[2] / "examples" / "foundation" / "foundation.safetensors"
BOUND = 1e-10  # eV and eV/Å


@pytest.fixture(scope="module")
def foundation():
    with default_dtype(torch.float64):
        return load_checkpoint(FOUNDATION)


@pytest.fixture(scope="module")
def frames():
    """Four walkers with cells of their own."""
    return rutile_frames(4, seed=5)


@pytest.fixture
def potential(foundation, frames):
    return MacePotential(foundation, frames[0].numbers, cells(frames))


def cells(frames):
    return np.stack([atoms.cell.array for atoms in frames])


def positions(frames):
    return np.stack([atoms.positions for atoms in frames])


def calculator_results(model, frames, dtype="float64"):
    """Energies and forces of MACE's calculator on a copy of the model (it changes the model it is given)."""
    calculator = MACECalculator(models=[copy.deepcopy(model)], device="cpu", default_dtype=dtype)
    results = []
    for atoms in frames:
        copied = atoms.copy()
        copied.calc = calculator
        results.append((copied.get_potential_energy(), copied.get_forces()))
    return tuple(np.array(part) for part in zip(*results, strict=True))


def test_equals_maces_calculator(foundation, potential, frames):
    """Control: the same calculator in single precision misses the bound."""
    energies, forces = potential(positions(frames))
    expected = calculator_results(foundation, frames)
    np.testing.assert_allclose(energies, expected[0], rtol=0, atol=BOUND)
    np.testing.assert_allclose(forces, expected[1], rtol=0, atol=BOUND)
    single = calculator_results(foundation, frames, "float32")
    assert np.abs(energies - single[0]).max() > 1e3 * BOUND
    assert np.abs(forces - single[1]).max() > 1e3 * BOUND


def test_batch_equals_one_by_one(foundation, potential, frames):
    """Would fail if walkers shared a cell or an edge. Control: with the cells in another order it does fail."""
    energies, forces = potential(positions(frames))
    assert (energies.shape, forces.shape) == ((4,), (4, 6, 3))
    assert energies.dtype == forces.dtype == np.float64
    for k, atoms in enumerate(frames):
        alone = MacePotential(foundation, atoms.numbers, atoms.cell.array[None])(atoms.positions[None])
        assert abs(energies[k] - alone[0][0]) < BOUND
        assert np.abs(forces[k] - alone[1][0]).max() < BOUND
    swapped = MacePotential(foundation, frames[0].numbers, cells(frames[::-1]))(positions(frames))
    assert np.abs(swapped[0] - energies).max() > 1e-3


def test_forces_are_the_gradient(potential, frames):
    """Central differences. With other forces the integration error would not vanish with the time step."""
    start = positions(frames)
    direction = np.random.default_rng(0).normal(size=start.shape)
    step = 1e-4
    slope = (potential(start + step * direction)[0] - potential(start - step * direction)[0]) / (2 * step)
    np.testing.assert_allclose(-np.sum(potential(start)[1] * direction, axis=(1, 2)), slope, rtol=1e-5, atol=1e-6)


def test_positions_need_not_be_wrapped(potential, frames):
    """Trajectories are not wrapped: an atom that left the cell is the same atom."""
    start = positions(frames)
    moved = start.copy()
    moved[:, 2] += 2 * cells(frames)[:, 0] - 3 * cells(frames)[:, 2]
    for before, after in zip(potential(start), potential(moved), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=BOUND)


def test_net_force_is_zero(potential, frames):
    """What lets momenta be drawn without a centre-of-mass part."""
    assert np.abs(potential(positions(frames))[1].sum(axis=1)).max() < BOUND


def test_same_positions_same_bits(potential, frames):
    """After the warm-up: a replayed cycle depends on nothing that came before."""
    potential.warm_up(positions(frames))
    first = potential(positions(frames))
    potential(positions(frames) + 0.05)
    for before, after in zip(first, potential(positions(frames)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_leaves_its_argument_alone(potential, frames):
    start = positions(frames)
    potential(start)
    np.testing.assert_array_equal(start, positions(frames))


def test_missing_element(foundation, frames):
    numbers = frames[0].numbers.copy()
    numbers[0], numbers[-1] = 1, 79
    with pytest.raises(ValueError, match=r"atomic numbers \[1, 79\]"):
        MacePotential(foundation, numbers, cells(frames))


def test_as_many_cells_as_walkers(potential, frames):
    """A silent broadcast or truncation would move a walker in the wrong cell."""
    with pytest.raises(ValueError, match="zip"):
        potential(positions(frames)[:3])

"""The batched MACE potential against MACE's own calculator, and against itself walker by walker."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mace.calculators import MACECalculator
from worker_examples import rutile_frames

from aiida_slhmc.kernel.strain import STRAIN_BASES
from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
from aiida_slhmc.worker.potential import MacePotential

FOUNDATION = Path(__file__).parents[2] / "examples" / "foundation" / "foundation.safetensors"
BOUND = 1e-10  # eV, eV/Å and eV/Å³


@pytest.fixture(scope="module")
def foundation():
    with default_dtype(torch.float64):
        return load_checkpoint(FOUNDATION)


@pytest.fixture(scope="module")
def frames():
    """Four walkers with cells of their own, all of them triclinic."""
    return rutile_frames(4, seed=5)


@pytest.fixture
def potential(foundation, frames):
    return MacePotential(foundation, frames[0].numbers, compute_stress=True)


def cells(frames):
    return np.stack([atoms.cell.array for atoms in frames])


def positions(frames):
    return np.stack([atoms.positions for atoms in frames])


def calculator_results(model, frames, dtype="float64"):
    """Energies, forces and stresses of MACE's calculator on a copy of the model (it changes the model it is given)."""
    calculator = MACECalculator(models=[copy.deepcopy(model)], device="cpu", default_dtype=dtype)
    results = []
    for atoms in frames:
        copied = atoms.copy()
        copied.calc = calculator
        results.append((copied.get_potential_energy(), copied.get_forces(), copied.get_stress(voigt=False)))
    return tuple(np.array(part) for part in zip(*results, strict=True))


def deformed(potential, frames, strain):
    """The model's output where cells and atoms are deformed by 1 + *strain*, (3, 3) or one for each walker."""
    factors = np.broadcast_to(np.eye(3) + strain, (len(frames), 3, 3))
    return potential(positions(frames) @ factors, cells(frames) @ factors)


def test_equals_maces_calculator(foundation, potential, frames):
    """Fails where the graph, a unit or a sign differs from MACE's. Control: in single precision it misses the bound."""
    results = potential(positions(frames), cells(frames))
    expected = calculator_results(foundation, frames)
    single = calculator_results(foundation, frames, "float32")
    for ours, theirs, rounded in zip(results, expected, single, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=BOUND)
        assert np.abs(ours - rounded).max() > 10 * BOUND
    off_diagonal = results.stresses[:, [0, 0, 1], [1, 2, 2]]
    assert np.abs(off_diagonal).min(axis=1).max() > 1e-3, "no walker in which a transposed or missing shear would show"


def test_batch_equals_one_by_one(foundation, potential, frames):
    """Would fail if walkers shared a cell or an edge. Control: with the cells in another order it does fail."""
    together = potential(positions(frames), cells(frames))
    assert [part.shape for part in together] == [(4,), (4, 6, 3), (4, 3, 3)]
    assert {part.dtype for part in together} == {np.dtype(np.float64)}
    for k in range(4):
        alone = potential(positions(frames)[[k]], cells(frames)[[k]])
        for one, all_walkers in zip(alone, together, strict=True):
            assert np.abs(one[0] - all_walkers[k]).max() < BOUND
    swapped = potential(positions(frames), cells(frames)[::-1])
    for before, after in zip(together, swapped, strict=True):
        assert np.abs(before - after).max() > 1e-3


def test_stresses_only_where_asked_for(foundation, potential, frames):
    """Fails where NVT pays for stresses, or asking for them changes its energies or forces."""
    without = MacePotential(foundation, frames[0].numbers, compute_stress=False)(positions(frames), cells(frames))
    assert without.stresses is None
    for one, other in zip(without[:2], potential(positions(frames), cells(frames))[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=BOUND)


def test_forces_are_the_gradient(potential, frames):
    """Central differences. With other forces the integration error would not vanish with the time step."""
    start, h = positions(frames), cells(frames)
    direction = np.random.default_rng(0).normal(size=start.shape)
    step = 1e-4
    ends = [potential(start + sign * step * direction, h).energies for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    work = -np.sum(potential(start, h).forces * direction, axis=(1, 2))
    np.testing.assert_allclose(work, slope, rtol=1e-5, atol=1e-6)


def test_stresses_are_the_gradient(potential, frames):
    """σ : η = (1/Ω) dV/dη by central differences, for each of the six strains. Control: the other sign."""
    volumes = np.linalg.det(cells(frames))
    stresses = potential(positions(frames), cells(frames)).stresses
    step = 1e-4
    for strain in STRAIN_BASES["full"]:
        ends = [deformed(potential, frames, sign * step * strain).energies for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step) / volumes
        work = np.sum(stresses * strain, axis=(1, 2))
        np.testing.assert_allclose(work, slope, rtol=1e-5, atol=1e-8)
        assert np.abs(-work - slope).max() > 1e-3


def test_sign_of_the_stress(potential, frames):
    """Positive under tension: a stretched crystal pulls, a compressed one pushes. NPT with the other sign runs away."""
    pressures = [-np.trace(deformed(potential, frames, s * np.eye(3)).stresses, axis1=1, axis2=2) for s in (0.05, -0.1)]
    assert np.all(pressures[0] < 0)
    assert np.all(pressures[1] > 0)


def test_positions_need_not_be_wrapped(potential, frames):
    """Trajectories are not wrapped: an atom that left the cell is the same atom."""
    start, h = positions(frames), cells(frames)
    moved = start.copy()
    moved[:, 2] += 2 * h[:, 0] - 3 * h[:, 2]
    for before, after in zip(potential(start, h), potential(moved, h), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=BOUND)


def test_net_force_is_zero(potential, frames):
    """What lets momenta be drawn without a centre-of-mass part."""
    assert np.abs(potential(positions(frames), cells(frames)).forces.sum(axis=1)).max() < BOUND


def test_same_arguments_same_bits(potential, frames):
    """After the warm-up: a replayed cycle depends on nothing that came before."""
    start, h = positions(frames), cells(frames)
    potential.warm_up(start, h)
    first = potential(start, h)
    potential(start + 0.05, h * 1.02)
    for before, after in zip(first, potential(start, h), strict=True):
        np.testing.assert_array_equal(before, after)


def test_leaves_its_arguments_alone(potential, frames):
    start, h = positions(frames), cells(frames)
    potential(start, h)
    np.testing.assert_array_equal(start, positions(frames))
    np.testing.assert_array_equal(h, cells(frames))


def test_missing_element(foundation, frames):
    numbers = frames[0].numbers.copy()
    numbers[0], numbers[-1] = 1, 79
    with pytest.raises(ValueError, match=r"atomic numbers \[1, 79\]"):
        MacePotential(foundation, numbers, compute_stress=False)


def test_as_many_cells_as_walkers(potential, frames):
    """A silent broadcast or truncation would move a walker in the wrong cell."""
    with pytest.raises(ValueError, match="zip"):
        potential(positions(frames)[:3], cells(frames))

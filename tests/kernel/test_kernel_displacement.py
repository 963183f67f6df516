"""How far a proposal is from its state: minimum image, centre of mass and cell changes taken out."""

import numpy as np
import pytest
from systems import ATOMIC_MASSES, TRICLINIC

from aiida_slhmc.kernel.displacement import squared_displacement
from aiida_slhmc.kernel.strain import deformation


@pytest.fixture
def positions():
    return np.random.default_rng(0).random((4, 3)) @ TRICLINIC


@pytest.fixture
def moves():
    """Small, without a motion of the centre of mass."""
    moves = np.random.default_rng(1).normal(0, 0.2, (4, 3))
    return moves - ATOMIC_MASSES @ moves / ATOMIC_MASSES.sum()


def displacement(first, last, first_cell=TRICLINIC, last_cell=TRICLINIC):
    return squared_displacement((first, last), (first_cell, last_cell), ATOMIC_MASSES)


def test_mean_over_atoms(positions, moves):
    """By hand: not the sum, not the root."""
    assert displacement(positions, positions + moves) == pytest.approx(np.mean(np.sum(moves**2, axis=1)))
    assert displacement(positions, positions) == 0.0


def test_nearest_image(positions, moves):
    """An atom that left through a face of the triclinic cell has not moved far."""
    wrapped = positions + moves + np.array([[1, 0, 0], [0, -1, 2], [0, 0, 0], [-3, 1, 1]]) @ TRICLINIC
    assert displacement(positions, wrapped) == pytest.approx(displacement(positions, positions + moves))


def test_centre_of_mass_does_not_count(positions, moves):
    """Weighted by mass. Control: an equal shift of one atom only does count."""
    drift = np.array([0.1, -0.2, 0.3])
    assert displacement(positions, positions + moves + drift) == pytest.approx(
        displacement(positions, positions + moves)
    )
    one = np.zeros((4, 3))
    one[3] = drift
    assert displacement(positions, positions + one) > 0.02


def test_affine_change_of_the_cell_moves_nothing(positions):
    f = deformation(np.array([[0.05, 0.02, 0.0], [0.02, -0.03, 0.01], [0.0, 0.01, 0.04]]))
    assert displacement(positions, positions @ f, last_cell=TRICLINIC @ f) == pytest.approx(0.0, abs=1e-25)


def test_the_mean_cell_is_the_ruler(positions, moves):
    """A displacement in a cell that grows by 10 % is measured with a cell 5 % larger."""
    grown = displacement(positions, 1.1 * (positions + moves), last_cell=1.1 * TRICLINIC)
    assert grown == pytest.approx(1.05**2 * displacement(positions, positions + moves))


def test_there_is_as_far_as_back(positions, moves):
    f = deformation(np.diag([0.05, 0.0, -0.02]))
    end, cell = (positions + moves) @ f, TRICLINIC @ f
    there = displacement(positions, end, TRICLINIC, cell)
    assert there == pytest.approx(displacement(end, positions, cell, TRICLINIC))

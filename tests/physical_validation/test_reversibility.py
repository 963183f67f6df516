"""Reversibility of the leapfrog with a real MACE model: there, flip, and back to 1e-10 Å."""

import numpy as np
import pytest
import torch
from ase.spacegroup import crystal

from aiida_slhmc.kernel.dynamics import Phase, draw_momenta, leapfrog
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV
from aiida_slhmc.worker.checkpoint import default_dtype
from aiida_slhmc.worker.potential import MacePotential

pytestmark = pytest.mark.physical_validation

BOUND = 1e-10  # Å
N_STEPS, TIMESTEP, TEMPERATURE = 10, 1.0, 300.0


@pytest.fixture(scope="module")
def rutile():
    """Six atoms, off their sites."""
    atoms = crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.97, 90, 90, 90])
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, (6, 3))
    return atoms


@pytest.fixture(scope="module")
def potential(foundation, rutile):
    with default_dtype(torch.float64):
        potential = MacePotential(foundation, rutile.numbers, rutile.cell.array[None])
        potential.warm_up(rutile.positions[None])
        yield potential


def there_and_back(integrator, potential, atoms):
    """Largest distance from the start, and how far away the trajectory had been."""
    masses = atoms.get_masses()
    positions = atoms.positions[None].copy()
    momenta = draw_momenta(random_stream(0, 0, 0, Purpose.MOMENTA), masses, TEMPERATURE)[None]
    start = Phase(positions, momenta, *potential(positions))
    there = integrator(start, masses, TIMESTEP, N_STEPS, potential)
    back = integrator(there._replace(momenta=-there.momenta), masses, TIMESTEP, N_STEPS, potential)
    return np.abs(back.positions - positions).max(), np.abs(there.positions - positions).max()


def explicit_euler(start, masses, timestep, n_steps, potential):
    """Not reversible."""
    positions, momenta, energy, forces = start
    for _ in range(n_steps):
        positions, momenta = (
            positions + timestep * momenta / masses[:, None],
            momenta + timestep * forces / AMU_ANGSTROM2_PER_FS2_IN_EV,
        )
        energy, forces = potential(positions)
    return Phase(positions, momenta, energy, forces)


def test_leapfrog_with_mace_is_reversible(potential, rutile):
    distance, excursion = there_and_back(leapfrog, potential, rutile)
    assert distance < BOUND
    assert excursion > 0.01


def test_control_euler_is_not(potential, rutile):
    assert there_and_back(explicit_euler, potential, rutile)[0] > 1e4 * BOUND


def test_control_forces_that_remember_are_not(potential, rutile):
    """Forces that lag one call behind, as a neighbour list or a charge density kept from before would make them."""
    kept = []

    def lagging(positions):
        energy, forces = potential(positions)
        kept.append(forces)
        return energy, forces + 0.01 * (kept[-2] - forces) if len(kept) > 1 else forces

    assert there_and_back(leapfrog, lagging, rutile)[0] > 1e4 * BOUND


def test_control_single_precision_is_not(potential, rutile):
    """Positions and momenta rounded to float32 after every step."""

    def single(start, masses, timestep, n_steps, potential):
        for _ in range(n_steps):
            end = leapfrog(start, masses, timestep, 1, potential)
            start = Phase(*(part.astype(np.float32).astype(float) for part in end))
        return start

    assert there_and_back(single, potential, rutile)[0] > 1e2 * BOUND

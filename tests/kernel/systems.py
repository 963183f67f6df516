"""Small systems and integrators for the kernel's tests."""

import numpy as np

from aiida_slhmc.kernel.dynamics import Phase
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV

MASSES = np.array([47.867, 15.999, 15.999, 1.008])


def anharmonic(positions):
    """Quartic wells and Morse-like pairs, batched over leading axes; energies in eV, forces in eV/Å."""
    pairs = positions[..., :, None, :] - positions[..., None, :, :]
    squared = np.sum(pairs**2, axis=-1)
    bond = np.exp(-squared)
    wells = 0.5 * positions**2 + 0.3 * positions**4
    energy = np.sum(wells, axis=(-2, -1)) + 0.5 * np.sum(bond, axis=(-2, -1))
    forces = -(positions + 1.2 * positions**3) + 2 * np.sum(bond[..., None] * pairs, axis=-2)
    return energy, forces


def phase(seed, n_atoms=4, batch=(), potential=anharmonic, scale=0.3):
    """A random point of phase space."""
    generator = np.random.default_rng(seed)
    positions = generator.normal(0, scale, (*batch, n_atoms, 3))
    momenta = generator.normal(0, 0.05, (*batch, n_atoms, 3)) * np.sqrt(MASSES[:n_atoms, None])
    return Phase(positions, momenta, *potential(positions))


def explicit_euler(start, masses, timestep, n_steps, potential):
    """Neither reversible nor volume preserving: the control that the tests of both must reject."""
    positions, momenta, energy, forces = start
    for _ in range(n_steps):
        positions, momenta = (
            positions + timestep * momenta / masses[:, None],
            momenta + timestep * forces / AMU_ANGSTROM2_PER_FS2_IN_EV,
        )
        energy, forces = potential(positions)
    return Phase(positions, momenta, energy, forces)


def symplectic_euler(start, masses, timestep, n_steps, potential):
    """Volume preserving, but not reversible and of first order only."""
    positions, momenta, energy, forces = start
    for _ in range(n_steps):
        momenta = momenta + timestep * forces / AMU_ANGSTROM2_PER_FS2_IN_EV
        positions = positions + timestep * momenta / masses[:, None]
        energy, forces = potential(positions)
    return Phase(positions, momenta, energy, forces)

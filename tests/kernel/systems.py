"""Small systems for the kernel's tests."""

import numpy as np

from aiida_slhmc.kernel.dynamics import Phase
from aiida_slhmc.kernel.ensembles import Npt

ATOMIC_MASSES = np.array([47.867, 15.999, 15.999, 1.008])
MASSES = np.repeat(ATOMIC_MASSES, 3)
TRICLINIC = np.array([[4.1, 0.0, 0.0], [0.7, 3.8, 0.0], [-0.4, 0.5, 4.4]])
MODES = ("isotropic", "orthorhombic", "full")


def anharmonic(coordinates):
    """Quartic wells and repelling pairs of atoms; coordinates (..., 3 n_atoms), energies in eV, forces in eV/Å."""
    positions = coordinates.reshape(*coordinates.shape[:-1], -1, 3)
    pairs = positions[..., :, None, :] - positions[..., None, :, :]
    bond = np.exp(-np.sum(pairs**2, axis=-1))
    wells = 0.5 * positions**2 + 0.3 * positions**4
    energy = np.sum(wells, axis=(-2, -1)) + 0.5 * np.sum(bond, axis=(-2, -1))
    forces = -(positions + 1.2 * positions**3) + 2 * np.sum(bond[..., None] * pairs, axis=-2)
    return energy, forces.reshape(coordinates.shape)


def phase(seed, n_atoms=4, batch=(), potential=anharmonic, scale=0.3):
    """A random point of phase space."""
    generator = np.random.default_rng(seed)
    coordinates = generator.normal(0, scale, (*batch, 3 * n_atoms))
    momenta = generator.normal(0, 0.05, (*batch, 3 * n_atoms)) * np.sqrt(MASSES[: 3 * n_atoms])
    return Phase(coordinates, momenta, *potential(coordinates))


def npt(mode, pressure=3.0, temperature=300.0, **changes):
    """NPT of the four atoms on the triclinic reference cell."""
    arguments = {"pressure": pressure, "cell_degrees_of_freedom": mode, "cell_time_constant": 100.0, **changes}
    return Npt(ATOMIC_MASSES, temperature, TRICLINIC, **arguments)


def npt_coordinates(ensemble, seed, batch=(), strain=0.1):
    """Random atoms in the reference cell, and a random strain."""
    generator = np.random.default_rng(seed)
    atoms = generator.random((*batch, len(ATOMIC_MASSES), 3)) @ TRICLINIC
    components = generator.normal(0, strain, (*batch, len(ensemble.basis)))
    return np.concatenate([atoms.reshape(*batch, -1), components], axis=-1)

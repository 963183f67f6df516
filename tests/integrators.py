"""Wrong integrators for the negative controls, and the measures that tell the leapfrog from them.

Shared by tests/kernel and tests/physical_validation; coordinates are flat, as in the kernel: (..., n_coordinates).
"""

import numpy as np

from aiida_slhmc.kernel.dynamics import Phase, leapfrog
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV


def explicit_euler(start, masses, timestep, n_steps, potential):
    """Neither reversible nor volume preserving: the control that the tests of both must reject."""
    coordinates, momenta, energy, forces = start
    for _ in range(n_steps):
        coordinates, momenta = (
            coordinates + timestep * momenta / masses,
            momenta + timestep * forces / AMU_ANGSTROM2_PER_FS2_IN_EV,
        )
        energy, forces = potential(coordinates)
    return Phase(coordinates, momenta, energy, forces)


def symplectic_euler(start, masses, timestep, n_steps, potential):
    """Volume preserving, but not reversible and of first order only."""
    coordinates, momenta, energy, forces = start
    for _ in range(n_steps):
        momenta = momenta + timestep * forces / AMU_ANGSTROM2_PER_FS2_IN_EV
        coordinates = coordinates + timestep * momenta / masses
        energy, forces = potential(coordinates)
    return Phase(coordinates, momenta, energy, forces)


def with_drag(factor):
    """The leapfrog with all momenta multiplied by *factor* at the end of the trajectory."""

    def drag(*arguments):
        end = leapfrog(*arguments)
        return end._replace(momenta=factor * end.momenta)

    return drag


def there_and_back(integrator, start, masses, timestep, n_steps, potential):
    """The far end of the trajectory, and where it comes back to after the momenta are flipped there."""
    there = integrator(start, masses, timestep, n_steps, potential)
    return there, integrator(there._replace(momenta=-there.momenta), masses, timestep, n_steps, potential)


def log_determinant(integrator, start, masses, timestep, n_steps, potential, step=1e-4):
    """Logarithm of |det ∂(q′, p′)/∂(q, p)| of one walker's trajectory by central differences of fourth order.

    In the coordinates q √m and p / √m, where all steps are of like size; the determinant is the same.
    """
    root, n = np.sqrt(masses), len(masses)
    shifts = step * np.array([-2, -1, 1, 2])[:, None, None] * np.eye(2 * n)
    points = np.concatenate([start.coordinates * root, start.momenta / root]) + shifts
    coordinates = points[..., :n] / root
    starts = Phase(coordinates, points[..., n:] * root, *potential(coordinates))
    end = integrator(starts, masses, timestep, n_steps, potential)
    images = np.concatenate([end.coordinates * root, end.momenta / root], axis=-1)
    derivative = np.tensordot([1, -8, 8, -1], images, axes=1) / (12 * step)
    return np.linalg.slogdet(derivative)[1]

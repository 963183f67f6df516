"""Momenta and the leapfrog integrator, in generalised coordinates.

What the coordinates are, an ensemble says (`ensembles.py`): the atoms' positions in NVT, their positions in the
reference cell and the strain in NPT. The masses are constant and the Hamiltonian separable in both, so one integrator
serves both. Every function takes a leading batch of any shape: coordinates, momenta and forces are
(..., n_coordinates), masses (n_coordinates,). One walker is (n_coordinates,), all walkers in lock-step (n_walkers,
n_coordinates).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV, thermal_energy

__all__ = ("EnergyAndForces", "Phase", "draw_momenta", "jittered_steps", "kinetic_energy", "leapfrog")

Array = NDArray[np.float64]
# coordinates (..., n_coordinates) -> Φ (...) in eV and −∂Φ/∂q (..., n_coordinates) in eV per unit of q
EnergyAndForces = Callable[[Array], tuple[Array, Array]]


class Phase(NamedTuple):
    """A point of phase space with the energy Φ and the forces −∂Φ/∂q there.

    ``coordinates`` q (..., n_coordinates): Å for atoms, no unit for strain; ``momenta`` p likewise in amu Å/fs (strain:
    amu Å²/fs); ``energy`` (...) in eV, ``forces`` (..., n_coordinates) in eV per unit of q.
    """

    coordinates: Array
    momenta: Array
    energy: Array
    forces: Array


def draw_momenta(generator: np.random.Generator, masses: Array, temperature: float) -> Array:
    """Momenta of one walker's atoms, p_i ~ N(0, m_i k_B T), with the total momentum removed.

    The projection p_i ← p_i − m_i Σp/Σm gives the Maxwell distribution on the 3N − 3 degrees of
    freedom that are left (the velocity of the centre of mass is zero).

    :param masses: (n_atoms,) in amu.
    :param temperature: T in K.
    :returns: (n_atoms, 3) in amu Å/fs.
    """
    sigma = np.sqrt(masses * thermal_energy(temperature) / AMU_ANGSTROM2_PER_FS2_IN_EV)
    momenta = generator.standard_normal((len(masses), 3)) * sigma[:, None]
    return momenta - masses[:, None] * momenta.sum(axis=0) / masses.sum()


def kinetic_energy(momenta: Array, masses: Array) -> Array:
    """K = Σ_i p_i² / 2m_i in eV, shape (...) for momenta (..., n_coordinates)."""
    return AMU_ANGSTROM2_PER_FS2_IN_EV * np.sum(momenta**2 / (2 * masses), axis=-1)


def jittered_steps(generator: np.random.Generator, n_steps: int, jitter: float) -> int:
    """A number of steps drawn uniformly from n (1 ± jitter), at least 1.

    The draw depends on nothing but the stream, so detailed balance holds for every n separately; it
    breaks the resonance of a fixed trajectory length with a vibration's period (Mackenzie 1989).

    :raises ValueError: if n_steps < 1 or jitter is outside [0, 1).
    """
    if n_steps < 1 or not 0 <= jitter < 1:
        raise ValueError(f"need n_steps >= 1 and 0 <= jitter < 1, got {n_steps} and {jitter}")
    low, high = round(n_steps * (1 - jitter)), round(n_steps * (1 + jitter))
    return int(generator.integers(max(1, low), max(1, high), endpoint=True))


def leapfrog(start: Phase, masses: Array, timestep: float, n_steps: int, potential: EnergyAndForces) -> Phase:
    """Velocity Verlet: *n_steps* of

        p ← p − ∂Φ/∂q Δt/2,   q ← q + p/m Δt,   p ← p − ∂Φ/∂q Δt/2.

    | symbol | variable | unit |
    |---|---|---|
    | q | ``start.coordinates`` | Å (atoms), none (strain) |
    | p | ``start.momenta`` | amu Å/fs (atoms), amu Å²/fs (strain) |
    | −∂Φ/∂q | ``potential(q)[1]`` | eV/Å (atoms), eV (strain) |
    | m | ``masses`` | amu (atoms), amu Å² (strain) |
    | Δt | ``timestep`` | fs |

    The map is reversible (flip p, run again, and the start is reached) and preserves volume in phase
    space, whatever the potential; both are what makes the Metropolis test exact.
    """
    coordinates, momenta, energy, forces = start
    half_kick = 0.5 * timestep / AMU_ANGSTROM2_PER_FS2_IN_EV
    for _ in range(n_steps):
        momenta = momenta + half_kick * forces
        coordinates = coordinates + timestep * momenta / masses
        energy, forces = potential(coordinates)
        momenta = momenta + half_kick * forces
    return Phase(coordinates, momenta, energy, forces)

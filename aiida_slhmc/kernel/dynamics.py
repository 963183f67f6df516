"""Momenta and the leapfrog integrator.

Every function takes a leading batch of any shape: positions, momenta and forces are (..., n_atoms, 3),
masses (n_atoms,). One walker is (n_atoms, 3), all walkers in lock-step (n_walkers, n_atoms, 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV, thermal_energy

__all__ = ("EnergyAndForces", "Phase", "draw_momenta", "jittered_steps", "kinetic_energy", "leapfrog")

Array = NDArray[np.float64]
# positions (..., n_atoms, 3) in Å -> energies (...) in eV and forces (..., n_atoms, 3) in eV/Å
EnergyAndForces = Callable[[Array], tuple[Array, Array]]


class Phase(NamedTuple):
    """A point of phase space with the energy and forces there.

    ``positions`` (..., n_atoms, 3) in Å, ``momenta`` likewise in amu Å/fs, ``energy`` (...) in eV,
    ``forces`` (..., n_atoms, 3) in eV/Å.
    """

    positions: Array
    momenta: Array
    energy: Array
    forces: Array


def draw_momenta(generator: np.random.Generator, masses: Array, temperature: float) -> Array:
    """Momenta of one walker, p_i ~ N(0, m_i k_B T), with the total momentum removed.

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
    """K = Σ_i |p_i|² / 2m_i in eV, shape (...) for momenta (..., n_atoms, 3)."""
    return AMU_ANGSTROM2_PER_FS2_IN_EV * np.sum(momenta**2 / (2 * masses[:, None]), axis=(-2, -1))


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

        p ← p + F(r) Δt/2,   r ← r + p/m Δt,   p ← p + F(r) Δt/2.

    | symbol | variable | unit |
    |---|---|---|
    | r | ``start.positions`` | Å |
    | p | ``start.momenta`` | amu Å/fs |
    | F | ``potential(r)[1]`` | eV/Å |
    | m | ``masses`` | amu |
    | Δt | ``timestep`` | fs |

    The map is reversible (flip p, run again, and the start is reached) and preserves volume in phase
    space, whatever the potential; both are what makes the Metropolis test exact.
    """
    positions, momenta, energy, forces = start
    half_kick = 0.5 * timestep / AMU_ANGSTROM2_PER_FS2_IN_EV
    for _ in range(n_steps):
        momenta = momenta + half_kick * forces
        positions = positions + timestep * momenta / masses[:, None]
        energy, forces = potential(positions)
        momenta = momenta + half_kick * forces
    return Phase(positions, momenta, energy, forces)

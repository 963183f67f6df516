"""Massive Nosé–Hoover chains around the leapfrog: molecular dynamics in the same ensembles as the sampler's.

Every generalised coordinate (`ensembles.py`: atoms, and in NPT the strain) has a chain of thermostats of its own. The
Hamiltonian is the separable one of the sampler, H = Σ p²/2m + Φ(q), so NVT and NPT need one integrator, and what is
sampled is exp(−βΦ), as by hybrid Monte Carlo, up to the error of the finite time step.

ASE's ``NoseHooverChainNVT`` has one chain for all atoms, with which a crystal's modes exchange energy slowly or not at
all, and its barostats of Martyna, Tobias and Klein move a volume or a full matrix of the cell: not these strains, and
without their measure. Its thermostat is what this one is tested against, coordinate by coordinate.

As every coordinate is thermostatted by itself, the total momentum is *not* conserved: the centre of mass drifts, which
distances between atoms do not see, and the temperature belongs to all 3N degrees of freedom.

Sources: Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992); Martyna, Tuckerman, Tobias and Klein, Mol. Phys.
87, 1117 (1996); the weights: Yoshida, Phys. Lett. A 150, 262 (1990).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.dynamics import EnergyAndForces, Phase, kinetic_energy, leapfrog
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV, BOLTZMANN_EV_PER_K, thermal_energy

__all__ = ("Chains", "NoseHoover", "kinetic_temperature")

Array = NDArray[np.float64]

_OUTER = 1 / (2 - 2 ** (1 / 3))
# Suzuki's and Yoshida's weights of fourth order; their sum is 1
WEIGHTS = (_OUTER, 1 - 2 * _OUTER, _OUTER)


class Chains(NamedTuple):
    """State of the thermostats: ``positions`` η (no unit) and ``velocities`` η̇ (1/fs).

    Both are (length, ..., n_coordinates); the first axis goes along the chain, and its first link acts on the momentum.
    """

    positions: Array
    velocities: Array


class NoseHoover:
    """The equations of motion with a chain of M thermostats for each coordinate,

        q̇ = p/m,   ṗ = −∂Φ/∂q − p η̇₁,
        Q η̈₁ = p²/m − k_B T − Q η̇₁ η̇₂,
        Q η̈ⱼ = Q η̇ⱼ₋₁² − k_B T − Q η̇ⱼ η̇ⱼ₊₁   (without the last term for j = M),     Q = k_B T τ²,

    which conserve H′ = H + Σ (½ Q Σⱼ η̇ⱼ² + k_B T Σⱼ ηⱼ), the first sum over all coordinates, and sample the density
    exp(−βH) exp(−½ τ² Σ η̇²). One step is exp(iL_NHC Δt/2) leapfrog(Δt) exp(iL_NHC Δt/2).

    | symbol | variable | unit |
    |---|---|---|
    | q, p, Φ | of :class:`~aiida_slhmc.kernel.dynamics.Phase` | |
    | m | ``masses`` (n_coordinates,) | amu (atoms), amu Å² (strain) |
    | T | ``temperature`` | K |
    | τ | ``time_constant``, the same for all coordinates; a chain alone oscillates with the period √2 π τ | fs |
    | M | ``length`` | |
    | ηⱼ, η̇ⱼ | of :class:`Chains` | none, 1/fs |

    Every function takes a leading batch of any shape, as the leapfrog does; walkers do not feel each other.
    """

    def __init__(self, masses: Array, *, temperature: float, time_constant: float, length: int = 4) -> None:
        self.masses = masses
        self._thermal_energy = thermal_energy(temperature)
        self._rate = 1 / time_constant**2
        self._length = length
        # p²/(m k_B T), the reduced kinetic energy, is this times p²
        self._scale = AMU_ANGSTROM2_PER_FS2_IN_EV / (masses * self._thermal_energy)

    def draw_momenta(self, generator: np.random.Generator, batch: tuple[int, ...] = ()) -> Array:
        """Momenta of all coordinates, p ~ N(0, m k_B T), the centre of mass's included.

        :returns: (*batch, n_coordinates) in amu Å/fs (strain: amu Å²/fs).
        """
        return generator.standard_normal((*batch, len(self.masses))) / np.sqrt(self._scale)

    def draw_chains(self, generator: np.random.Generator, batch: tuple[int, ...] = ()) -> Chains:
        """Chains in equilibrium: η = 0, η̇ ~ N(0, 1/τ²)."""
        shape = (self._length, *batch, len(self.masses))
        return Chains(np.zeros(shape), np.sqrt(self._rate) * generator.standard_normal(shape))

    def step(self, phase: Phase, chains: Chains, timestep: float, potential: EnergyAndForces) -> tuple[Phase, Chains]:
        """One step of *timestep* Δt in fs, with one call of *potential*; nothing is changed in place."""
        momenta, chains = self.thermostat(phase.momenta, chains, 0.5 * timestep)
        phase = leapfrog(phase._replace(momenta=momenta), self.masses, timestep, 1, potential)
        momenta, chains = self.thermostat(phase.momenta, chains, 0.5 * timestep)
        return phase._replace(momenta=momenta), chains

    def thermostat(self, momenta: Array, chains: Chains, duration: float) -> tuple[Array, Chains]:
        """exp(iL_NHC *duration*): momenta and chains after so many fs, the coordinates at rest."""
        positions, velocities = (part.copy() for part in chains)
        reduced = self._scale * momenta**2
        factor = np.ones_like(momenta)
        for weight in WEIGHTS:
            part = weight * duration
            for j in reversed(range(self._length)):
                self._kick(velocities, reduced, j, part)
            positions += part * velocities
            slower = np.exp(-part * velocities[0])
            factor *= slower
            reduced *= slower**2
            for j in range(self._length):
                self._kick(velocities, reduced, j, part)
        return factor * momenta, Chains(positions, velocities)

    def _kick(self, velocities: Array, reduced: Array, j: int, duration: float) -> None:
        """Half of *duration* for link j, in place: its force, between two quarters of the friction of the next link."""
        own = velocities[j]
        friction = np.exp(-0.25 * duration * velocities[j + 1]) if j + 1 < self._length else 1.0
        force = self._rate * (reduced - 1) if j == 0 else velocities[j - 1] ** 2 - self._rate
        own *= friction
        own += 0.5 * duration * force
        own *= friction

    def chain_energy(self, chains: Chains) -> Array:
        """H′ − H in eV, (...)."""
        links = 0.5 * chains.velocities**2 / self._rate + chains.positions
        return self._thermal_energy * links.sum(axis=(0, -1))

    def conserved_energy(self, phase: Phase, chains: Chains) -> Array:
        """H′ in eV, (...)."""
        return phase.energy + kinetic_energy(phase.momenta, self.masses) + self.chain_energy(chains)


def kinetic_temperature(momenta: Array, masses: Array) -> Array:
    """2K/(n k_B) in K of n coordinates: of all 3N of the atoms, since no momentum is conserved.

    :param momenta: (..., n) in amu Å/fs, *masses* (n,) in amu.
    """
    return 2 * kinetic_energy(momenta, masses) / (len(masses) * BOLTZMANN_EV_PER_K)

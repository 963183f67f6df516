"""Molecular dynamics of many walkers in lock-step, each part replaceable by a wrong one for the negative controls."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aiida_slhmc.kernel.dynamics import Phase
from aiida_slhmc.kernel.ensembles import Ensemble, Model, ModelOutput
from aiida_slhmc.kernel.nose_hoover import Chains, NoseHoover
from aiida_slhmc.kernel.units import thermal_energy


@dataclass(frozen=True)
class Samples:
    """Every so many steps after the burn-in, with leading axes (n_samples, n_walkers)."""

    positions: np.ndarray
    cells: np.ndarray
    momenta: np.ndarray  # of all coordinates
    conserved: np.ndarray  # eV, at every step since the beginning

    @property
    def volumes(self):
        return np.abs(np.linalg.det(self.cells))


@dataclass(kw_only=True)
class Dynamics:
    """Parameters of a run; the functions are the kernel's, and the negative controls put wrong ones in their place."""

    ensemble: Ensemble
    model: Model
    timestep: float
    time_constant: float
    seed: int = 0
    thermostat: type[NoseHoover] = NoseHoover
    potential: Callable = lambda ensemble, model: ensemble.potential(model)
    scale_of_momenta: float = 1.0  # of those at the beginning

    def run(self, positions, cells, burn_in, n_samples, thinning) -> Samples:
        """From *positions* (n_walkers, n_atoms, 3) and *cells*, with momenta and chains drawn from the seed."""
        thermostat = self.thermostat(
            self.ensemble.masses, temperature=self.ensemble.temperature, time_constant=self.time_constant
        )
        potential = self.potential(self.ensemble, self.model)
        generator = np.random.default_rng(self.seed)
        coordinates, batch = self.ensemble.coordinates(positions, cells), (len(positions),)
        momenta = self.scale_of_momenta * thermostat.draw_momenta(generator, batch)
        phase = Phase(coordinates, momenta, *potential(coordinates))
        chains = thermostat.draw_chains(generator, batch)
        samples, conserved = [], []
        for step in range(1, burn_in + n_samples * thinning + 1):
            phase, chains = thermostat.step(phase, chains, self.timestep, potential)
            conserved.append(thermostat.conserved_energy(phase, chains))
            if step > burn_in and (step - burn_in) % thinning == 0:
                now, here = self.ensemble.configuration(phase.coordinates)
                samples.append((now, np.broadcast_to(here, cells.shape), phase.momenta))
        return Samples(*(np.array(part) for part in zip(*samples, strict=True)), np.array(conserved))


class WithoutThermostat(NoseHoover):
    """The leapfrog alone."""

    def thermostat(self, momenta: np.ndarray, chains: Chains, duration: float) -> tuple[np.ndarray, Chains]:
        return momenta, chains


class OneChain(NoseHoover):
    """One chain for all coordinates of a walker, of mass Q₁ = n k_B T τ²; the first column of the chains holds it."""

    def thermostat(self, momenta: np.ndarray, chains: Chains, duration: float) -> tuple[np.ndarray, Chains]:
        n = momenta.shape[-1]
        one = NoseHoover(np.ones(1), temperature=1.0, time_constant=1.0)
        # the reduced kinetic energy of all is that of one coordinate in its place
        one._rate, one._scale, one._length = self._rate, np.ones(1), len(chains.positions)
        root = np.sqrt(np.sum(self._scale * momenta**2, axis=-1, keepdims=True) / n)
        first = Chains(*(part[..., :1] for part in chains))
        slower, first = one.thermostat(root, first, duration)
        for part, new in zip(chains, first, strict=True):
            part[..., :1] = new
        return momenta * slower / root, chains


class HarmonicCrystal:
    """½ Σ_{i<j} kᵢⱼ |uᵢ − uⱼ|² of displacements u from sites: springs of random stiffness between all pairs.

    It does not depend on where the centre of mass is. With the eigenvectors v and eigenvalues λ > 0 of the matrix of
    springs, the amplitudes vᵀu are independent Gaussians of variance k_B T/λ, whatever the masses.
    """

    def __init__(self, n_atoms: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        springs = np.triu(generator.uniform(0.2, 2.0, (n_atoms, n_atoms)), 1)  # eV/Å²
        springs = springs + springs.T
        self.matrix = np.diag(springs.sum(axis=1)) - springs
        self.sites = generator.uniform(0, 4, (n_atoms, 3))

    def __call__(self, positions, cells):
        forces = -np.einsum("ij,...ja->...ia", self.matrix, positions - self.sites)
        energies = -0.5 * np.sum((positions - self.sites) * forces, axis=(-2, -1))
        return ModelOutput(energies, forces)

    def standardised(self, positions, temperature):
        """(..., n_atoms − 1, 3): each is N(0, 1) in equilibrium."""
        values, vectors = np.linalg.eigh(self.matrix)
        scale = np.sqrt(values[1:] / thermal_energy(temperature))
        return np.einsum("im,...ia->...ma", vectors[:, 1:] * scale, positions - self.sites)

    def fastest_period(self, masses):
        """In fs."""
        roots = np.sqrt(masses)
        values = np.linalg.eigvalsh(self.matrix / np.outer(roots, roots))
        return 2 * np.pi / np.sqrt(values[-1] / 103.6426966)

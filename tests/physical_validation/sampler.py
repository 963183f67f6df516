"""Einstein wells and a walk that uses the kernel's own functions, each replaceable by a wrong one.

The wells sit around the centre of mass, so that nothing pushes it: with wells fixed in space the total momentum would
change along a trajectory, and momenta without a centre-of-mass part would not be an equilibrium distribution. (A MACE
model, too, depends on differences of positions only.) The centre of mass then stays where it is, and the chain lives
on the plane Σ mᵢuᵢ = 0 of displacements u. With the columns of B an orthonormal basis of that plane, u = B q and K the
diagonal matrix of stiffnesses, the target's distribution there is exactly the Gaussian

    p(q) ∝ exp(−β qᵀ BᵀKB q / 2),

for any masses, since centre of mass and relative coordinates separate in the kinetic energy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from aiida_slhmc.kernel.dynamics import Phase, draw_momenta, jittered_steps, kinetic_energy, leapfrog
from aiida_slhmc.kernel.metropolis import decide, energy_change
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.kernel.units import thermal_energy


@dataclass(frozen=True)
class EinsteinWells:
    """½ Σ kᵢ |wᵢ|² in eV with w = u less its centre of mass, u (..., n_atoms, 3) in Å; and the forces."""

    masses: np.ndarray  # (n_atoms,) in amu
    stiffness: np.ndarray  # (n_atoms,) in eV/Å²

    def __call__(self, displacements):
        fractions = (self.masses / self.masses.sum())[:, None]
        relative = displacements - np.sum(fractions * displacements, axis=-2, keepdims=True)
        pulls = self.stiffness[:, None] * relative
        return 0.5 * np.sum(pulls * relative, axis=(-2, -1)), fractions * pulls.sum(axis=-2, keepdims=True) - pulls

    def standardised(self, displacements, temperature):
        """Coordinates that are independent standard normals in this well's ensemble: (..., n_atoms − 1, 3)."""
        plane = np.linalg.svd(self.masses[None, :])[2][1:].T
        root = np.linalg.cholesky(plane.T @ (self.stiffness[:, None] * plane))
        return np.einsum("ab,...bx->...ax", root.T @ plane.T, displacements) / np.sqrt(thermal_energy(temperature))


@dataclass
class Chain:
    """One walk of all walkers: the chain repeats the old state where a proposal was rejected."""

    displacements: np.ndarray  # (n_cycles, n_walkers, n_atoms, 3)
    accepted: np.ndarray  # (n_cycles, n_walkers)
    delta_h: np.ndarray  # (n_cycles, n_walkers) in eV, as the walk's own Metropolis test saw it


def same_for_all(generator, energies, n_steps, jitter):
    """The kernel's law: one draw for all walkers, whatever their states."""
    return np.full(len(energies), jittered_steps(generator, n_steps, jitter))


@dataclass(kw_only=True)
class Walk:
    """Parameters of a walk; the last four are the kernel's, and the negative controls put wrong ones in their place."""

    masses: np.ndarray
    target: EinsteinWells
    model: EinsteinWells
    temperature: float = 300.0
    timestep: float = 4.0
    n_steps: int = 8
    jitter: float = 0.2
    seed: int = 0
    momenta: Callable = field(default=draw_momenta)
    change: Callable = field(default=energy_change)
    lengths: Callable = field(default=same_for_all)
    integrator: Callable = field(default=leapfrog)

    def run(self, n_walkers: int, n_cycles: int) -> Chain:
        """Walk from the bottom of the wells."""
        state = np.zeros((n_walkers, len(self.masses), 3))
        cycles = []
        for cycle in range(n_cycles):
            proposal, changes = self._propose(state, cycle)
            decisions = [
                decide(random_stream(self.seed, 0, cycle, Purpose.METROPOLIS, k), change, self.temperature)
                for k, change in enumerate(changes)
            ]
            accepted = np.array([decision.accepted for decision in decisions])
            state = np.where(accepted[:, None, None], proposal, state)
            cycles.append((state, accepted, [change.total for change in changes]))
        return Chain(*(np.array(part) for part in zip(*cycles, strict=True)))

    def _propose(self, state, cycle):
        streams = [random_stream(self.seed, 0, cycle, Purpose.MOMENTA, k) for k in range(len(state))]
        momenta = np.stack([self.momenta(stream, self.masses, self.temperature) for stream in streams])
        start = Phase(state, momenta, *self.model(state))
        stream = random_stream(self.seed, 0, cycle, Purpose.STEPS)
        lengths = self.lengths(stream, self.target(state)[0], self.n_steps, self.jitter)
        end = Phase(*(np.empty_like(part) for part in start))
        for length in np.unique(lengths):
            chosen = lengths == length
            part = Phase(*(values[chosen] for values in start))
            part = self.integrator(part, self.masses, self.timestep, int(length), self.model)
            for values, new in zip(end, part, strict=True):
                values[chosen] = new
        ends = [
            [potential(phase.positions)[0] for phase in (start, end)] for potential in (self.target, self.model)
        ] + [[kinetic_energy(phase.momenta, self.masses) for phase in (start, end)]]
        return end.positions, [self.change(*np.array(ends)[:, :, k].tolist()) for k in range(len(state))]

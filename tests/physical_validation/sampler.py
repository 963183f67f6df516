"""A walk that uses the kernel's own functions, each replaceable by a wrong one for the negative controls."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aiida_slhmc.kernel.dynamics import Phase, jittered_steps, kinetic_energy, leapfrog
from aiida_slhmc.kernel.ensembles import Ensemble, Model
from aiida_slhmc.kernel.metropolis import decide, energy_change
from aiida_slhmc.kernel.streams import Purpose, random_stream


@dataclass
class Chain:
    """One walk of all walkers: the chain repeats the old state where a proposal was rejected."""

    positions: np.ndarray  # (n_cycles, n_walkers, n_atoms, 3) in Å
    cells: np.ndarray  # (n_cycles, n_walkers, 3, 3) in Å
    accepted: np.ndarray  # (n_cycles, n_walkers)
    delta_h: np.ndarray  # (n_cycles, n_walkers) in eV, as the walk's own Metropolis test saw it

    def thinned(self, burn_in, thinning):
        """Every *thinning*-th cycle after *burn_in*."""
        return Chain(*(part[burn_in::thinning] for part in vars(self).values()))

    @property
    def volumes(self):
        return np.abs(np.linalg.det(self.cells))


def same_for_all(generator, energies, n_steps, jitter):
    """The kernel's law: one draw for all walkers, whatever their states."""
    return np.full(len(energies), jittered_steps(generator, n_steps, jitter))


@dataclass(kw_only=True)
class Walk:
    """Parameters of a walk; the functions are the kernel's, and the negative controls put wrong ones in their place."""

    ensemble: Ensemble
    target: Model
    model: Model
    timestep: float = 4.0
    n_steps: int = 8
    jitter: float = 0.2
    seed: int = 0
    draw: Callable = lambda ensemble, generator: ensemble.draw_momenta(generator)
    potential: Callable = lambda ensemble, model: ensemble.potential(model)
    kinetic: Callable = lambda ensemble, momenta: kinetic_energy(momenta, ensemble.masses)
    cell_energy: Callable = lambda ensemble, cells: ensemble.cell_energy(cells)
    change: Callable = energy_change
    lengths: Callable = same_for_all
    integrator: Callable = leapfrog

    def run(self, positions, cells, n_cycles) -> Chain:
        """Walk from *positions* (n_walkers, n_atoms, 3) and *cells* (n_walkers, 3, 3)."""
        cycles = []
        for cycle in range(n_cycles):
            (new_positions, new_cells), changes = self._propose(positions, cells, cycle)
            decisions = [
                decide(random_stream(self.seed, 0, cycle, Purpose.METROPOLIS, k), change, self.ensemble.temperature)
                for k, change in enumerate(changes)
            ]
            accepted = np.array([decision.accepted for decision in decisions])
            choose = accepted[:, None, None]
            positions, cells = np.where(choose, new_positions, positions), np.where(choose, new_cells, cells)
            cycles.append((positions, cells, accepted, [change.total for change in changes]))
        return Chain(*(np.array(part) for part in zip(*cycles, strict=True)))

    def _propose(self, positions, cells, cycle):
        """Proposals of all walkers, and each one's change of energy: Φ of the target at both ends."""
        coordinates = self.ensemble.coordinates(positions, cells)
        momenta = [
            self.draw(self.ensemble, random_stream(self.seed, 0, cycle, Purpose.MOMENTA, k))
            for k in range(len(positions))
        ]
        potential = self.potential(self.ensemble, self.model)
        start = Phase(coordinates, np.array(momenta), *potential(coordinates))
        target = self.target(positions, cells).energies
        stream = random_stream(self.seed, 0, cycle, Purpose.STEPS)
        end = self._trajectories(start, self.lengths(stream, target, self.n_steps, self.jitter), potential)
        new_positions, new_cells = self.ensemble.configuration(end.coordinates)
        new_cells = np.broadcast_to(new_cells, cells.shape)
        ends = ((positions, cells), (new_positions, new_cells))
        parts = [
            (target, self.target(new_positions, new_cells).energies),
            [self.model(*one).energies for one in ends],
            [self.kinetic(self.ensemble, phase.momenta) for phase in (start, end)],
            [self.cell_energy(self.ensemble, one[1]) for one in ends],
        ]
        changes = [self.change(*pairs) for pairs in np.moveaxis(np.array(parts), -1, 0).tolist()]
        return ends[1], changes

    def _trajectories(self, start, lengths, potential):
        """The ends; walkers whose lengths are equal go together."""
        end = Phase(*(np.empty_like(part) for part in start))
        for length in np.unique(lengths):
            chosen = lengths == length
            part = Phase(*(values[chosen] for values in start))
            part = self.integrator(part, self.ensemble.masses, self.timestep, int(length), potential)
            for values, new in zip(end, part, strict=True):
                values[chosen] = new
        return end

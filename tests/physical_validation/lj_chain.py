"""The sampler on the Lennard-Jones crystal: all walkers in lock-step, with the kernel's own functions only."""

from dataclasses import dataclass

import numpy as np
from lj_smooth import LjSmooth, fcc, shell_counts

from aiida_slhmc.kernel.dynamics import Phase, jittered_steps, kinetic_energy, leapfrog
from aiida_slhmc.kernel.ensembles import make_ensemble
from aiida_slhmc.kernel.metropolis import decide, energy_change
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.kernel.streams import Purpose, random_stream

MASS, N_ATOMS = 39.948, 32
SHELLS = np.linspace(0.0, 6.5, 66)  # Å: first shell of neighbours and second


@dataclass(frozen=True)
class Thermodynamics:
    """Temperature in K, lattice constant at the start in Å, the free strains (none: NVT) and their pressure in GPa."""

    temperature: float
    lattice_constant: float
    strains: str | None = None
    pressure: float | None = None


@dataclass(frozen=True)
class Samples:
    """Energy (eV), volume (Å³), lengths of the box (3, in Å) and neighbours per shell; leading axes (time, walker)."""

    energy: np.ndarray
    volume: np.ndarray
    lengths: np.ndarray
    shells: np.ndarray


@dataclass(frozen=True)
class Chain:
    """One walk of many walkers: the chain repeats the old state where a proposal was rejected."""

    samples: Samples
    accepted: np.ndarray  # (n_cycles, n_walkers)
    delta_h: np.ndarray  # (n_cycles, n_walkers) in eV


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Parameters of a walk. A control puts a wrong *target* or wrong *thermodynamics* in place."""

    thermodynamics: Thermodynamics
    target: LjSmooth
    model: LjSmooth
    n_walkers: int = 64
    n_steps: int = 12
    timestep: float = 16.0
    cell_time_constant: float = 500.0
    seed: int = 1

    def run(self, n_cycles: int, burn_in: int) -> Chain:
        """Walk from the perfect crystal; *burn_in* cycles more are made and left out."""
        state, cycles = self._start(), []
        for cycle in range(n_cycles + burn_in):
            state, accepted, delta_h = self._cycle(state, cycle)
            if cycle >= burn_in:
                cycles.append((*observe(*state, self.target), accepted, delta_h))
        *observed, accepted, delta_h = (np.array(part) for part in zip(*cycles, strict=True))
        return Chain(Samples(*observed), accepted, delta_h)

    def _start(self):
        positions, cell = fcc(self.thermodynamics.lattice_constant)
        return np.repeat(positions[None], self.n_walkers, axis=0), np.repeat(cell[None], self.n_walkers, axis=0)

    def _ensemble(self, cells):
        how = {"ensemble": "nvt"}
        if self.thermodynamics.strains is not None:
            how = {
                "ensemble": "npt",
                "pressure": self.thermodynamics.pressure,
                "cell_degrees_of_freedom": self.thermodynamics.strains,
                "cell_time_constant": self.cell_time_constant,
            }
        parameters = KernelParameters(temperature=self.thermodynamics.temperature, seed=self.seed, **how)
        return make_ensemble(parameters, np.full(N_ATOMS, MASS), cells, fcc(self.thermodynamics.lattice_constant)[1])

    def _cycle(self, state, cycle):
        """One proposal and one decision for each walker."""
        ensemble = self._ensemble(state[1])
        start, end = self._propose(ensemble, state, cycle)
        proposal = ensemble.configuration(end.coordinates)
        ends = [
            [self.target(*configuration).energies for configuration in (state, proposal)],
            [self.model(*configuration).energies for configuration in (state, proposal)],
            [kinetic_energy(phase.momenta, ensemble.masses) for phase in (start, end)],
            [ensemble.cell_energy(cells) for cells in (state[1], proposal[1])],
        ]
        changes = [energy_change(*np.array(ends)[:, :, k].tolist()) for k in range(self.n_walkers)]
        streams = [random_stream(self.seed, 0, cycle, Purpose.METROPOLIS, k) for k in range(self.n_walkers)]
        accepted = np.array(
            [decide(*pair, ensemble.temperature).accepted for pair in zip(streams, changes, strict=True)]
        )
        state = tuple(np.where(accepted[:, None, None], new, old) for old, new in zip(state, proposal, strict=True))
        return state, accepted, [change.total for change in changes]

    def _propose(self, ensemble, state, cycle):
        streams = [random_stream(self.seed, 0, cycle, Purpose.MOMENTA, k) for k in range(self.n_walkers)]
        momenta = np.stack([ensemble.draw_momenta(stream) for stream in streams])
        n_steps = jittered_steps(random_stream(self.seed, 0, cycle, Purpose.STEPS), self.n_steps, 0.2)
        coordinates, potential = ensemble.coordinates(*state), ensemble.potential(self.model)
        start = Phase(coordinates, momenta, *potential(coordinates))
        return start, leapfrog(start, ensemble.masses, self.timestep, n_steps, potential)


def observe(positions, cells, target):
    """Energy, volume, lengths and shells of walkers."""
    lengths = np.diagonal(cells, axis1=-2, axis2=-1)
    return target(positions, cells).energies, np.linalg.det(cells), lengths, shell_counts(positions, cells, SHELLS)

"""Where a run of molecular dynamics stands, as arrays and as a file: the beginning of a run, and what it leaves.

``start.npz`` holds either a structure (``numbers``, ``masses`` in amu, ``positions`` and ``cell`` in Å, and
``reference_cell``, which strains are measured from) or the state of another run, from which this one goes on bit for
bit; ``state.npz`` is such a state.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.dynamics import Phase
from aiida_slhmc.kernel.ensembles import Ensemble, make_ensemble
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.kernel.nose_hoover import Chains, NoseHoover
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.worker.job import JobError

__all__ = ("STATE_ARRAYS", "MdState", "make_thermostat", "read_start", "save_state")

Array = NDArray[np.float64]


class MdState(NamedTuple):
    """One walker's state between two steps.

    ``numbers`` and ``masses`` (n_atoms,), ``reference_cell`` (3, 3), ``cell`` (3, 3) and ``positions`` (n_atoms, 3) in
    Å; ``coordinates`` and ``momenta`` (n_coordinates,) as in :class:`~aiida_slhmc.kernel.dynamics.Phase`;
    ``chain_positions`` and ``chain_velocities`` (length, n_coordinates); ``step`` (): number of the step, 0 at the end
    of a new run's equilibration. Positions are those of the coordinates, kept for people.
    """

    numbers: NDArray[np.int64]
    masses: Array
    reference_cell: Array
    cell: Array
    positions: Array
    coordinates: Array
    momenta: Array
    chain_positions: Array
    chain_velocities: Array
    step: NDArray[np.int64]

    def ensemble(self, parameters: MdParameters) -> Ensemble:
        """The ensemble that *parameters* name, for a batch of this one walker."""
        return make_ensemble(parameters.kernel(), self.masses, self.cell[None], self.reference_cell)

    def chains(self) -> Chains:
        """The thermostats, with a batch of one."""
        return Chains(self.chain_positions[:, None], self.chain_velocities[:, None])

    def advanced(self, ensemble: Ensemble, phase: Phase, chains: Chains, step: int) -> MdState:
        """The state at another point of the same run; *phase* and *chains* have a batch of one."""
        positions, cells = ensemble.configuration(phase.coordinates)
        return self._replace(
            cell=cells[0],
            positions=positions[0],
            coordinates=phase.coordinates[0],
            momenta=phase.momenta[0],
            chain_positions=chains.positions[:, 0],
            chain_velocities=chains.velocities[:, 0],
            step=np.array(step),
        )


STATE_ARRAYS = MdState._fields


def make_thermostat(ensemble: Ensemble, parameters: MdParameters) -> NoseHoover:
    """The chains of all coordinates of *ensemble*."""
    return NoseHoover(
        ensemble.masses,
        temperature=parameters.temperature,
        time_constant=parameters.thermostat_time_constant,
        length=parameters.chain_length,
    )


def read_start(path: Path, parameters: MdParameters) -> MdState:
    """The state in a file, or a new one for the structure in it, with momenta from the seed.

    :raises JobError: ``invalid_input`` for a file that is neither, or a state of another number of coordinates;
        ``unreachable_cell`` for a cell that no strain of the reference cell leads to.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        state = MdState(**arrays) if "coordinates" in arrays else _new_state(arrays, parameters)
    except (OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise JobError("invalid_input", f"{path.name}: {error}") from error
    expected = (parameters.chain_length, len(state.ensemble(parameters).masses))
    if state.chain_velocities.shape != expected or state.momenta.shape != expected[1:]:
        raise JobError("invalid_input", f"{path.name}: the state is one of other coordinates or thermostats")
    return state


def _new_state(arrays: dict[str, Any], parameters: MdParameters) -> MdState:
    """Momenta and chains in equilibrium at the temperature; the step is negative until the equilibration is over."""
    positions, cell = arrays["positions"], arrays["cell"]
    ensemble = make_ensemble(parameters.kernel(), arrays["masses"], cell[None], arrays["reference_cell"])
    try:
        coordinates = ensemble.coordinates(positions[None], cell[None])[0]
    except ValueError as error:
        raise JobError("unreachable_cell", str(error)) from error
    thermostat = make_thermostat(ensemble, parameters)
    generator = random_stream(parameters.seed, 0, 0, Purpose.MOMENTA)
    momenta, chains = thermostat.draw_momenta(generator), thermostat.draw_chains(generator)
    return MdState(
        numbers=arrays["numbers"],
        masses=arrays["masses"],
        reference_cell=arrays["reference_cell"],
        cell=cell,
        positions=positions,
        coordinates=coordinates,
        momenta=momenta,
        chain_positions=chains.positions,
        chain_velocities=chains.velocities,
        step=np.array(-parameters.n_equilibration_steps),
    )


def save_state(path: Path, state: MdState) -> None:
    """Write ``state.npz``."""
    np.savez(path, **state._asdict())

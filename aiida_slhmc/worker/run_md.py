"""Molecular dynamics with a frozen model: ``python -m aiida_slhmc.worker.run_md`` in the job's folder.

Reads ``parameters.json`` (:class:`~aiida_slhmc.kernel.md_parameters.MdParameters` as ``md``), ``start.npz`` (see
``md_state.py``) and ``model.safetensors``; writes ``trajectory.npz`` (see ``md_frames.py``), ``state.npz`` and
``result.json``. The frames are those after every `sampling_interval` steps, the start is none; so a run that goes on
from a state continues the frames without a gap.

The run ends early, with what there is, as ``walltime`` (the state is then the one to go on from) or ``diverged``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.dynamics import Phase
from aiida_slhmc.kernel.ensembles import Ensemble, Model, ModelOutput
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.kernel.nose_hoover import Chains, NoseHoover, kinetic_temperature
from aiida_slhmc.worker.divergence import DIVERGENCES, check_finite, check_stretch
from aiida_slhmc.worker.import_mace import import_mace
from aiida_slhmc.worker.job import Deadline, JobError, run_worker, single_thread
from aiida_slhmc.worker.md_frames import Frame, Progress, save_frames
from aiida_slhmc.worker.md_state import MdState, make_thermostat, read_start, save_state

Array = NDArray[np.float64]

__all__ = ("MODEL_FILE", "START_FILE", "STATE_FILE", "TRAJECTORY_FILE", "Simulated", "simulate")

START_FILE = "start.npz"
STATE_FILE = "state.npz"
TRAJECTORY_FILE = "trajectory.npz"
MODEL_FILE = "model.safetensors"
# beyond these a run means nothing: far above any fluctuation, and above what an unrelaxed start gives off
MAX_TEMPERATURE_RATIO, MAX_TEMPERATURE = 20.0, 1e4  # K; the larger of the two bounds counts
MAX_DRIFT = 1.0  # eV per atom, of the conserved quantity


class Simulated(NamedTuple):
    """What :func:`simulate` gives: ``failure`` is why it ended early, or None; ``n_done`` counts all steps."""

    frames: list[Frame]
    state: MdState
    n_done: int
    seconds: float
    failure: JobError | None


def simulate(
    start: MdState, model: Model, parameters: MdParameters, deadline: Deadline, log: Callable[[str], None]
) -> Simulated:
    """Run the equilibration and `n_steps`, or until the deadline or a divergence.

    :param model: of positions and cells with a batch of one.
    :param log: gets the lines of the progress.
    """
    run = _Dynamics(start, model, parameters, deadline)
    n_total = parameters.n_equilibration_steps + parameters.n_steps
    progress = Progress(n_total, parameters.n_equilibration_steps, log)
    frames: list[Frame] = []
    failure = None
    try:
        while run.n_done < n_total:
            run.step()
            frame = run.frame() if run.is_sampled() or progress.is_due(run.n_done) else None
            if frame is not None and run.is_sampled():
                frames.append(frame)
            if frame is not None and progress.is_due(run.n_done):
                progress.show(run.n_done, frame, run.drift())
    except JobError as error:
        if error.status not in (*DIVERGENCES, "walltime"):
            raise
        failure = error
    return Simulated(frames, run.state(), run.n_done, progress.seconds(), failure)


class _Dynamics:
    """The present point of one run, and how it moves on."""

    def __init__(self, start: MdState, model: Model, parameters: MdParameters, deadline: Deadline) -> None:
        self._start, self._model, self._parameters, self._deadline = start, model, parameters, deadline
        self._ensemble: Ensemble = start.ensemble(parameters)
        self._thermostat: NoseHoover = make_thermostat(self._ensemble, parameters)
        self._potential = self._ensemble.potential(self._checked)
        self._n_atoms, self._first_step = len(start.numbers), int(start.step)
        self._chains: Chains = start.chains()
        self._phase: Phase | None = None
        self._potential_energy = self._begin = 0.0
        self.n_done = 0

    def step(self) -> None:
        """One step.

        :raises JobError: ``walltime`` before it, ``divergent`` or ``not_finite`` in it; the point is then the last one.
        """
        self._deadline.check()
        begun = self._begun()
        phase, chains = self._thermostat.step(begun, self._chains, self._parameters.timestep, self._potential)
        self._check(phase, chains)
        self._phase, self._chains = phase, chains
        self.n_done += 1

    def is_sampled(self) -> bool:
        """Whether the present point is a frame."""
        is_recorded = self.n_done > self._parameters.n_equilibration_steps
        return is_recorded and self._number() % self._parameters.sampling_interval == 0

    def frame(self) -> Frame:
        """The present point as people see it."""
        phase = self._begun()
        positions, cells = self._ensemble.configuration(phase.coordinates)
        return Frame(
            steps=self._number(),
            times=self._number() * self._parameters.timestep,
            positions=positions[0],
            cells=cells[0],
            potential_energies=self._potential_energy,
            temperatures=self._temperature(phase),
            volumes=float(np.abs(np.linalg.det(cells[0]))),
            conserved_energies=float(self._thermostat.conserved_energy(phase, self._chains)[0]),
        )

    def drift(self) -> float:
        """Of the conserved quantity since the beginning, in eV per atom."""
        return self._drift(self._begun(), self._chains)

    def state(self) -> MdState:
        """From which a run goes on exactly as this one would."""
        if self._phase is None:
            return self._start
        return self._start.advanced(self._ensemble, self._phase, self._chains, self._number())

    def _begun(self) -> Phase:
        """The present point; the model is asked for the first one when it is needed."""
        if self._phase is None:
            coordinates = self._start.coordinates[None]
            self._phase = Phase(coordinates, self._start.momenta[None], *self._potential(coordinates))
            self._begin = float(self._thermostat.conserved_energy(self._phase, self._chains)[0])
        return self._phase

    def _number(self) -> int:
        return self._first_step + self.n_done

    def _checked(self, positions: Array, cells: Array) -> ModelOutput:
        """The model, where it and what it is asked for make sense."""
        check_finite(positions)
        # in NVT the cell does not move
        if self._parameters.ensemble == "npt":
            check_stretch(cells, self._start.reference_cell)
        output = self._model(positions, cells)
        check_finite(*output)
        self._potential_energy = float(output.energies[0])
        return output

    def _temperature(self, phase: Phase) -> float:
        n = 3 * self._n_atoms
        return float(kinetic_temperature(phase.momenta[0, :n], self._thermostat.masses[:n]))

    def _drift(self, phase: Phase, chains: Chains) -> float:
        change = float(self._thermostat.conserved_energy(phase, chains)[0]) - self._begin
        return change / self._n_atoms

    def _check(self, phase: Phase, chains: Chains) -> None:
        temperature, drift = self._temperature(phase), self._drift(phase, chains)
        bound = max(MAX_TEMPERATURE, MAX_TEMPERATURE_RATIO * self._parameters.temperature)
        # what is not a number is not below a bound either
        if temperature <= bound and abs(drift) <= MAX_DRIFT:
            return
        raise JobError(
            "divergent",
            f"the temperature is {temperature:.3g} K and the conserved quantity has drifted by {drift:.3g} eV per atom:"
            " take a smaller timestep, a relaxed start, or a model that is stable at this temperature",
        )


def _run(parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    # set before torch is imported, which takes long on a slow file system and counts
    deadline = Deadline(parameters.get("walltime_seconds"))
    import_mace()
    import torch

    from aiida_slhmc.worker.potential import load_potential

    options = _options(parameters)
    start = read_start(folder / START_FILE, options)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    is_npt = options.ensemble == "npt"
    potential = load_potential(folder / MODEL_FILE, start.numbers, compute_stress=is_npt, device=device)
    potential.warm_up(start.positions[None], start.cell[None])
    simulated = simulate(start, potential, options, deadline, lambda line: print(line, flush=True))
    save_frames(folder / TRAJECTORY_FILE, simulated.frames, len(start.numbers))
    save_state(folder / STATE_FILE, simulated.state)
    n_equilibration = min(simulated.n_done, options.n_equilibration_steps)
    return _ending(simulated.failure, simulated.n_done) | {
        "n_steps": simulated.n_done - n_equilibration,
        "n_equilibration_steps": n_equilibration,
        "n_frames": len(simulated.frames),
        "steps_per_second": simulated.n_done / max(simulated.seconds, 1e-9),
        "device": device,
    }


def _options(parameters: dict[str, Any]) -> MdParameters:
    try:
        return MdParameters.from_dict(parameters["md"])
    except ValueError as error:
        raise JobError("invalid_input", str(error)) from error


def _ending(failure: JobError | None, n_done: int) -> dict[str, Any]:
    if failure is None:
        return {}
    status = "walltime" if failure.status == "walltime" else "diverged"
    return {"status": status, "message": f"after {n_done} steps: {failure}"}


if __name__ == "__main__":
    single_thread()
    run_worker(_run)

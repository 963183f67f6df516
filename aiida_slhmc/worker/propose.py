"""Propose one trajectory for every walker: ``python -m aiida_slhmc.worker.propose`` in the job's folder.

Reads ``parameters.json``, ``states.npz`` and ``model.safetensors``; writes ``proposals.npz`` and ``result.json``. On a
GPU all walkers advance in one batch; on a CPU, where batching gains nothing, each core takes its share of the walkers
in a process of its own. Either way a walker's numbers come from the same functions and the same random stream.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.dynamics import Phase, draw_momenta, jittered_steps, kinetic_energy, leapfrog
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.worker.job import Deadline, JobError, run_worker, single_thread

Array = NDArray[np.float64]

__all__ = ("Potential", "States", "propose")

STATES_FILE = "states.npz"
PROPOSALS_FILE = "proposals.npz"
MODEL_FILE = "model.safetensors"


class States(NamedTuple):
    """The walkers' present states: numbers (n_atoms,), masses (n_atoms,) in amu, positions (n_walkers, n_atoms, 3) and
    cells (n_walkers, 3, 3) in Å.
    """

    numbers: NDArray[np.int64]
    masses: Array
    positions: Array
    cells: Array


# positions (n, n_atoms, 3) -> energies (n,), forces; made for some of the walkers' cells, warmed up
Potential = Callable[[Array], tuple[Array, Array]]


def propose(
    states: States, walkers: Sequence[int], potential: Potential, parameters: dict[str, Any], deadline: Deadline
) -> dict[str, Array]:
    """Draw momenta and integrate the given *walkers* in one batch.

    :param parameters: ``temperature`` (K), ``timestep`` (fs), ``n_steps``, ``jitter``, ``seed``, ``epoch``, ``cycle``.
    :returns: with a leading axis over *walkers*: positions, momenta, forces at the end; ``energies`` and
        ``kinetic_energies`` (n, 2) at start and end.
    """

    def timed(positions: Array) -> tuple[Array, Array]:
        deadline.check()
        energies, forces = potential(positions)
        if not (np.all(np.isfinite(energies)) and np.all(np.isfinite(forces))):
            raise JobError("not_finite", f"the model gives energies or forces that are not finite (walkers {walkers})")
        return energies, forces

    place = (parameters["seed"], parameters["epoch"], parameters["cycle"])
    positions = states.positions[list(walkers)]
    temperature = parameters["temperature"]
    momenta = np.stack(
        [draw_momenta(random_stream(*place, Purpose.MOMENTA, k), states.masses, temperature) for k in walkers]
    )
    start = Phase(positions, momenta, *timed(positions))
    end = leapfrog(start, states.masses, parameters["timestep"], steps_of_cycle(parameters), timed)
    kinetic = [kinetic_energy(phase.momenta, states.masses) for phase in (start, end)]
    return {
        "positions": end.positions,
        "momenta": end.momenta,
        "forces": end.forces,
        "energies": np.stack([start.energy, end.energy], axis=-1),
        "kinetic_energies": np.stack(kinetic, axis=-1),
    }


def steps_of_cycle(parameters: dict[str, Any]) -> int:
    """The jittered number of steps, one draw for all walkers of a cycle, so that they advance in lock-step."""
    stream = random_stream(parameters["seed"], parameters["epoch"], parameters["cycle"], Purpose.STEPS)
    return jittered_steps(stream, parameters["n_steps"], parameters["jitter"])


def check_integration(results: dict[str, Array], bound: float) -> Array:
    """Integration part of ΔH per walker (n_walkers,) in eV; JobError ``divergent`` where it exceeds *bound*."""
    errors = np.diff(results["energies"] + results["kinetic_energies"], axis=-1)[:, 0]
    if np.abs(errors).max() > bound:
        worst = int(np.abs(errors).argmax())
        raise JobError(
            "divergent",
            f"walker {worst} has an integration error of {errors[worst]:.3g} eV, above the bound of {bound} eV:"
            " take a smaller timestep, or a model that is stable at this temperature",
        )
    return errors


def _batch(
    checkpoint: Path,
    states: States,
    walkers: Sequence[int],
    parameters: dict[str, Any],
    device: str,
    deadline: Deadline,
) -> dict[str, Array]:
    """Load the model and propose for some walkers: the whole work of one process."""
    import torch

    from aiida_slhmc.worker.checkpoint import load_checkpoint
    from aiida_slhmc.worker.potential import MacePotential

    if device == "cpu":
        torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    model = load_checkpoint(checkpoint, device=device)
    results: list[dict[str, Array]] = []
    for batch in [walkers] if device != "cpu" else [[k] for k in walkers]:
        try:
            potential = MacePotential(model, states.numbers, states.cells[list(batch)])
        except ValueError as error:
            raise JobError("missing_element", str(error)) from error
        if not results:
            potential.warm_up(states.positions[list(batch)])
        results.append(propose(states, batch, potential, parameters, deadline))
    return {key: np.concatenate([result[key] for result in results]) for key in results[0]}


def _run(parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    # set before torch is imported, which takes long on a slow file system and counts
    deadline = Deadline(parameters.get("walltime_seconds"))
    import torch

    # imported here, once, so that the processes below are forked with it
    import aiida_slhmc.worker.checkpoint
    import aiida_slhmc.worker.potential  # noqa: F401

    with np.load(folder / STATES_FILE, allow_pickle=False) as archive:
        states = States(*(archive[key] for key in States._fields))
    device = parameters["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    n_walkers = len(states.positions)
    n_processes = min(n_walkers, len(os.sched_getaffinity(0))) if device == "cpu" else 1
    shares = [range(k, n_walkers, n_processes) for k in range(n_processes)]
    jobs = [(folder / MODEL_FILE, states, list(share), parameters, device, deadline) for share in shares]
    if n_processes == 1:
        parts = [_batch(*jobs[0])]
    else:
        # forked before any backward pass has run: torch's autograd does not survive a fork after one
        context = multiprocessing.get_context("fork")
        try:
            with ProcessPoolExecutor(n_processes, mp_context=context) as pool:
                parts = list(pool.map(_batch, *zip(*jobs, strict=True)))
        except BrokenProcessPool as error:
            raise JobError("out_of_memory", f"a process was killed, most likely for its memory: {error}") from error
    order = np.argsort([k for share in shares for k in share])
    results = {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}
    errors = check_integration(results, parameters["max_integration_error"])
    np.savez(folder / PROPOSALS_FILE, **results)  # type: ignore[arg-type]
    return {"n_steps": steps_of_cycle(parameters), "device": device, "integration_errors": errors.tolist()}


if __name__ == "__main__":
    single_thread()
    run_worker(_run)

"""Propose one trajectory for every walker: ``python -m aiida_slhmc.worker.propose`` in the job's folder.

Reads ``parameters.json``, ``states.npz`` and ``model.safetensors``; writes ``proposals.npz`` and ``result.json``. On a
GPU all walkers advance in one batch; on a CPU, where batching gains nothing, each core takes its share of the walkers
in a process of its own. Either way a walker's numbers come from the same functions and the same random stream.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.dynamics import Phase, jittered_steps, kinetic_energy, leapfrog
from aiida_slhmc.kernel.ensembles import Model, ModelOutput, make_ensemble
from aiida_slhmc.kernel.parameters import KernelParameters, Trajectory
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.worker.job import Deadline, JobError, run_worker, single_thread

Array = NDArray[np.float64]

__all__ = ("Plan", "States", "propose")

STATES_FILE = "states.npz"
PROPOSALS_FILE = "proposals.npz"
MODEL_FILE = "model.safetensors"
# a trajectory that stretches or squeezes its cell by more has diverged; in a collapsing cell the neighbour list fills
# the memory long before the integration error is known
MAX_STRETCH = 3.0


class States(NamedTuple):
    """The walkers' present states: numbers (n_atoms,), masses (n_atoms,) in amu, positions (n_walkers, n_atoms, 3) and
    cells (n_walkers, 3, 3) in Å, and the reference cell (3, 3) that strains are measured from.
    """

    numbers: NDArray[np.int64]
    masses: Array
    positions: Array
    cells: Array
    reference_cell: Array


@dataclass(frozen=True)
class Plan:
    """What is proposed and where in the run: the kernel, the trajectory, and the epoch and cycle of the streams."""

    kernel: KernelParameters
    trajectory: Trajectory
    epoch: int
    cycle: int

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Plan:
        """Read ``kernel``, ``trajectory``, ``epoch`` and ``cycle``."""
        kernel, trajectory = KernelParameters(**content["kernel"]), Trajectory(**content["trajectory"])
        return cls(kernel, trajectory, content["epoch"], content["cycle"])

    def stream(self, purpose: Purpose, walker: int = 0) -> np.random.Generator:
        """The random stream of this cycle."""
        return random_stream(self.kernel.seed, self.epoch, self.cycle, purpose, walker)

    def n_steps(self) -> int:
        """The jittered number of steps, one draw for all walkers of a cycle, so that they advance in lock-step."""
        return jittered_steps(self.stream(Purpose.STEPS), self.trajectory.n_steps, self.kernel.jitter)


def propose(states: States, walkers: Sequence[int], model: Model, plan: Plan, deadline: Deadline) -> dict[str, Array]:
    """Draw momenta and integrate the given *walkers* in one batch.

    :returns: with a leading axis over *walkers*: ``positions`` and ``cells`` at the end, ``momenta`` of the atoms and
        ``cell_momenta`` (n, n_cell) there, the model's ``forces`` and, in NPT, ``stresses`` there; and, (n, 2) at start
        and end, the model's ``energies``, the ``cell_energies`` Φ − V and the ``kinetic_energies``.
    """
    chosen = list(walkers)
    start_cells, n_atoms = states.cells[chosen], len(states.numbers)
    ensemble = make_ensemble(plan.kernel, states.masses, start_cells, states.reference_cell)
    outputs: list[ModelOutput] = []

    def recorded(positions: Array, cells: Array) -> ModelOutput:
        """The model, with its first and its last output on record: those at the trajectory's two ends."""
        deadline.check()
        _check_stretch(start_cells, cells)
        output = model(positions, cells)
        if not all(np.all(np.isfinite(values)) for values in output if values is not None):
            raise JobError("not_finite", f"the model gives energies or forces that are not finite (walkers {chosen})")
        outputs[1:] = [output]
        return output

    coordinates = _reachable_coordinates(ensemble.coordinates, states.positions[chosen], start_cells)
    potential = ensemble.potential(recorded)
    momenta = np.stack([ensemble.draw_momenta(plan.stream(Purpose.MOMENTA, k)) for k in chosen])
    start = Phase(coordinates, momenta, *potential(coordinates))
    end = leapfrog(start, ensemble.masses, plan.trajectory.timestep, plan.n_steps(), potential)
    positions, end_cells = ensemble.configuration(end.coordinates)
    results = {
        "positions": positions,
        "cells": end_cells,
        "momenta": end.momenta[:, : 3 * n_atoms].reshape(-1, n_atoms, 3),
        "cell_momenta": end.momenta[:, 3 * n_atoms :],
        "forces": outputs[-1].forces,
        "energies": np.stack([output.energies for output in outputs], axis=-1),
        "cell_energies": np.stack([ensemble.cell_energy(h) for h in (start_cells, end_cells)], axis=-1),
        "kinetic_energies": np.stack([kinetic_energy(p.momenta, ensemble.masses) for p in (start, end)], axis=-1),
    }
    stresses = outputs[-1].stresses
    return results | ({} if stresses is None else {"stresses": stresses})


def _reachable_coordinates(coordinates: Any, positions: Array, cells: Array) -> Array:
    try:
        return coordinates(positions, cells)
    except ValueError as error:
        raise JobError("unreachable_cell", str(error)) from error


def _check_stretch(start_cells: Array, cells: Array) -> None:
    """Raise JobError ``divergent`` where a cell (…, 3, 3) has left what any trajectory can mean."""
    if np.all(np.isfinite(cells)):
        stretches = np.linalg.svd(np.linalg.solve(start_cells, cells), compute_uv=False)
        if stretches.min() > 1 / MAX_STRETCH and stretches.max() < MAX_STRETCH:
            return
    raise JobError(
        "divergent",
        f"a cell was stretched or squeezed more than {MAX_STRETCH:g}-fold: take a smaller timestep, a larger"
        " cell_time_constant, or a model that is stable at this temperature and pressure",
    )


def integration_errors(results: dict[str, Array]) -> Array:
    """Integration part of ΔH per walker (n_walkers,) in eV."""
    ends: Array = results["energies"] + results["cell_energies"] + results["kinetic_energies"]
    return ends[:, 1] - ends[:, 0]


def check_integration(errors: Array, bound: float) -> None:
    """Raise JobError ``divergent`` where an integration error exceeds *bound* (eV)."""
    if np.abs(errors).max() > bound:
        worst = int(np.abs(errors).argmax())
        raise JobError(
            "divergent",
            f"walker {worst} has an integration error of {errors[worst]:.3g} eV, above the bound of {bound} eV:"
            " take a smaller timestep, or a model that is stable at this temperature",
        )


def _batch(
    checkpoint: Path, states: States, walkers: Sequence[int], plan: Plan, device: str, deadline: Deadline
) -> dict[str, Array]:
    """Load the model and propose for some walkers: the whole work of one process."""
    import torch

    from aiida_slhmc.worker.checkpoint import load_checkpoint
    from aiida_slhmc.worker.potential import MacePotential

    if device == "cpu":
        torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    model = load_checkpoint(checkpoint, device=device)
    try:
        potential = MacePotential(model, states.numbers, compute_stress=plan.kernel.ensemble == "npt")
    except ValueError as error:
        raise JobError("missing_element", str(error)) from error
    results: list[dict[str, Array]] = []
    for batch in [walkers] if device != "cpu" else [[k] for k in walkers]:
        if not results:
            potential.warm_up(states.positions[list(batch)], states.cells[list(batch)])
        results.append(propose(states, batch, potential, plan, deadline))
    return {key: np.concatenate([result[key] for result in results]) for key in results[0]}


def _run(parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    # set before torch is imported, which takes long on a slow file system and counts
    deadline = Deadline(parameters.get("walltime_seconds"))
    import torch

    # imported here, once, so that the processes below are forked with it
    import aiida_slhmc.worker.checkpoint
    import aiida_slhmc.worker.potential  # noqa: F401

    plan = Plan.from_dict(parameters)
    with np.load(folder / STATES_FILE, allow_pickle=False) as archive:
        states = States(*(archive[key] for key in States._fields))
    device = plan.kernel.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    n_walkers = len(states.positions)
    n_processes = min(n_walkers, len(os.sched_getaffinity(0))) if device == "cpu" else 1
    shares = [range(k, n_walkers, n_processes) for k in range(n_processes)]
    jobs = [(folder / MODEL_FILE, states, list(share), plan, device, deadline) for share in shares]
    parts = [_batch(*jobs[0])] if n_processes == 1 else _in_processes(jobs)
    order = np.argsort([k for share in shares for k in share])
    results = {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}
    errors = integration_errors(results)
    check_integration(errors, plan.kernel.max_integration_error)
    np.savez(folder / PROPOSALS_FILE, **results)  # type: ignore[arg-type]
    return {"n_steps": plan.n_steps(), "device": device, "integration_errors": errors.tolist()}


def _in_processes(jobs: list[tuple[Any, ...]]) -> list[dict[str, Array]]:
    """Run :func:`_batch` once per job, each in a process of its own."""
    # forked before any backward pass has run: torch's autograd does not survive a fork after one
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(len(jobs), mp_context=context) as pool:
            return list(pool.map(_batch, *zip(*jobs, strict=True)))
    except BrokenProcessPool as error:
        raise JobError("out_of_memory", f"a process was killed, most likely for its memory: {error}") from error


if __name__ == "__main__":
    single_thread()
    run_worker(_run)

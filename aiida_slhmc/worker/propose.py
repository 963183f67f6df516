"""Propose one trajectory for every walker: ``python -m aiida_slhmc.worker.propose`` in the job's folder.

Reads ``parameters.json``, ``states.npz``, ``model.safetensors`` and, where there is a committee, its members
(``committee/member_1.safetensors`` …, see ``committee.py``); writes ``proposals.npz`` and ``result.json``. On a
GPU all walkers advance in one batch; on a CPU, where batching gains nothing, each core takes its share of the walkers
in a process of its own. Either way a walker's numbers come from the same functions and the same random stream.

A walker whose trajectory diverges (see ``divergence.py``) is flagged in ``diverged``, and the others go on.
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

from aiida_slhmc.kernel.dynamics import Phase, kinetic_energy, leapfrog
from aiida_slhmc.kernel.ensembles import Model, ModelOutput, make_ensemble
from aiida_slhmc.kernel.strain import STRAIN_BASES
from aiida_slhmc.kernel.streams import Purpose
from aiida_slhmc.worker.committee import committee_spreads, member_files
from aiida_slhmc.worker.divergence import (
    DIVERGENCES,
    check_finite,
    check_stretch,
    integration_errors,
    over_the_bound,
    refused,
)
from aiida_slhmc.worker.import_mace import import_mace
from aiida_slhmc.worker.job import Deadline, JobError, run_worker, single_thread
from aiida_slhmc.worker.plan import Plan, States

Array = NDArray[np.float64]

__all__ = ("Plan", "Proposed", "States", "propose", "propose_each")

STATES_FILE = "states.npz"
PROPOSALS_FILE = "proposals.npz"
MODEL_FILE = "model.safetensors"


class Proposed(NamedTuple):
    """What :func:`propose_each` gives: ``arrays`` with a leading axis over walkers, and why walkers have diverged."""

    arrays: dict[str, NDArray[Any]]
    failures: dict[int, JobError]


def propose_each(states: States, walkers: Sequence[int], model: Model, plan: Plan, deadline: Deadline) -> Proposed:
    """Propose for *walkers* in one batch, or one by one where the batch diverges, so that only the guilty are flagged.

    :returns: the arrays of :func:`propose` and, boolean, ``diverged``; the rows of a walker that diverged hold its
        start (positions and cells) and zeros, see :func:`~aiida_slhmc.worker.divergence.refused`.
    :raises JobError: for whatever is not the fault of a trajectory.
    """
    chosen = list(walkers)
    try:
        arrays = propose(states, chosen, model, plan, deadline)
    except JobError as error:
        if error.status not in DIVERGENCES:
            raise
        if len(chosen) > 1:
            return _joined([propose_each(states, [k], model, plan, deadline) for k in chosen])
        return Proposed(_refused(states, chosen, plan) | {"diverged": np.ones(1, dtype=bool)}, {chosen[0]: error})
    over = over_the_bound(integration_errors(arrays), plan.kernel.max_integration_error)
    diverged = np.isin(np.arange(len(chosen)), list(over))
    for name, values in _refused(states, chosen, plan).items():
        arrays[name][diverged] = values[diverged]
    return Proposed(arrays | {"diverged": diverged}, {chosen[i]: error for i, error in over.items()})


def _refused(states: States, walkers: list[int], plan: Plan) -> dict[str, Array]:
    mode = plan.kernel.cell_degrees_of_freedom
    n_cell = 0 if mode is None else len(STRAIN_BASES[mode])
    with_stress = plan.kernel.ensemble == "npt"
    return refused(states.positions[walkers], states.cells[walkers], n_cell, with_stress=with_stress)


def _joined(parts: Sequence[Proposed]) -> Proposed:
    arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
    return Proposed(arrays, {k: error for part in parts for k, error in part.failures.items()})


def propose(states: States, walkers: Sequence[int], model: Model, plan: Plan, deadline: Deadline) -> dict[str, Array]:
    """Draw momenta and integrate the given *walkers* in one batch.

    :returns: with a leading axis over *walkers*: ``positions`` and ``cells`` at the end, ``momenta`` of the atoms and
        ``cell_momenta`` (n, n_cell) there, the model's ``forces`` and, in NPT, ``stresses`` there; and, (n, 2) at start
        and end, the model's ``energies``, the ``cell_energies`` Φ − V and the ``kinetic_energies``.
    :raises JobError: where one of the trajectories passes a point where it diverges, without saying which.
    """
    chosen = list(walkers)
    start_cells, n_atoms = states.cells[chosen], len(states.numbers)
    ensemble = make_ensemble(plan.kernel, states.masses, start_cells, states.reference_cell)
    outputs: list[ModelOutput] = []

    def recorded(positions: Array, cells: Array) -> ModelOutput:
        """The model, with its first and its last output on record: those at the trajectory's two ends."""
        deadline.check()
        # in NVT cells do not move, and need not be strains of any one cell
        if plan.kernel.ensemble == "npt":
            check_stretch(cells, states.reference_cell)
        output = model(positions, cells)
        check_finite(*output)
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


def _batch(
    checkpoint: Path, states: States, walkers: Sequence[int], plan: Plan, device: str, deadline: Deadline
) -> Proposed:
    """Load the model and propose for some walkers: the whole work of one process."""
    import torch

    from aiida_slhmc.worker.potential import load_potential

    if device == "cpu":
        torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    with_stress = plan.kernel.ensemble == "npt"
    potential = load_potential(checkpoint, states.numbers, compute_stress=with_stress, device=device)
    results: list[Proposed] = []
    for batch in [walkers] if device != "cpu" else [[k] for k in walkers]:
        if not results:
            potential.warm_up(states.positions[list(batch)], states.cells[list(batch)])
        results.append(propose_each(states, batch, potential, plan, deadline))
    return _joined(results)


def _run(parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    # set before torch is imported, which takes long on a slow file system and counts
    deadline = Deadline(parameters.get("walltime_seconds"))
    import_mace()
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
    # after a backward pass in this process no other may be forked from it
    run = _in_processes if n_processes > 1 else _here
    proposed = _joined(run(_batch, jobs))
    order = np.argsort([k for share in shares for k in share])
    results = {key: values[order] for key, values in proposed.arrays.items()}
    members = member_files(folder)
    if members:
        results |= committee_spreads(members, states, results, device, deadline, run, n_processes)
    np.savez(folder / PROPOSALS_FILE, **results)  # type: ignore[arg-type]
    errors = zip(integration_errors(results).tolist(), results["diverged"], strict=True)
    return {
        "n_steps": plan.n_steps(),
        "device": device,
        "integration_errors": [None if diverged else error for error, diverged in errors],
        "divergences": {f"walker_{k}": str(proposed.failures[k]) for k in sorted(proposed.failures)},
    }


def _here(function: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> list[Any]:
    return [function(*job) for job in jobs]


def _in_processes(function: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> list[Any]:
    """Run *function* once per job, each in a process of its own."""
    # forked before any backward pass has run: torch's autograd does not survive a fork after one
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(len(jobs), mp_context=context) as pool:
            return list(pool.map(function, *zip(*jobs, strict=True)))
    except BrokenProcessPool as error:
        raise JobError("out_of_memory", f"a process was killed, most likely for its memory: {error}") from error


if __name__ == "__main__":
    single_thread()
    run_worker(_run)

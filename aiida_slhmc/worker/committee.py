"""How far the models of a committee agree at the end points of the proposals.

A committee is the model that proposes and *members*: fine-tunings of the same labels with other random numbers. The
members propose and decide nothing. Where they disagree, the labels so far do not determine the model, and its forces
are likely to be wrong there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.worker.job import Deadline
from aiida_slhmc.worker.plan import States

__all__ = (
    "COMMITTEE_ARRAYS",
    "COMMITTEE_FOLDER",
    "EndPoints",
    "committee_spreads",
    "member_files",
    "predict_members",
    "spreads",
)

Array = NDArray[np.float64]
# force calls of one member on some end points: energies (n,) in eV and forces (n, n_atoms, 3) in eV/Å
Prediction = tuple[Array, Array]
# how several calls of a function are run, in this process or in others; the results come in the order of the calls
Runner = Callable[[Callable[..., Any], list[tuple[Any, ...]]], list[Any]]

COMMITTEE_FOLDER = "committee"
# the spreads of energies and of forces, in a job's arrays and in a decision
COMMITTEE_ARRAYS = ("committee_energy_spread", "committee_force_spread")


class EndPoints(NamedTuple):
    """Where the members are asked: numbers (n_atoms,), positions (n, n_atoms, 3) and cells (n, 3, 3) in Å."""

    numbers: NDArray[np.int64]
    positions: Array
    cells: Array


def member_files(folder: Path) -> list[Path]:
    """Checkpoints of the members, ``committee/member_1.safetensors`` …, in the order of their numbers."""
    files = (folder / COMMITTEE_FOLDER).glob("member_*.safetensors")
    return sorted(files, key=lambda path: int(path.stem.removeprefix("member_")))


def committee_spreads(
    files: Sequence[Path],
    states: States,
    proposed: dict[str, NDArray[Any]],
    device: str,
    deadline: Deadline,
    run: Runner,
    n_processes: int,
) -> dict[str, Array]:
    """Spread of the committee at the end points of all walkers that did not diverge.

    :param files: checkpoints of the members; their elements have to be those of the walkers at least.
    :param proposed: arrays of :func:`~aiida_slhmc.worker.propose.propose_each` for all walkers.
    :param run: how to run the jobs of *n_processes* processes.
    :returns: ``committee_energy_spread`` (n_walkers,) in eV/atom and ``committee_force_spread`` (n_walkers,) in eV/Å,
        see :func:`spreads`. NaN where the trajectory diverged, and where a member gives no finite numbers: not known.
    :raises JobError: ``invalid_input`` for a file that is no checkpoint, ``missing_element``, ``walltime``.
    """
    chosen = np.flatnonzero(~proposed["diverged"])
    n_walkers, n_atoms = len(proposed["diverged"]), len(states.numbers)
    results = {name: np.full(n_walkers, np.nan) for name in COMMITTEE_ARRAYS}
    if not chosen.size:
        return results
    ends = EndPoints(states.numbers, proposed["positions"][chosen], proposed["cells"][chosen])
    shares = [files[k::n_processes] for k in range(min(n_processes, len(files)))]
    parts = run(predict_members, [(share, ends, device, deadline) for share in shares])
    # back from the shares to the members' order: rounding must not depend on the number of processes
    members = [parts[k % len(shares)][k // len(shares)] for k in range(len(files))]
    energies = np.stack([proposed["energies"][chosen, 1], *(energies for energies, _ in members)])
    forces = np.stack([proposed["forces"][chosen], *(forces for _, forces in members)])
    for name, values in zip(COMMITTEE_ARRAYS, spreads(energies / n_atoms, forces), strict=True):
        results[name][chosen] = values
    return results


def predict_members(files: Sequence[Path], ends: EndPoints, device: str, deadline: Deadline) -> list[Prediction]:
    """Energies and forces of some members at the end points: the whole work of one process.

    Walkers are evaluated one by one on a CPU and in one batch on a GPU, as their trajectories were.

    :raises JobError: as :func:`committee_spreads`.
    """
    import torch

    from aiida_slhmc.worker.checkpoint import default_dtype
    from aiida_slhmc.worker.potential import load_potential

    if device == "cpu":
        torch.set_num_threads(1)
    n_ends = len(ends.positions)
    batches = [slice(0, n_ends)] if device != "cpu" else [slice(k, k + 1) for k in range(n_ends)]
    predictions = []
    with default_dtype(torch.float64):
        for file in files:
            potential = load_potential(file, ends.numbers, compute_stress=False, device=device)
            potential.warm_up(ends.positions[batches[0]], ends.cells[batches[0]])
            outputs = []
            for batch in batches:
                deadline.check()
                outputs.append(potential(ends.positions[batch], ends.cells[batch]))
            energies = np.concatenate([output.energies for output in outputs])
            predictions.append((energies, np.concatenate([output.forces for output in outputs])))
    return predictions


def spreads(energies: Array, forces: Array) -> tuple[Array, Array]:
    """Standard deviation over models of the energies, and root mean square over components of that of the forces.

    With ddof = 1: otherwise a small committee would look more agreed than a large one.

    :param energies: (n_models, n_walkers) in eV/atom.
    :param forces: (n_models, n_walkers, n_atoms, 3) in eV/Å.
    :returns: two arrays (n_walkers,), in eV/atom and in eV/Å; NaN where a number is not finite.
    """
    # relative to the first model: equal models give zero, and not the rounding error of a mean of large numbers
    with np.errstate(invalid="ignore", over="ignore"):
        energy = np.std(energies - energies[0], axis=0, ddof=1)
        force = np.sqrt(np.mean(np.var(forces - forces[0], axis=0, ddof=1), axis=(1, 2)))
    return tuple(np.where(np.isfinite(values), values, np.nan) for values in (energy, force))  # type: ignore[return-value]

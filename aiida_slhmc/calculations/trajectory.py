"""Trajectories of molecular dynamics: the node, what is said of it, and several pieces joined to one."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from numpy.typing import NDArray

from aiida_slhmc.kernel.md_parameters import MdParameters

__all__ = ("FRAME_SERIES", "join_runs", "make_trajectory", "remaining_steps", "summarise")

Arrays = dict[str, NDArray[Any]]

# arrays of a trajectory beside AiiDA's own, and under what name their means are in the results
FRAME_SERIES = ("potential_energies", "temperatures", "volumes", "conserved_energies")
AVERAGED = {"potential_energies": "potential_energy", "temperatures": "temperature", "volumes": "volume"}
# options that are attributes of their own, for queries
QUERIED = ("ensemble", "temperature", "pressure", "timestep", "sampling_interval")
# results that several pieces of a run have together
SUMMED = ("n_steps", "n_equilibration_steps", "n_frames", "seconds")
FS_PER_PS, MEV_PER_EV = 1000.0, 1000.0


def make_trajectory(
    symbols: list[str], frames: Arrays, parameters: dict[str, Any], role: str | None
) -> orm.TrajectoryData:
    """An unstored node of frames.

    :param frames: ``steps``, ``times`` (fs), ``positions``, ``cells`` and those of :data:`FRAME_SERIES`, with a leading
        axis over frames; see :class:`~aiida_slhmc.worker.md_frames.Frame`.
    :param parameters: all options of the run.
    """
    node = orm.TrajectoryData()
    node.set_trajectory(
        symbols=symbols,
        positions=frames["positions"],
        stepids=frames["steps"],
        cells=frames["cells"],
        times=frames["times"],
        pbc=(True, True, True),
    )
    for name in FRAME_SERIES:
        node.set_array(name, frames[name])
    attributes = {key: parameters[key] for key in QUERIED if key in parameters}
    attributes |= {"parameters": parameters, "time_unit": "fs"} | ({} if role is None else {"role": role})
    node.base.attributes.set_many(attributes)
    return node


def summarise(frames: Arrays, n_atoms: int) -> dict[str, float]:
    """Means and standard deviations over the frames, and the drift of the conserved quantity; {} without a frame.

    :returns: ``<name>_mean`` and ``<name>_std`` of ``potential_energy`` (eV), ``temperature`` (K) and ``volume`` (Å³);
        ``conserved_energy_drift`` in meV per atom and ps, the slope of a straight line, where there are two frames.
    """
    if len(frames["steps"]) == 0:
        return {}
    found: dict[str, float] = {}
    for series, name in AVERAGED.items():
        found |= {f"{name}_mean": float(np.mean(frames[series])), f"{name}_std": float(np.std(frames[series]))}
    if len(frames["steps"]) > 1:
        changes = frames["conserved_energies"] - frames["conserved_energies"][0]
        slope = float(np.polyfit(frames["times"] / FS_PER_PS, changes, 1)[0])
        found["conserved_energy_drift"] = slope * MEV_PER_EV / n_atoms
    return found


@calcfunction
def remaining_steps(parameters: orm.Dict, results: orm.Dict) -> orm.Dict:
    """Options of a run that goes on where one with these *results* ended: what is left of its steps.

    :param parameters: options of the run that ended, see :class:`~aiida_slhmc.kernel.md_parameters.MdParameters`.
    """
    options, done = parameters.get_dict(), results.get_dict()
    names = ("n_steps", "n_equilibration_steps")
    return orm.Dict(options | {name: options.get(name, 0) - done[name] for name in names})


@calcfunction
def join_runs(parameters: orm.Dict, **pieces: Any) -> dict[str, orm.Data]:
    """One trajectory, and its results, of runs that went on from each other's states.

    :param parameters: options of the whole, see :class:`~aiida_slhmc.kernel.md_parameters.MdParameters`.
    :param pieces: ``results_0``, ``results_1``, … in order; ``trajectory_0``, … of those that have frames.
    :returns: ``results`` and, where there is a frame, ``trajectory``.
    :raises ValueError: where a frame is missing or doubled, or the pieces are of different atoms.
    """
    numbers = range(sum(name.startswith("results_") for name in pieces))
    results = _join_results([pieces[f"results_{k}"].get_dict() for k in numbers])
    parts = [pieces[f"trajectory_{k}"] for k in numbers if f"trajectory_{k}" in pieces]
    if not parts:
        return {"results": orm.Dict(results)}
    frames, symbols = _join_frames(parts), parts[0].symbols
    options = MdParameters.from_dict(parameters.get_dict()).to_dict()
    trajectory = make_trajectory(symbols, frames, options, parts[0].base.attributes.get("role", None))
    return {"trajectory": trajectory, "results": orm.Dict(results | summarise(frames, len(symbols)))}


def _join_frames(parts: list[orm.TrajectoryData]) -> Arrays:
    names = ("steps", "times", "positions", "cells", *FRAME_SERIES)
    frames = {name: np.concatenate([node.get_array(name) for node in parts]) for name in names}
    if np.any(np.diff(frames["steps"]) != parts[0].base.attributes.get("sampling_interval")):
        raise ValueError("frames are missing or doubled: the pieces are not one run")
    if any(node.symbols != parts[0].symbols for node in parts):
        raise ValueError("the pieces are of different atoms")
    return frames


def _join_results(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums, the last piece's end, and the steps per second of all; means are made anew from the frames."""
    joined = {name: sum(piece[name] for piece in pieces) for name in SUMMED}
    times = [(piece["n_steps"] + piece["n_equilibration_steps"]) / piece["steps_per_second"] for piece in pieces]
    joined["steps_per_second"] = (joined["n_steps"] + joined["n_equilibration_steps"]) / sum(times)
    return joined | {name: pieces[-1][name] for name in ("last_step", "device")}

"""Trajectories of the target ensemble, put together from the labels and decisions of an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.data import chemical_symbols

from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.data.configuration import ConfigurationData

__all__ = ("read_frames", "slhmc_trajectories")


@calcfunction
def slhmc_trajectories(n_equilibration_cycles: orm.Int, **nodes: Any) -> dict[str, orm.TrajectoryData] | ExitCode:
    """The chain of an epoch with its repeats, and its accepted states alone; they are not the same sample.

    The *chain* holds the state of each walker after each cycle, the old one again where the proposal was refused: this
    is the sample of the target ensemble. The *accepted* states are each there once; the paper's figures use them.
    Frames are in the order of the walkers, and of the cycles for each walker.

    :param n_equilibration_cycles: cycles at the beginning that are left out.
    :param nodes: ``start_k``, the state of walker k before the first cycle; ``decide_c``, outputs of
        :func:`~aiida_slhmc.calculations.metropolis.metropolis`, whose names sort as their cycles; and ``label_c_k``,
        the labelled end point (or its unlabelled record) of walker k in the cycle c of that name.
    :returns: ``chain`` and, where there are any, ``accepted``: trajectories with ``positions`` (Å, unwrapped),
        ``cells`` (Å), ``energies`` (eV), ``walkers`` and ``cycles``, and the attributes ``role`` (slhmc_chain,
        slhmc_accepted), ``ensemble``, ``temperature`` (K), ``pressure`` (GPa), ``functional``, ``engine``,
        ``stand_in`` and ``n_walkers``.
        Exit code 410 where no cycle is left.
    """
    decisions = {name.removeprefix("decide_"): nodes[name] for name in sorted(nodes) if name.startswith("decide_")}
    kept = list(decisions)[n_equilibration_cycles.value :]
    if not kept:
        return ExitCode(410, f"of {len(decisions)} cycles none is left after {n_equilibration_cycles.value}")
    n_walkers = decisions[kept[0]]["n_walkers"]
    chain: list[tuple[int, str, ConfigurationData]] = []
    accepted = []
    for k in range(n_walkers):
        state = nodes[f"start_{k}"]
        for cycle, decision in decisions.items():
            moved = decision["accepted"][k]
            state = nodes[f"label_{cycle}_{k}"] if moved else state
            if cycle in kept:
                chain.append((k, cycle, state))
                accepted += [chain[-1]] if moved else []
    about = {key: decisions[kept[0]][key] for key in ("ensemble", "temperature", "pressure")} | {"n_walkers": n_walkers}
    result = {"chain": _trajectory(chain, about | {"role": "slhmc_chain"})}
    if accepted:
        result["accepted"] = _trajectory(accepted, about | {"role": "slhmc_accepted"})
    return result


def _trajectory(states: list[tuple[int, str, ConfigurationData]], about: dict[str, Any]) -> orm.TrajectoryData:
    # a state that is repeated is read once
    arrays = {node.uuid: node.arrays() for _, _, node in states}
    frames = [arrays[node.uuid] for _, _, node in states]
    node = orm.TrajectoryData()
    node.set_trajectory(
        [chemical_symbols[number] for number in frames[0]["numbers"]],
        np.stack([frame["positions"] for frame in frames]),
        cells=np.stack([frame["cell"] for frame in frames]),
        pbc=[True, True, True],
    )
    node.set_array("energies", np.array([frame["energy"] for frame in frames]))
    node.set_array("walkers", np.array([walker for walker, _, _ in states]))
    node.set_array("cycles", np.array([int(cycle) for _, cycle, _ in states]))
    source = states[0][2].base.attributes
    about |= {key: source.get(key) for key in ("functional", "engine", "stand_in")}
    node.base.attributes.set_many(about)
    return node


def read_frames(trajectory: orm.TrajectoryData) -> Frames:
    """The frames of a trajectory node, for the functions of :mod:`aiida_slhmc.analysis`."""
    # by name: what AiiDA's own methods return may be None, as far as types go
    return Frames(tuple(trajectory.symbols), trajectory.get_array("positions"), trajectory.get_array("cells"))

"""Calculation functions that choose frames of a trajectory to be labelled, and list those that got no label."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase import Atoms

from aiida_slhmc.analysis.frame_selection import FrameSelection, choose_frames
from aiida_slhmc.calculations.trajectories import read_frames
from aiida_slhmc.data.configuration import ConfigurationData

__all__ = ("frame_number", "list_failures", "select_frames")

# exit status of select_frames
TOO_FEW_FRAMES = 400
PREFIX = "frame_"


@calcfunction
def select_frames(pool: orm.TrajectoryData, selection: orm.Dict) -> dict[str, orm.Data] | ExitCode:
    """The chosen frames of *pool* as structures, each tagged with the role ``relabelled`` and its ``frame``.

    :param pool: a trajectory with cells; every atom's symbol is its element.
    :param selection: options of :class:`~aiida_slhmc.analysis.frame_selection.FrameSelection`.
    :returns: ``indices`` with the arrays ``indices`` (numbers of the frames in the pool, ascending) and ``steps`` (the
        pool's own), and ``structures.frame_00000``, …, with the number in the pool as name; sites in the pool's order.
        Where the pool has too few different frames, or no cells, an exit code with the reason.
    """
    try:
        frames = read_frames(pool)
        indices = choose_frames(frames, FrameSelection.from_dict(selection.get_dict()))
    except ValueError as error:
        return ExitCode(TOO_FEW_FRAMES, str(error))
    outputs: dict[str, orm.Data] = {
        "indices": orm.ArrayData({"indices": indices, "steps": pool.get_stepids()[indices]})
    }
    width = max(5, len(str(frames.n_frames - 1)))  # names sort as numbers do
    for index in map(int, indices):
        atoms = Atoms(frames.symbols, positions=frames.positions[index], cell=frames.cells[index], pbc=True)
        structure = orm.StructureData(ase=atoms)
        structure.base.attributes.set_many({"role": "relabelled", "frame": index})
        outputs[f"structures.{PREFIX}{index:0{width}d}"] = structure
    return outputs


@calcfunction
def list_failures(selected: orm.ArrayData, **records: ConfigurationData) -> orm.Dict:
    """Which of the chosen frames have no label, and why.

    :param selected: ``indices`` of :func:`select_frames`.
    :param records: by the frames' names, the records of those without a label.
    :returns: ``n_selected``, ``n_failed`` and ``failures``, a list of ``frame`` (number in the pool) and ``reason``.
    """
    failures = [
        {"frame": frame_number(name), "reason": records[name].base.attributes.get("unlabelled_reason")}
        for name in sorted(records)
    ]
    n_selected = int(np.size(selected.get_array("indices")))
    return orm.Dict({"n_selected": n_selected, "n_failed": len(failures), "failures": failures})


def frame_number(name: str) -> int:
    """Number in the pool of the frame with this name."""
    return int(name.removeprefix(PREFIX))

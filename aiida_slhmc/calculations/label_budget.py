"""Calculation function that gives a control as many labels as the run that it is compared with."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_slhmc.data.dataset import DatasetData

__all__ = ("equal_label_budget",)


@calcfunction
def equal_label_budget(selection: orm.Dict, **datasets: DatasetData) -> orm.Dict:
    """The selection of a RelabelWorkChain with as many frames as there are labels in *datasets*."""
    return orm.Dict(selection.get_dict() | {"n_frames": sum(block.n_frames for block in datasets.values())})

"""Calculation function that puts the epochs of a run side by side."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

__all__ = ("summarise_run",)


@calcfunction
def summarise_run(**summaries: orm.Dict) -> orm.Dict:
    """The epochs' summaries in the order of their names, under ``epochs``, and the number of ``labels`` in all."""
    epochs = [summaries[name].get_dict() for name in sorted(summaries)]
    return orm.Dict({"epochs": epochs, "labels": sum(epoch["labels"] for epoch in epochs)})

"""Calculation function that puts the epochs of a run side by side."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_slhmc.analysis.run_summary import summarise_chains
from aiida_slhmc.calculations.epoch import read_chain

__all__ = ("summarise_run",)


@calcfunction
def summarise_run(**chains: orm.ArrayData) -> orm.Dict:
    """The epochs' summaries in the order of their names under ``epochs``, ``labels`` in all, and ``run``.

    ``run`` reads all epochs as one chain. Between epochs the kernel changes, and how it changes depends on the past:
    ``run`` describes target-guided data generation, not one exact chain (see
    :func:`aiida_slhmc.analysis.run_summary.summarise_chains`).

    :param chains: outputs of :func:`~aiida_slhmc.calculations.epoch.collect_chain`, one per epoch.
    """
    return orm.Dict(summarise_chains([read_chain(chains[name]) for name in sorted(chains)]))

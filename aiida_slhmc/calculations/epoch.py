"""Calculation functions that close an epoch: its labels, its chain, its summary, and the next trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_slhmc.analysis.epoch_summary import COMMITTEE_SERIES, SERIES, Chain, summarise
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.kernel.adaptation import make_rule

__all__ = (
    "adapt_trajectory",
    "collect_block",
    "collect_chain",
    "make_chain",
    "read_chain",
    "record_unlabelled",
    "summarise_epoch",
)

ABOUT = ("epoch", "temperature", "n_atoms", "ensemble", "pressure", "cell_degrees_of_freedom", "timestep")


@calcfunction
def collect_block(**labels: ConfigurationData) -> DatasetData:
    """The block of an epoch: all its labelled end points, accepted or not, in the order of their names."""
    return DatasetData(configurations=[labels[name] for name in sorted(labels)])


@calcfunction
def record_unlabelled(structure: orm.StructureData, reason: orm.Str) -> ConfigurationData:
    """The record of a configuration that the target could not label, with the reason."""
    return ConfigurationData.from_structure(structure, unlabelled_reason=reason.value)


def make_chain(rows: list[dict[str, Any]]) -> Chain:
    """The arrays of a chain from what its decisions say, in their order; see :func:`collect_chain`."""
    # None becomes NaN where a float is asked for
    # an epoch has the same committee in all its cycles, or none
    names = (*SERIES, *(name for name in COMMITTEE_SERIES if name in rows[0]))
    arrays: Chain = {name: np.array([row[name] for row in rows], dtype=float) for name in names}
    arrays |= {name: arrays[name].astype(bool) for name in ("accepted", "diverged")}
    arrays["n_steps"] = np.array([row["n_steps"] for row in rows], dtype=int)
    return arrays


@calcfunction
def collect_chain(**decisions: orm.Dict) -> orm.ArrayData:
    """The chain of an epoch as series, from its decisions in the order of their names.

    :param decisions: outputs of :func:`~aiida_slhmc.calculations.metropolis.metropolis`, one per cycle.
    :returns: arrays (n_cycles, n_walkers) of ``accepted``, ``diverged``, ``probability``, ``delta_h``, ``integration``,
        ``mismatch``, ``energy``, ``energy_error`` (eV), ``volume`` (Å³), ``force_rmse`` (eV/Å), ``stress_rmse`` (GPa)
        and ``expected_squared_jump`` (Å² per atom), NaN where there is no label; with a committee also
        ``committee_energy_spread`` (eV/atom) and ``committee_force_spread`` (eV/Å); ``n_steps`` (n_cycles,); and
        attributes ``epoch``, ``temperature`` (K), ``n_atoms``, ``ensemble``, ``pressure`` (GPa),
        ``cell_degrees_of_freedom`` and ``timestep`` (fs).
    """
    rows = [decisions[name].get_dict() for name in sorted(decisions)]
    node = orm.ArrayData(make_chain(rows))
    node.base.attributes.set_many({key: rows[0][key] for key in ABOUT})
    return node


def read_chain(node: orm.ArrayData) -> tuple[Chain, dict[str, Any]]:
    """The arrays and the attributes of a chain that :func:`collect_chain` has made.

    Chains of earlier versions lack ``diverged``, because a divergence ended the epoch then, and the pressure; those of
    epochs without a committee lack its spreads.
    """
    names = (*SERIES, *COMMITTEE_SERIES, "n_steps")
    arrays = {name: node.get_array(name) for name in names if name in node.get_arraynames()}
    arrays.setdefault("diverged", np.zeros_like(arrays["accepted"]))
    return arrays, {key: node.base.attributes.get(key, None) for key in ABOUT}


@calcfunction
def summarise_epoch(chain: orm.ArrayData) -> orm.Dict:
    """Diagnostics of a finished epoch, see :func:`aiida_slhmc.analysis.epoch_summary.summarise`.

    :param chain: output of :func:`collect_chain`.
    """
    return orm.Dict(summarise(*read_chain(chain)))


@calcfunction
def adapt_trajectory(trajectory: orm.Dict, adaptation: orm.Dict, summary: orm.Dict) -> orm.Dict:
    """The next epoch's number of steps and time step, from the finished epoch's summary.

    :param trajectory: ``n_steps``, ``timestep`` (fs) and, from the second epoch on, the ``rule`` and its ``state``.
    :param adaptation: options of :func:`~aiida_slhmc.kernel.adaptation.make_rule`.
    :param summary: output of :func:`summarise_epoch`.
    :returns: ``n_steps``, ``timestep``, ``rule``, ``state`` and the ``reason`` in words.
    """
    return orm.Dict(make_rule(adaptation.get_dict()).update(trajectory.get_dict(), summary.get_dict()))

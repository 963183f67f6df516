"""The decisions of a run as rows, from the graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from aiida import orm

from aiida_slhmc.calculations.epoch import read_chain
from aiida_slhmc.report.decisions import decisions_of
from aiida_slhmc.workflows.children import find_children

__all__ = ("read_rows",)

Row = dict[str, Any]
NUMBERS = ("delta_h", "integration", "mismatch", "probability", "energy", "volume", "energy_error", "force_rmse")


def read_rows(node: orm.WorkChainNode) -> list[Row]:
    """A row for each decision of a run or an epoch, in the order of epochs, cycles and walkers.

    Keys are ``epoch``, ``cycle``, ``walker``, ``n_steps``, ``accepted``, ``diverged``, ``probability``, ``delta_h``,
    ``integration``, ``mismatch``, ``energy`` and ``energy_error`` (eV), ``volume`` (Å³) and ``force_rmse`` (eV/Å);
    None stands where there is no label. Epochs of the runs that a restart goes on from are there, too.

    :raises ValueError: where the node is neither.
    """
    if node.process_label == "EpochWorkChain":
        return _rows_of_epoch(node)
    if node.process_label != "SlhmcWorkChain":
        raise ValueError(f"{node.process_label}<{node.pk}> is neither a self-learning run nor an epoch")
    rows = [row for chain in _earlier_chains(node) for row in _rows_of_chain(chain)]
    rows += [row for epoch in find_children(node, "epoch_").values() for row in _rows_of_epoch(epoch)]
    return sorted(rows, key=lambda row: (row["epoch"], row["cycle"], row["walker"]))


def _earlier_chains(run: orm.WorkChainNode) -> list[orm.ArrayData]:
    """Those of the runs before it, where it is a restart."""
    return list(run.inputs.chains.values()) if "chains" in run.inputs else []


def _rows_of_epoch(epoch: orm.ProcessNode) -> list[Row]:
    """From the chain of an epoch that has ended, else from the decisions so far."""
    if "chain" in epoch.outputs:
        return _rows_of_chain(epoch.outputs.chain)
    return [row for content in decisions_of(int(epoch.pk or 0)).values() for row in _rows_of_decision(content)]


def _rows_of_chain(node: orm.ArrayData) -> list[Row]:
    arrays, about = read_chain(node)
    n_cycles, n_walkers = arrays["accepted"].shape
    return [
        {
            **_place(about["epoch"], cycle, walker, int(arrays["n_steps"][cycle])),
            **{name: bool(arrays[name][cycle, walker]) for name in ("accepted", "diverged")},
            **{name: _known(arrays[name][cycle, walker]) for name in NUMBERS},
        }
        for cycle, walker in np.ndindex(n_cycles, n_walkers)
    ]


def _rows_of_decision(content: dict[str, Any]) -> list[Row]:
    # decisions of earlier versions do not say what diverged: a divergence ended the epoch then
    diverged = content.get("diverged", [False] * len(content["accepted"]))
    return [
        {
            **_place(content["epoch"], content["cycle"], walker, int(content["n_steps"])),
            "accepted": bool(accepted),
            "diverged": bool(diverged[walker]),
            **{name: content[name][walker] for name in NUMBERS},
        }
        for walker, accepted in enumerate(content["accepted"])
    ]


def _place(epoch: int, cycle: int, walker: int, n_steps: int) -> Row:
    return {"epoch": epoch, "cycle": cycle, "walker": walker, "n_steps": n_steps}


def _known(value: Any) -> float | None:
    """None in the place of NaN, which stands where there is no label."""
    return None if math.isnan(value) else float(value)

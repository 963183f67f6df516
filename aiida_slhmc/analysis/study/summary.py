"""Everything that a study says in numbers, as one dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.analysis.epoch_summary import jsonable
from aiida_slhmc.analysis.study.checks import checks
from aiida_slhmc.analysis.study.formatting import ERROR
from aiida_slhmc.analysis.study.samples import Study
from aiida_slhmc.analysis.study.tables import table_1_npt, table_1_nvt, table_a2

__all__ = ("cumulative_acceptance", "evolution_rows", "forward_rows", "summary")

Row = dict[str, Any]


def summary(study: Study) -> dict[str, Any]:
    """Tables, checks, forward errors, acceptances and cells against labels; numbers that are not finite are None.

    ``all_hold`` is whether every check with a bound holds: None where none fails, but there is none or one is missing.
    """
    content = {
        "functionals": study.functionals,
        "stand_in": study.is_stand_in,
        "experiment": study.experiment,
        "table_1": {"nvt": table_1_nvt(study), "npt": table_1_npt(study)},
        "table_a2": table_a2(study),
        "checks": checks(study),
        "all_hold": _all_hold(checks(study)),
        "forward_errors": forward_rows(study),
        "acceptance": [_acceptance(history) for history in study.histories],
        "evolution": evolution_rows(study),
    }
    return jsonable(content)


def _all_hold(rows: list[Row]) -> bool | None:
    verdicts = [row["holds"] for row in rows if row["holds"] is not None]
    if False in verdicts:
        return False
    is_missing = any(row["value"] is None for row in rows)
    return None if is_missing or not verdicts else True


def forward_rows(study: Study) -> list[Row]:
    """One row for each model of each run: its errors on the labels that came after it."""
    return [
        {"functional": run["functional"], "ensemble": run["ensemble"], **update}
        for run in study.forward
        for update in run["updates"]
    ]


def evolution_rows(study: Study) -> list[Row]:
    """Cell of each model of each functional against the labels it was trained on (Å, Å³ per formula unit)."""
    rows = []
    for functional in study.functionals:
        for sample in study.evolution("npt", functional):
            row: Row = {"functional": functional, "labels": sample.labels or 0}
            for name in ("a", "b", "c", "volume"):
                estimate = sample.estimate("cell", name)
                row |= {name: estimate and estimate.value, name + ERROR: estimate and estimate.standard_error}
            rows.append(row)
    return rows


def cumulative_acceptance(history: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of proposals up to the end of each epoch, and how large a part of them was accepted."""
    epochs = history["epochs"]
    proposals = np.array([_n_proposals(epoch) for epoch in epochs])
    accepted = np.cumsum([epoch["acceptance"] * n for epoch, n in zip(epochs, proposals, strict=True)])
    total = np.cumsum(proposals)
    return total, accepted / np.maximum(total, 1)


def _acceptance(history: dict[str, Any]) -> Row:
    proposals, acceptance = cumulative_acceptance(history)
    last = history["epochs"][-1] if history["epochs"] else {}
    return {
        "functional": history["functional"],
        "ensemble": history["ensemble"],
        "proposals": int(proposals[-1]) if last else 0,
        "acceptance": float(acceptance[-1]) if last else None,
        "n_steps": last.get("n_steps"),
    }


def _n_proposals(epoch: dict[str, Any]) -> int:
    """Labels where it is not known how many were proposed: they differ by failures and divergences alone."""
    if "n_cycles" in epoch and "n_walkers" in epoch:
        return int(epoch["n_cycles"] * epoch["n_walkers"])
    return int(epoch["labels"])

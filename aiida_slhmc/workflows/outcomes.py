"""What the outcomes of a run's fine-tunings and epochs mean, for the run and for a restart of it."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.children import failure_reason

__all__ = ("after_failed_epoch", "describe_epoch", "result_of", "usable_model")


def result_of(node: orm.ProcessNode) -> Any:
    """The ``result`` of a calculation function.

    :raises RuntimeError: with the reason where there is none.
    """
    if not node.is_finished_ok:
        raise RuntimeError(failure_reason(node))
    return node.outputs.result


def usable_model(training: orm.ProcessNode) -> MaceModelData | None:
    """The model that is used after a fine-tuning: it ended well, or ran out of wall time and left its best so far."""
    is_cut_short = training.exit_status == MaceFineTuneCalculation.exit_codes.ERROR_WALLTIME.status
    if (training.is_finished_ok or is_cut_short) and "model" in training.outputs:
        return training.outputs.model
    return None


def after_failed_epoch(epoch: orm.ProcessNode) -> str:
    """What becomes of the labels of an epoch that did not finish well."""
    if "chain" in epoch.outputs:
        return "Its labels are kept: restart."
    return (
        "Nothing in it was decided: a restart runs it again, and takes stored labels from AiiDA's cache if that is on."
    )


def describe_epoch(summary: orm.Dict) -> str:
    """A finished epoch in a line."""
    low, high = summary["acceptance_interval"]
    diverged = f" ({summary['diverged']} proposals diverged)" if summary["diverged"] else ""
    return (
        f"epoch {summary['epoch']}: {summary['labels']} labels{diverged}, acceptance {summary['acceptance']:.2f} "
        f"({low:.2f}–{high:.2f}), force RMSE {summary['force_rmse_mev_per_angstrom'] or float('nan'):.1f} meV/Å"
    )

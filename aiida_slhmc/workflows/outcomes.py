"""What the outcomes of a run's fine-tunings and epochs mean, for the run and for a restart of it."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import WorkChain

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.gate import worse_errors
from aiida_slhmc.workflows.children import failure_reason, run_once

__all__ = (
    "after_failed_epoch",
    "describe_epoch",
    "is_refused",
    "refusal_of",
    "result_of",
    "result_once",
    "usable_model",
)

CODES = MaceFineTuneCalculation.exit_codes
REFUSALS = {code.status for code in (CODES.ERROR_DIVERGED, CODES.ERROR_NO_IMPROVEMENT, CODES.ERROR_WORSE_THAN_PARENT)}


def result_of(node: orm.ProcessNode) -> Any:
    """The ``result`` of a calculation function.

    :raises RuntimeError: with the reason where there is none.
    """
    if not node.is_finished_ok:
        raise RuntimeError(failure_reason(node))
    return node.outputs.result


def result_once(
    parent: WorkChain, function: Any, label: str, inputs: dict[str, Any], *, use_cache: bool = False
) -> Any:
    """The ``result`` of a calculation function that is run once under this call-link label.

    :param use_cache: as for :func:`~aiida_slhmc.workflows.children.run_once`.
    :raises RuntimeError: with the reason where there is none.
    """
    return result_of(run_once(parent, function, label, inputs, use_cache=use_cache))


def usable_model(training: orm.ProcessNode) -> MaceModelData | None:
    """The model that is used after a fine-tuning, the work chain or the calculation.

    That is where it ended well, or ran out of wall time and left its best so far, unless the gate refuses that.
    """
    is_usable = training.is_finished_ok or (_is_cut_short(training) and not is_refused(training))
    return training.outputs.model if is_usable and "model" in training.outputs else None


def is_refused(training: orm.ProcessNode) -> bool:
    """Whether a fine-tuning ran to an end that was no gain: the parent goes on, and a next one may do better."""
    return refusal_of(training) is not None


def refusal_of(training: orm.ProcessNode) -> str | None:
    """Why the model of a fine-tuning that ran to its end is not used, with the figures; None where there is no why."""
    if training.exit_status in REFUSALS:
        return str(training.exit_message)
    worse = _worse_errors(training) if _is_cut_short(training) else {}
    figures = ", ".join(f"{name} is {ratio:.2f} times the parent's" for name, ratio in worse.items())
    return f"Out of wall time, and on the validation set {figures}." if worse else None


def _is_cut_short(training: orm.ProcessNode) -> bool:
    return bool(training.exit_status == CODES.ERROR_WALLTIME.status)


def _worse_errors(training: orm.ProcessNode) -> dict[str, float]:
    """Errors over the parent's that the gate does not let pass; the job itself judges only what was not cut short."""
    metrics = training.outputs.metrics.get_dict() if "metrics" in training.outputs else {}
    gate, options = metrics.get("gate") or {}, metrics.get("parameters", {})
    # a ratio that was not finite is None here
    return worse_errors(gate.get("ratios", {}), gate.get("factor"), from_scratch=bool(options.get("from_scratch")))


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

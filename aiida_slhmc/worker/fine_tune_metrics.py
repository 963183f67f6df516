"""What a fine-tuning reports: errors before and after, whether the gate lets the model pass, and how it ended."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from aiida_slhmc.worker.evaluation import Errors
from aiida_slhmc.worker.fine_tune_job import Job
from aiida_slhmc.worker.gate import worse_errors
from aiida_slhmc.worker.job import finite
from aiida_slhmc.worker.references import References
from aiida_slhmc.worker.training import TrainingResult

__all__ = ("Measured", "checkpoint_header", "collect_metrics", "compare", "ending")

STATUS = {"early_stopping": "finished", "max_epochs": "finished"}  # other stop reasons are their own status
GATED = ("loss", "force_rmse_mev_per_angstrom")  # validation errors that may not be much above the parent's


class Measured:
    """The errors of the present model of a job; a step of it may need only some."""

    def __init__(
        self, job: Job, sets: tuple[str, ...], *, beside: bool, known: dict[str, Errors] | None = None
    ) -> None:
        """Evaluate some sets of labels and, with *beside*, the probes and the force constants.

        :param known: errors of the same model on some of the sets, which are not evaluated again
        """
        known = known or {}
        self.sets = {name: known[name] if name in known else job.errors(name) for name in sets}
        self.probes = {name: job.errors(f"probes/{name}") for name in job.probes if beside}
        columns = job.hessian_columns if beside else None
        self.column_error = None if columns is None else columns.mean_absolute_error(job.model)

    @property
    def validation(self) -> Errors:
        """The errors on the validation set."""
        return self.sets["validation"]


def collect_metrics(job: Job, references: References, result: TrainingResult) -> dict[str, Any]:
    """Return what was done, with what, and its course."""
    return {
        "stop_reason": result.stop_reason,
        "best_epoch": result.best_epoch,
        "n_epochs": len(result.curve["epoch"]),
        "n_training": len(job.frames.training),
        "n_validation": len(job.frames.validation),
        "selection": {
            "n_training_all": len(job.all_frames.training),
            "n_validation_all": len(job.all_frames.validation),
        },
        "validation": [frame.name for frame in job.frames.validation],
        "curve": result.curve,
        "references": asdict(references),
        "parameters": job.parameters.to_dict(),
        "device": str(job.device),
    }


def compare(job: Job, parent: Measured, initial: Measured, final: Measured) -> dict[str, Any]:
    """What the model was and has become: as it came, with its new references, and trained."""
    compared: dict[str, Any] = {
        "parent": asdict(parent.validation),
        "initial": {name: asdict(errors) for name, errors in initial.sets.items()},
        "final": {name: asdict(errors) for name, errors in final.sets.items()},
        "probes": {
            name: {"parent": asdict(parent.probes[name]), "final": asdict(final.probes[name])} for name in job.probes
        },
        "gate": {"factor": job.parameters.gate_factor, "ratios": _ratios(parent.validation, final.validation)},
    }
    if job.force_constants:
        compared["force_constants"] = {"parent": parent.column_error, "final": final.column_error}
    return compared


def _ratios(parent: Errors, final: Errors) -> dict[str, float]:
    """Return the validation errors over the parent's."""
    pairs = {name: (getattr(final, name), getattr(parent, name)) for name in GATED}
    return {name: now / before if before > 0 else math.inf for name, (now, before) in pairs.items()}


def ending(job: Job, result: TrainingResult, parent: Errors, initial: Errors, final: Errors) -> dict[str, str]:
    """How the training ended. Where no epoch was a gain, new energy references alone may be one."""
    reason = result.stop_reason
    if reason == "no_improvement" and initial.loss < parent.loss:
        reason = "finished"
    status = STATUS.get(reason, reason)
    refused = _refusal(job, parent, final) if status == "finished" else None
    if refused:
        return {"status": "worse_than_parent", "message": refused}
    forces = f"{initial.force_rmse_mev_per_angstrom:.2f} -> {final.force_rmse_mev_per_angstrom:.2f} meV/Å"
    energies = f"{initial.energy_rmse_mev_per_atom:.3f} -> {final.energy_rmse_mev_per_atom:.3f} meV/atom"
    epochs = f"best epoch {result.best_epoch} of {len(result.curve['epoch'])} ({result.stop_reason})"
    return {"status": status, "message": f"{epochs}; validation force RMSE {forces}, energy RMSE {energies}"}


def _refusal(job: Job, parent: Errors, final: Errors) -> str | None:
    """Why the gate refuses the model, or None. A parent whose errors are not finite is no measure."""
    if not final.finite:
        return "the errors of the trained model are not finite"
    factor = job.parameters.gate_factor
    ratios = _ratios(parent, final) if parent.finite else {}
    for name, ratio in worse_errors(ratios, factor, from_scratch=job.parameters.from_scratch).items():
        now, before = getattr(final, name), getattr(parent, name)
        return f"validation {name} {now:.6g} is {ratio:.2f} times the parent's {before:.6g}, above {factor:g}"
    return None


def checkpoint_header(job: Job, references: References, metrics: dict[str, Any]) -> dict[str, str]:
    """What the checkpoint says about itself beside its architecture."""
    fitted_to = job.references_of if references.method == "keep" else job.functional
    errors = {
        "validation": metrics["final"]["validation"],
        "probes": {name: errors["final"] for name, errors in metrics["probes"].items()},
    }
    extra = {"errors": json.dumps(finite(errors)), "foundation_references": json.dumps(job.foundation_references)}
    return extra | ({"references_of": fitted_to} if fitted_to else {})

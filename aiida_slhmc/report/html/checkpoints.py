"""The models of a run: where the first one came from, what the trainings made of it, and where each proposed."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.report.html.contents import Checkpoint, Epoch
from aiida_slhmc.report.html.epochs import name_of
from aiida_slhmc.report.lineage import Origin, lineage_of
from aiida_slhmc.workflows.children import failure_reason, find_children
from aiida_slhmc.workflows.outcomes import refusal_of, usable_model

__all__ = ("read_checkpoints",)

ERRORS = ("force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom")
MAIN = "model"


def read_checkpoints(run: orm.WorkChainNode, epochs: list[Epoch]) -> list[Checkpoint]:
    """The lineage of the run's first model, the oldest first, and the run's own trainings in their order."""
    proposed: dict[str, list[int]] = {}
    for epoch in epochs:
        if epoch.model is not None:
            proposed.setdefault(epoch.model.uuid, []).append(epoch.number)
    origins = reversed(lineage_of(run.inputs.model))
    own = [_of_training(role, training, proposed) for role, training in _trainings(run)]
    return [_of_model(origin, proposed) for origin in origins] + own


def _trainings(run: orm.WorkChainNode) -> list[tuple[str, orm.ProcessNode]]:
    """Trainings of the model and of its committee, by the number of the epoch before which they were."""
    own = [(name, MAIN, node) for name, node in find_children(run, "fine_tune_").items()]
    for name, node in find_children(run, "committee_").items():
        _, number, member = name.split("_")
        own.append((f"fine_tune_{number}", f"member_{member}", node))
    own.sort(key=lambda row: (row[0], row[1] != MAIN, row[1]))
    return [(role, node) for _, role, node in own]


def _of_model(origin: Origin, proposed: dict[str, list[int]]) -> Checkpoint:
    model, training = origin.model, origin.training
    source = model.base.attributes.get("source", None)
    return Checkpoint(
        role=MAIN,
        model=name_of(model),
        parent=name_of(origin.parent),
        state="imported" if training is None else "trained before this run",
        reason=f"from {source}" if training is None and source else "",
        n_labels=origin.n_labels or None,
        seconds=None if training is None else _metric(_outputs(training), "seconds"),
        errors=_errors(model),
        epochs=proposed.get(model.uuid, []),
    )


def _of_training(role: str, training: orm.ProcessNode, proposed: dict[str, list[int]]) -> Checkpoint:
    inputs = training.base.links.get_incoming(link_type=(LinkType.INPUT_WORK, LinkType.INPUT_CALC)).nested()
    outputs = _outputs(training)
    model = outputs.get("model")
    state, reason = _judgement(training)
    return Checkpoint(
        role=role,
        model=name_of(model),
        parent=name_of(inputs.get("model")),
        state=state,
        reason=reason,
        n_labels=_n_labels(inputs),
        seconds=_metric(outputs, "seconds"),
        errors={} if model is None else _errors(model),
        epochs=[] if model is None else proposed.get(model.uuid, []),
    )


def _judgement(training: orm.ProcessNode) -> tuple[str, str]:
    """What became of a training, in a word, and why."""
    if not training.is_terminated:
        return "training", ""
    if usable_model(training) is not None:
        return "used", ""
    refusal = refusal_of(training)
    return ("refused", refusal) if refusal else ("failed", failure_reason(training))


def _outputs(training: orm.ProcessNode) -> dict[str, Any]:
    return training.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).nested()


def _n_labels(inputs: dict[str, Any]) -> int | None:
    blocks = inputs.get("datasets")
    return sum(block.n_frames for block in blocks.values()) if blocks else None


def _metric(outputs: dict[str, Any], name: str) -> float | None:
    value = outputs["metrics"].get_dict().get(name) if "metrics" in outputs else None
    return float(value) if isinstance(value, int | float) else None


def _errors(model: MaceModelData) -> dict[str, dict[str, float | None]]:
    """Errors that the checkpoint says it has, by set: ``validation`` and the probes."""
    content = model.errors or {}
    sets = {"validation": content.get("validation")} | dict(content.get("probes") or {})
    return {name: {key: errors.get(key) for key in ERRORS} for name, errors in sets.items() if isinstance(errors, dict)}

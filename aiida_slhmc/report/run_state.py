"""The state of a self-learning run, read from the graph with a few queries, whether it is running or finished."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from aiida import orm

__all__ = ("EpochState", "RunState", "find_runs", "read_run_state")


@dataclass(frozen=True, kw_only=True)
class EpochState:
    """What an epoch has done so far; ``labels`` were asked for, failed ones included; ``force_rmse`` in meV/Å."""

    pk: int
    epoch: int
    cycle: int
    accepted: int
    proposed: int
    labels: int
    force_rmse: float | None
    is_finished: bool

    @property
    def acceptance(self) -> float | None:
        """Accepted over proposed, None before the first decision."""
        return self.accepted / self.proposed if self.proposed else None


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run as it stands."""

    pk: int
    started: datetime
    label_budget: int
    n_cycles: int
    labels: int
    activity: str
    is_terminated: bool
    epochs: list[EpochState] = field(default_factory=list)

    def time_left(self, now: datetime | None = None) -> timedelta | None:
        """A guess from the labels spent so far, or None before the first; trainings grow, so it errs low."""
        if self.labels == 0:
            return None
        elapsed = (now or datetime.now(tz=timezone.utc)) - self.started
        return elapsed * max(0.0, self.label_budget / self.labels - 1)


def find_runs(*, only_unfinished: bool = False) -> list[orm.WorkChainNode]:
    """Self-learning runs of the profile, the newest last."""
    filters: dict[str, Any] = {"attributes.process_label": "SlhmcWorkChain"}
    if only_unfinished:
        filters["attributes.process_state"] = {"!in": ["finished", "excepted", "killed"]}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters)
    return query.order_by({orm.WorkChainNode: "id"}).all(flat=True)


def read_run_state(pk: int) -> RunState:
    """Read the state of the run *pk*."""
    run = orm.load_node(pk)
    epochs = [_read_epoch(*row) for row in _epoch_rows(pk)]
    return RunState(
        pk=pk,
        started=run.ctime,
        label_budget=run.inputs.label_budget.value,
        n_cycles=run.inputs.n_cycles.value,
        labels=sum(epoch.labels for epoch in epochs),
        activity=_activity(pk),
        is_terminated=run.is_terminated,
        epochs=epochs,
    )


def _epoch_rows(pk: int) -> list[Any]:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": pk}, tag="run")
    query.append(
        orm.WorkChainNode,
        with_incoming="run",
        tag="epoch",
        filters={"attributes.process_label": "EpochWorkChain"},
        project=["id", "attributes.process_state"],
    )
    query.append(orm.Int, with_outgoing="epoch", edge_filters={"label": "epoch"}, project="attributes.value")
    return sorted(query.all())


def _read_epoch(pk: int, state: str, number: int) -> EpochState:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": pk}, tag="epoch")
    query.append(
        orm.CalcFunctionNode, with_incoming="epoch", tag="call", filters={"attributes.process_label": "metropolis"}
    )
    keys = [f"attributes.{name}" for name in ("cycle", "accepted", "force_rmse", "diverged")]
    query.append(orm.Dict, with_incoming="call", project=keys)
    rows = {cycle: columns for cycle, *columns in query.all()}
    accepted = [value for values, _, _ in rows.values() for value in values]
    errors = [value for _, values, _ in rows.values() for value in values if value is not None]
    # decisions of earlier versions do not say it; a divergence ended the epoch then
    diverged = sum(sum(values or []) for _, _, values in rows.values())
    return EpochState(
        pk=pk,
        epoch=number,
        cycle=len(rows),
        accepted=sum(accepted),
        proposed=len(accepted),
        labels=len(accepted) - diverged,
        force_rmse=1000 * float(np.sqrt(np.mean(np.square(errors)))) if errors else None,
        is_finished=state == "finished",
    )


def _activity(pk: int) -> str:
    """What runs at the moment, in words."""
    active = _active_children(pk) + _active_grandchildren(pk)
    if "FineTuneWorkChain" in active:
        return "fine-tuning the model"
    if "MaceProposalCalculation" in active:
        return "proposing"
    n_labels = sum(label.endswith("LabelWorkChain") for label in active)
    return f"labelling ({n_labels} to go)" if n_labels else "deciding"


ACTIVE = {"attributes.process_state": {"in": ["created", "running", "waiting"]}}


def _active_children(pk: int) -> list[str]:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": pk}, tag="run")
    query.append(orm.ProcessNode, with_incoming="run", filters=ACTIVE, project="attributes.process_label")
    return query.all(flat=True)


def _active_grandchildren(pk: int) -> list[str]:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": pk}, tag="run")
    query.append(orm.WorkChainNode, with_incoming="run", filters=ACTIVE, tag="epoch")
    query.append(orm.ProcessNode, with_incoming="epoch", filters=ACTIVE, project="attributes.process_label")
    return query.all(flat=True)

"""The state of a self-learning run or an epoch, read from the graph with a few queries, running or ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from aiida import orm

from aiida_slhmc.report.decisions import decisions_of

__all__ = ("EPOCH", "SLHMC", "EpochState", "RunState", "find_runs", "read_run_state")

SLHMC, EPOCH = "SlhmcWorkChain", "EpochWorkChain"


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
    """A run, or a single epoch, as it stands; ``activity`` is empty once it has ended."""

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
    filters: dict[str, Any] = {"attributes.process_label": SLHMC}
    if only_unfinished:
        filters["attributes.process_state"] = {"!in": ["finished", "excepted", "killed"]}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters)
    return query.order_by({orm.WorkChainNode: "id"}).all(flat=True)


def read_run_state(pk: int) -> RunState:
    """Read the state of the run, or of the epoch, *pk*; the budget of an epoch is that of all its cycles."""
    run: Any = orm.load_node(pk)
    is_epoch = run.process_label == EPOCH
    rows = [_epoch_row(run)] if is_epoch else _epoch_rows(pk)
    epochs = [_read_epoch(*row) for row in rows]
    n_cycles = _number(run, "n_cycles")
    walkers = run.inputs.walkers if "walkers" in run.inputs else ()
    return RunState(
        pk=pk,
        started=run.ctime,
        label_budget=n_cycles * len(walkers) if is_epoch else _number(run, "label_budget"),
        n_cycles=n_cycles,
        labels=sum(epoch.labels for epoch in epochs),
        activity="" if run.is_terminated else _activity(pk),
        is_terminated=run.is_terminated,
        epochs=epochs,
    )


def _number(run: Any, name: str) -> int:
    """An input of a run, 0 where part of it was imported without it: a list of all runs is not to fail for one."""
    return int(run.inputs[name].value) if name in run.inputs else 0


def _epoch_row(epoch: Any) -> tuple[int, str | None, int]:
    return epoch.pk, epoch.process_state and epoch.process_state.value, _number(epoch, "epoch")


def _epoch_rows(pk: int) -> list[Any]:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": pk}, tag="run")
    query.append(
        orm.WorkChainNode,
        with_incoming="run",
        tag="epoch",
        filters={"attributes.process_label": EPOCH},
        project=["id", "attributes.process_state"],
    )
    query.append(orm.Int, with_outgoing="epoch", edge_filters={"label": "epoch"}, project="attributes.value")
    return sorted(query.all())


def _read_epoch(pk: int, state: str, number: int) -> EpochState:
    rows = list(decisions_of(pk, ("accepted", "force_rmse", "diverged")).values())
    accepted = [value for row in rows for value in row["accepted"]]
    errors = [value for row in rows for value in row["force_rmse"] if value is not None]
    # decisions of earlier versions do not say it; a divergence ended the epoch then
    diverged = sum(sum(row["diverged"] or []) for row in rows)
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

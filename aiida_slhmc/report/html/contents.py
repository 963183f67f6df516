"""What a report says, as plain values: gathered by the modules beside this one, read by the figures and the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiida_slhmc.analysis.epoch_summary import Chain

__all__ = ("Checkpoint", "Cost", "Epoch", "FailedProcess", "LabelProblem", "NodeName", "Report", "State", "Version")


@dataclass(frozen=True, kw_only=True)
class NodeName:
    """How the page names a node."""

    pk: int
    uuid: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch with at least one decision.

    ``chain``, ``about`` and ``summary`` are as :func:`aiida_slhmc.calculations.epoch.read_chain` and
    :func:`aiida_slhmc.analysis.epoch_summary.summarise` give them. ``node`` and ``model`` are None where the profile
    does not have them. ``is_earlier``: of a run that this one went on from.
    """

    number: int
    node: NodeName | None
    model: NodeName | None
    chain: Chain
    about: dict[str, Any]
    summary: dict[str, Any]
    state: str
    reason: str
    is_earlier: bool

    @property
    def n_cycles(self) -> int:
        """Cycles decided so far."""
        return len(self.chain["accepted"])


@dataclass(frozen=True, kw_only=True)
class State:
    """A process as it stands, in words; ``is_terminated`` once nothing changes any more."""

    process: str
    words: str
    is_terminated: bool
    is_ok: bool
    activity: str
    started: datetime
    elapsed: timedelta
    left: timedelta | None
    labels: int
    label_budget: int | None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model of the lineage, or a training that left none; errors in meV/Å and meV/atom by set."""

    role: str
    model: NodeName | None
    parent: NodeName | None
    state: str
    reason: str
    n_labels: int | None
    seconds: float | None
    errors: dict[str, dict[str, float | None]]
    epochs: list[int]


@dataclass(frozen=True, kw_only=True)
class LabelProblem:
    """An end point that has no label, or only after a recovery; ``kind`` is one of the keys of the page's legend."""

    epoch: int
    cycle: int
    walker: int
    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FailedProcess:
    """A process that did not end well."""

    pk: int
    label: str
    exit_status: int | None
    message: str


@dataclass(frozen=True, kw_only=True)
class Cost:
    """All processes of one type; ``elapsed`` from creation to last change, ``scheduler`` what the scheduler counted."""

    kind: str
    label: str
    number: int
    failed: int
    cached: int
    active: int
    elapsed: timedelta
    scheduler: timedelta | None


@dataclass(frozen=True, kw_only=True)
class Version:
    """Software and the versions of it that took part."""

    name: str
    versions: str
    of: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything on the page; ``about`` has formula, n_atoms, functional, engine, stand_in, ensemble and so on."""

    node: NodeName
    made: datetime
    state: State
    about: dict[str, Any]
    epochs: list[Epoch]
    warnings: list[str]
    structures: dict[int, Any] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    problems: list[LabelProblem] = field(default_factory=list)
    failed: list[FailedProcess] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    graph: Any = None
    versions: list[Version] = field(default_factory=list)
    citations: list[tuple[str, str, str]] = field(default_factory=list)
    inputs: str = ""
    commands: str = ""
    log: list[str] = field(default_factory=list)

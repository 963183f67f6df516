"""Groups of options of a fine-tuning, each a dictionary among its parameters.

Standard library only, like :mod:`~aiida_slhmc.worker.fine_tune_parameters`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiida_slhmc.kernel.checks import hint_at, is_number, is_whole

REFERENCE_METHODS = ("keep", "average", "shift", "explicit")
SELECTION_METHODS = ("all", "window", "reservoir")


@dataclass(frozen=True)
class ReferenceParameters:
    """How the energy references are set before training, see ``references.py``."""

    method: str = "shift"
    table: dict[str, float] | None = None  # {symbol: eV}, for method explicit
    refit: bool = False  # fit again although the model's references were fitted to this functional before

    def __post_init__(self) -> None:
        check_choice("references.method", self.method, REFERENCE_METHODS)
        if (self.method == "explicit") != bool(self.table):
            raise ValueError("references.table goes with the method 'explicit', and only with it")
        check_flag("references.refit", self.refit)
        for symbol, value in (self.table or {}).items():
            check_number(f"references.table.{symbol}", value)


@dataclass(frozen=True)
class SelectionParameters:
    """Which labels of older blocks train; those of the newest block always do, see ``selection.py``."""

    method: str = "all"
    size: int | None = None  # how many of the older ones; validating ones are as many in proportion

    def __post_init__(self) -> None:
        check_choice("selection.method", self.method, SELECTION_METHODS)
        if (self.method == "all") != (self.size is None):
            raise ValueError("selection.size goes with the methods 'window' and 'reservoir', and only with them")
        if self.size is not None:
            check_whole("selection.size", self.size, 0)


@dataclass(frozen=True)
class ReplayParameters:
    """Training on upstream configurations beside the labels, see ``replay.py``."""

    weight: float = 1.0  # of the loss on a batch of them, that on a batch of labels being 1
    every: int = 1  # such a batch is added at every so many steps

    def __post_init__(self) -> None:
        check_number("replay.weight", self.weight, above=0.0)
        check_whole("replay.every", self.every, 1)


@dataclass(frozen=True)
class HessianParameters:
    """Training on columns of force constants beside the labels, see ``hessian.py``."""

    weight: float = 10.0  # of the mean absolute error of a column (eV/Å²)
    every: int = 1  # the term is added at every so many steps
    n_columns: int = 1  # columns per such step, each costs about as much as a batch of one configuration

    def __post_init__(self) -> None:
        check_number("hessian.weight", self.weight, above=0.0)
        check_whole("hessian.every", self.every, 1)
        check_whole("hessian.n_columns", self.n_columns, 1)


@dataclass(frozen=True)
class LoraParameters:
    """Training of low-rank additions to the weights only; they are merged into them at the end."""

    rank: int = 4
    alpha: float = 1.0  # the addition is scaled by alpha/rank

    def __post_init__(self) -> None:
        check_whole("lora.rank", self.rank, 1)
        check_number("lora.alpha", self.alpha, above=0.0)


def check_choice(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Refuse a value that is not in the list, with the nearest that is."""
    choices = tuple(allowed)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}; {hint_at(value, choices)}")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least this size (a bool is none)."""
    if not is_whole(value) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")


def check_number(
    name: str, value: Any, *, least: float | None = None, above: float | None = None, below: float | None = None
) -> None:
    """Refuse what is not a finite number in the range (a bool is none)."""
    if not is_number(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least:g}, not {value!r}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be greater than {above:g}, not {value!r}")
    if below is not None and value >= below:
        raise ValueError(f"{name} must be less than {below:g}, not {value!r}")

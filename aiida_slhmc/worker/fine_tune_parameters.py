"""The options of a fine-tuning, their defaults and what is allowed.

Standard library only: the AiiDA process checks the options with it when a calculation is submitted.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from aiida_slhmc.kernel.checks import is_number, is_whole

LOSSES = ("energy_forces", "energy_forces_stress", "huber", "universal")
STRESS_LOSSES = LOSSES[1:]
REFERENCE_METHODS = ("keep", "average", "shift", "explicit")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ReferenceParameters:
    """How the energy references are set before training, see ``references.py``."""

    method: str = "shift"
    table: dict[str, float] | None = None  # {symbol: eV}, for method explicit
    refit: bool = False  # fit again although the model's references were fitted to this functional before

    def __post_init__(self) -> None:
        _one_of("references.method", self.method, REFERENCE_METHODS)
        if (self.method == "explicit") != bool(self.table):
            raise ValueError("references.table goes with the method 'explicit', and only with it")
        if not isinstance(self.refit, bool):
            raise ValueError(f"references.refit must be true or false, not {self.refit!r}")
        for symbol, value in (self.table or {}).items():
            _number(f"references.table.{symbol}", value)


@dataclass(frozen=True)
class FineTuneParameters:
    """The options of a fine-tuning; the defaults are the paper's, but for the energy references (there: average)."""

    max_epochs: int = 50
    learning_rate: float = 0.01  # of Adam
    batch_size: int = 8
    loss: str = "energy_forces"
    energy_weight: float = 1.0
    forces_weight: float = 100.0
    stress_weight: float = 1.0  # used by the losses that have stress
    huber_delta: float = 0.01  # used by the losses huber and universal
    patience: int = 10  # epochs without a better validation loss before training stops
    scheduler_patience: int = 5  # the same before the learning rate is multiplied by 0.8
    weight_decay: float = 5e-7
    amsgrad: bool = True
    clip_gradient: float | None = 10.0  # largest norm of the gradient, None for no limit
    ema_decay: float | None = None  # exponential moving average of the weights, None for off
    validation_fraction: float = 0.1  # of each block
    seed: int = 0  # of the order of the training batches
    references: ReferenceParameters = field(default_factory=ReferenceParameters)
    walltime_seconds: float | None = None  # stop in time to save the best model so far
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        for name, least in (("max_epochs", 1), ("batch_size", 1), ("patience", 1), ("threads", 1)):
            _integer(name, getattr(self, name), least)
        for name in ("scheduler_patience", "seed"):
            _integer(name, getattr(self, name), 0)
        for name in ("energy_weight", "forces_weight", "stress_weight", "weight_decay"):
            _number(name, getattr(self, name), least=0.0)
        for name in ("learning_rate", "huber_delta"):
            _number(name, getattr(self, name), above=0.0)
        for name in ("clip_gradient", "walltime_seconds"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), above=0.0)
        _number("validation_fraction", self.validation_fraction, above=0.0, below=1.0)
        if self.ema_decay is not None:
            _number("ema_decay", self.ema_decay, above=0.0, below=1.0)
        if not isinstance(self.amsgrad, bool):
            raise ValueError(f"amsgrad must be true or false, not {self.amsgrad!r}")
        if self.energy_weight == 0 and self.forces_weight == 0:
            raise ValueError("energy_weight and forces_weight are both 0: there is nothing to learn from")
        _one_of("loss", self.loss, LOSSES)
        _one_of("device", self.device, DEVICES)

    @property
    def uses_stress(self) -> bool:
        """Whether the loss has a stress term."""
        return self.loss in STRESS_LOSSES

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> FineTuneParameters:
        """Return checked options; those not given have their defaults.

        :raises ValueError: an unknown option (the nearest known one is named), a wrong type or range
        """
        given = dict(options)
        _known("option", given, [entry.name for entry in fields(cls)])
        references = given.pop("references", None)
        if references is not None:
            if not isinstance(references, dict):
                raise ValueError("references must be a dictionary with the keys 'method' and, for explicit, 'table'")
            _known("option of references", references, [entry.name for entry in fields(ReferenceParameters)])
            given["references"] = ReferenceParameters(**references)
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return all options, defaults included, ready for JSON."""
        return asdict(self)


def _known(kind: str, given: dict[str, Any], names: list[str]) -> None:
    """Refuse names that do not exist."""
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
            raise ValueError(f"unknown {kind} {name!r}{hint}")


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not in the list."""
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}{hint}")


def _integer(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least this size (a bool is none)."""
    if not is_whole(value) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _number(
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

"""The options of a fine-tuning, their defaults and what is allowed.

Standard library only: the AiiDA process checks the options with it when a calculation is submitted.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from aiida_slhmc.kernel.checks import check_names
from aiida_slhmc.worker.fine_tune_options import (
    HessianParameters,
    LoraParameters,
    ReferenceParameters,
    ReplayParameters,
    SelectionParameters,
    check_choice,
    check_flag,
    check_number,
    check_whole,
)

STATE_FILE = "training_state.safetensors"  # what a training that was cut short leaves, to go on from

LOSSES = ("energy_forces", "energy_forces_l1_l2", "energy_forces_stress", "huber", "universal")
STRESS_LOSSES = LOSSES[2:]
SCHEDULERS = ("plateau", "exponential", "cosine", "constant")
LAYERS = ("embedding", "interactions", "products", "readouts")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float64", "float32")
KERNELS = ("e3nn", "cuequivariance", "openequivariance")

# option -> the dataclass of its dictionary
GROUPS: dict[str, Any] = {
    "references": ReferenceParameters,
    "selection": SelectionParameters,
    "replay": ReplayParameters,
    "hessian": HessianParameters,
    "lora": LoraParameters,
}


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
    scheduler: str = "plateau"  # of the learning rate: plateau, exponential, cosine (to 0 at max_epochs) or constant
    scheduler_patience: int = 5  # plateau: epochs without a better validation loss before the rate is lowered
    scheduler_factor: float = 0.8  # plateau: by which it is lowered; exponential: by which it is, each epoch
    weight_decay: float = 5e-7
    amsgrad: bool = True
    clip_gradient: float | None = 10.0  # largest norm of the gradient, None for no limit
    ema_decay: float | None = None  # exponential moving average of the weights, None for off
    freeze: tuple[str, ...] = ()  # of embedding, interactions, products, readouts: those keep their weights
    lora: LoraParameters | None = None
    from_scratch: bool = False  # begin with random weights (of `seed`) and take only the model's architecture
    validation_fraction: float = 0.1  # of each block
    selection: SelectionParameters = field(default_factory=SelectionParameters)
    references: ReferenceParameters = field(default_factory=ReferenceParameters)
    replay: ReplayParameters = field(default_factory=ReplayParameters)  # where upstream configurations are given
    hessian: HessianParameters = field(default_factory=HessianParameters)  # where force constants are given
    gate_factor: float | None = 1.5  # a model whose validation errors are this much above its parent's is refused
    seed: int = 0  # of the order of the training batches, and of all else that is drawn
    dtype: str = "float64"  # of the training; the model itself is float64 before and after
    kernels: str = "e3nn"  # or fused ones of a package that is installed: cuequivariance, openequivariance
    walltime_seconds: float | None = None  # stop in time to save the best model so far
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("max_epochs", "batch_size", "patience", "threads"):
            check_whole(name, getattr(self, name), 1)
        for name in ("scheduler_patience", "seed"):
            check_whole(name, getattr(self, name), 0)
        for name in ("energy_weight", "forces_weight", "stress_weight", "weight_decay"):
            check_number(name, getattr(self, name), least=0.0)
        for name in ("learning_rate", "huber_delta"):
            check_number(name, getattr(self, name), above=0.0)
        for name in ("clip_gradient", "walltime_seconds"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0.0)
        for name in ("validation_fraction", "scheduler_factor"):
            check_number(name, getattr(self, name), above=0.0, below=1.0)
        if self.ema_decay is not None:
            check_number("ema_decay", self.ema_decay, above=0.0, below=1.0)
        if self.gate_factor is not None:
            check_number("gate_factor", self.gate_factor, least=1.0)
        for name in ("amsgrad", "from_scratch"):
            check_flag(name, getattr(self, name))
        if self.energy_weight == 0 and self.forces_weight == 0:
            raise ValueError("energy_weight and forces_weight are both 0: there is nothing to learn from")
        choices = {"loss": LOSSES, "scheduler": SCHEDULERS, "device": DEVICES, "dtype": PRECISIONS, "kernels": KERNELS}
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        self._check_frozen()

    def _check_frozen(self) -> None:
        for layer in self.freeze:
            check_choice("freeze", layer, LAYERS)
        if set(self.freeze) == set(LAYERS):
            raise ValueError("freeze names all layers: there is nothing to train")
        if self.lora is not None and (self.freeze or self.from_scratch):
            raise ValueError("lora trains additions to weights that are there: leave out freeze and from_scratch")

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
        check_names(given, [entry.name for entry in fields(cls)], "training option")
        for name, group in GROUPS.items():
            if given.get(name) is None:
                given.pop(name, None)
                continue
            if not isinstance(given[name], dict):
                raise ValueError(f"{name} must be a dictionary with keys of {', '.join(_names(group))}")
            check_names(given[name], _names(group), f"option of {name}")
            given[name] = group(**given[name])
        if isinstance(given.get("freeze", ()), str):
            raise ValueError(f"freeze must be a list of {', '.join(LAYERS)}")
        if "freeze" in given:
            given["freeze"] = tuple(given["freeze"] or ())
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return all options, defaults included, ready for JSON."""
        return asdict(self) | {"freeze": list(self.freeze)}


def _names(group: Any) -> list[str]:
    return [entry.name for entry in fields(group)]

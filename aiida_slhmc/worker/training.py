"""The training loop: MACE's model and losses, torch's Adam and learning-rate schedules.

Written instead of calling ``mace_run_train`` because of what that does: its early stopping does not stop a single
process; not-a-number counts as its best model; the model it starts from is no candidate for the best; it drops
incomplete batches; a tensor outside the optimiser takes part in the clipping of the gradient. With the same data, start
and settings both give the same weights (tests/worker/test_training_against_mace.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from mace.data import AtomicData
from torch_ema import ExponentialMovingAverage

from aiida_slhmc.worker.checkpoint import DTYPES, default_dtype, model_dtype
from aiida_slhmc.worker.evaluation import Errors, evaluate, make_batches, make_loss
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.optimiser import make_loader, make_optimiser, make_scheduler, step_scheduler
from aiida_slhmc.worker.training_state import TrainingState, grouped, optimiser_tensors, restore_optimiser

Weights = dict[str, torch.Tensor]
CURVE = (
    "epoch",
    "training_loss",
    "validation_loss",
    "energy_rmse_mev_per_atom",
    "force_rmse_mev_per_angstrom",
    "learning_rate",
)


class Term(Protocol):
    """Something that is trained beside the labels. What it draws depends on the number of the step only, so that a
    training that is cut in two goes on the same.
    """

    @property
    def every(self) -> int:
        """It takes part in every so many steps."""

    def loss(self, model: torch.nn.Module, step: int) -> torch.Tensor:
        """Return its weighted loss at this step, which the weights are trained on."""

    def validation_loss(self, model: torch.nn.Module) -> float:
        """Return its weighted loss on what it never trains on."""


@dataclass
class TrainingResult:
    """How a training went; the model itself holds the best weights when it ends."""

    stop_reason: str  # early_stopping, max_epochs, walltime, diverged or no_improvement
    best_epoch: int  # 0: the initial model
    curve: dict[str, list[float]] = field(default_factory=dict)  # one value per finished epoch
    state: TrainingState | None = None  # to go on from, after the stop reason walltime


class _StopTrainingError(Exception):
    """Ends the training; its argument is the stop reason."""


@dataclass
class _Best:
    """The best model so far: the initial one is the first candidate."""

    loss: float
    weights: Weights
    epoch: int = 0


def train(
    model: torch.nn.Module,
    training: list[AtomicData],
    validation: list[AtomicData],
    parameters: FineTuneParameters,
    *,
    terms: Sequence[Term] = (),
    state: TrainingState | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    log: Callable[[str], None] = print,
) -> TrainingResult:
    """Train a model in place and leave it with the weights of the lowest validation loss.

    The initial model is a candidate. Early stopping counts the epochs since the best *trained* epoch, so that a
    training that first gets worse (a high learning rate does that to a good model) may recover.

    :param model: with its energy references set; its precision is that of the training
    :param training: labelled graphs in that precision; all are used in each epoch, the last batch may be smaller
    :param validation: labelled graphs
    :param terms: what is trained beside the labels; their validation losses count, too
    :param state: of a training with the same model, data and options, to go on from where it ran out of time
    :param deadline: on the scale of ``clock``: no epoch is begun that would end later, a running one is given up
    :param log: gets one line per epoch
    """
    with default_dtype(DTYPES[model_dtype(model)]):
        loop = _Training(model, training, validation, parameters, terms, deadline, clock, log)
        return loop.run(state)


class _Training:
    """One training: its optimiser, scheduler and averaged weights, and what was best."""

    def __init__(
        self,
        model: torch.nn.Module,
        training: list[AtomicData],
        validation: list[AtomicData],
        parameters: FineTuneParameters,
        terms: Sequence[Term],
        deadline: float | None,
        clock: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        self.model, self.parameters, self.terms, self.log = model, parameters, terms, log
        self.deadline, self.clock = deadline, clock
        self.device = next(model.parameters()).device
        self.loss = make_loss(parameters).to(self.device)
        self.validation = make_batches(validation, parameters.batch_size, self.device)
        self.loader = make_loader(training, parameters.batch_size, parameters.seed)
        self.optimiser = make_optimiser(model, parameters)
        self.trained = [tensor for group in self.optimiser.param_groups for tensor in group["params"]]
        self.scheduler = make_scheduler(self.optimiser, parameters)
        decay = parameters.ema_decay
        self.average = None if decay is None else ExponentialMovingAverage(self.trained, decay=decay)
        self.curve: dict[str, list[float]] = {name: [] for name in CURVE}
        self.epoch, self.step = 0, 0  # finished
        self.lowest, self.since = math.inf, 0  # validation loss of trained epochs, and epochs since it was reached

    def run(self, state: TrainingState | None) -> TrainingResult:
        """Train until something ends it; the best weights are in the model afterwards."""
        if state is None:
            _, start = self._evaluate()
            # a model that is not finite to begin with can be replaced by any that is
            self.best = _Best(start if math.isfinite(start) else math.inf, copy_weights(self.model))
        else:
            self._restore(state)
        self._keep_state()
        try:
            self._epochs()
            reason = "max_epochs"
        except _StopTrainingError as stop:
            reason = str(stop)
        self.model.load_state_dict(self.best.weights)
        if self.best.epoch == 0 and reason in ("early_stopping", "max_epochs"):
            reason = "no_improvement"
        return TrainingResult(reason, self.best.epoch, self.curve, self.kept if reason == "walltime" else None)

    def _epochs(self) -> None:
        longest = 0.0
        while self.epoch < self.parameters.max_epochs:
            began = self.clock()
            if self.deadline is not None and began + longest > self.deadline:
                raise _StopTrainingError("walltime")
            training_loss = self._train_epoch()
            self.epoch += 1
            with self._averaged():
                errors, loss = self._checked_errors()
                if loss < self.best.loss:
                    self.best = _Best(loss, copy_weights(self.model), self.epoch)
            self._record(training_loss, loss, errors)
            step_scheduler(self.scheduler, loss)
            self.since = 0 if loss < self.lowest else self.since + 1
            self.lowest = min(self.lowest, loss)
            if self.since >= self.parameters.patience:
                raise _StopTrainingError("early_stopping")
            self._keep_state()
            longest = max(longest, self.clock() - began)

    def _train_epoch(self) -> float:
        """Take one step per batch; return the mean loss over configurations, each before its step."""
        total = graphs = 0.0
        for batch in self.loader:
            if self.deadline is not None and self.clock() > self.deadline:
                raise _StopTrainingError("walltime")
            total += self._step(batch.to(self.device)) * batch.num_graphs
            graphs += batch.num_graphs
        return total / graphs

    def _step(self, batch: Any) -> float:
        """Take one step of the optimiser; return the loss before it."""
        self.optimiser.zero_grad(set_to_none=True)
        output = self.model(batch.to_dict(), training=True, compute_stress=self.parameters.uses_stress)
        value = self._backward(self.loss(pred=output, ref=batch))
        for term in self.terms:
            if self.step % term.every == 0:
                value += self._backward(term.loss(self.model, self.step))
        limit = math.inf if self.parameters.clip_gradient is None else self.parameters.clip_gradient
        norm = torch.nn.utils.clip_grad_norm_(self.trained, max_norm=limit)
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise _StopTrainingError("diverged")  # before the step, which would spoil the weights
        self.optimiser.step()
        self.step += 1
        if self.average is not None:
            self.average.update()
        return value

    def _backward(self, loss: torch.Tensor) -> float:
        """Add the gradient of a loss; term by term, so that only one graph is in memory."""
        # only the gradients that are needed: no tensor outside the optimiser can gather one and enter the norm
        loss.backward(inputs=self.trained)
        return float(loss.detach())

    def _evaluate(self) -> tuple[Errors, float]:
        """Return the errors on the validation set, and the validation loss with that of the terms."""
        errors = evaluate(self.model, self.validation, self.loss, stress=self.parameters.uses_stress)
        return errors, errors.loss + sum(term.validation_loss(self.model) for term in self.terms)

    def _checked_errors(self) -> tuple[Errors, float]:
        errors, loss = self._evaluate()
        weights_are_finite = all(bool(torch.isfinite(tensor).all()) for tensor in self.trained)
        if not (errors.finite and math.isfinite(loss) and weights_are_finite):
            raise _StopTrainingError("diverged")
        return errors, loss

    def _averaged(self) -> AbstractContextManager[None]:
        """With the averaged weights in the model, where they are asked for."""
        return nullcontext() if self.average is None else self.average.average_parameters()

    def _record(self, training_loss: float, loss: float, errors: Errors) -> None:
        rate = self.optimiser.param_groups[0]["lr"]
        energy, force = errors.energy_rmse_mev_per_atom, errors.force_rmse_mev_per_angstrom
        for column, value in zip(
            self.curve.values(), (self.epoch, training_loss, loss, energy, force, rate), strict=True
        ):
            column.append(value)
        self.log(
            f"epoch {self.epoch:4d}  loss {training_loss:.6g} (validation {loss:.6g})"
            f"  energy {energy:.3f} meV/atom  force {force:.2f} meV/Å  learning rate {rate:.3g}"
        )

    def _keep_state(self) -> None:
        """Remember where the training stands, should the wall time end in the next epoch."""
        self.kept = None if self.deadline is None else self._state()

    def _state(self) -> TrainingState:
        average = {} if self.average is None else dict(enumerate(self.average.state_dict()["shadow_params"]))
        tensors = grouped(
            weights=self.model.state_dict(),
            best=self.best.weights,
            optimiser=optimiser_tensors(self.optimiser),
            average={str(index): tensor for index, tensor in average.items()},
            order={"generator": self.loader.generator.get_state()},
        )
        numbers = {
            "epoch": self.epoch,
            "step": self.step,
            "lowest": self.lowest,
            "since": self.since,
            "best": [self.best.loss, self.best.epoch],
            "curve": {name: list(column) for name, column in self.curve.items()},
            "param_groups": self.optimiser.state_dict()["param_groups"],
            "scheduler": {key: value for key, value in self.scheduler.state_dict().items() if key != "optimizer"},
            "updates": 0 if self.average is None else self.average.num_updates,
        }
        return TrainingState(tensors, numbers)

    def _restore(self, state: TrainingState) -> None:
        numbers = state.numbers
        self.model.load_state_dict(state.group("weights"))
        weights = {name: tensor.to(self.device) for name, tensor in state.group("best").items()}
        self.best = _Best(numbers["best"][0], weights, numbers["best"][1])
        restore_optimiser(self.optimiser, state.group("optimiser"), numbers["param_groups"])
        self.scheduler.load_state_dict(numbers["scheduler"])
        self.loader.generator.set_state(state.group("order")["generator"])
        if self.average is not None:
            shadow = state.group("average")
            self.average.num_updates = numbers["updates"]
            for index, tensor in enumerate(self.average.shadow_params):
                tensor.copy_(shadow[str(index)])
        self.epoch, self.step = numbers["epoch"], numbers["step"]
        self.lowest, self.since = numbers["lowest"], numbers["since"]
        self.curve = {name: list(numbers["curve"][name]) for name in CURVE}


def copy_weights(model: torch.nn.Module) -> Weights:
    """Return copies of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

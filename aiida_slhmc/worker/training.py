"""The training loop: MACE's model and losses, torch's Adam and learning-rate scheduler.

Written instead of calling ``mace_run_train`` because of what that does: its early stopping does not stop a single
process; not-a-number counts as its best model; the model it starts from is no candidate for the best; it drops
incomplete batches; a tensor outside the optimiser takes part in the clipping of the gradient. With the same data, start
and settings both give the same weights (tests/worker/test_training_against_mace.py).
"""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from mace.data import AtomicData
from mace.tools.scripts_utils import get_params_options
from mace.tools.torch_geometric.dataloader import DataLoader
from torch_ema import ExponentialMovingAverage

from aiida_slhmc.worker.checkpoint import default_dtype
from aiida_slhmc.worker.evaluation import Errors, evaluate, make_batches, make_loss
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

Weights = dict[str, torch.Tensor]
SCHEDULER_FACTOR = 0.8


@dataclass
class TrainingResult:
    """How a training went; the model itself holds the best weights when it ends."""

    stop_reason: str  # early_stopping, max_epochs, walltime, diverged or no_improvement
    best_epoch: int  # 0: the initial model
    curve: dict[str, list[float]] = field(default_factory=dict)  # one value per finished epoch


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
    deadline: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    log: Callable[[str], None] = print,
) -> TrainingResult:
    """Train a model in place and leave it with the weights of the lowest validation loss.

    The initial model is a candidate. Early stopping counts the epochs since the best *trained* epoch, so that a
    training that first gets worse (a high learning rate does that to a good model) may recover.

    :param model: float64, with its energy references set
    :param training: labelled graphs; all are used in each epoch, the last batch may be smaller
    :param validation: labelled graphs
    :param deadline: on the scale of ``clock``: no epoch is begun that would end later, a running one is given up
    :param log: gets one line per epoch
    """
    with default_dtype(torch.float64):
        return _Training(model, training, validation, parameters, deadline, clock, log).run()


class _Training:
    """One training: its optimiser, scheduler and averaged weights, and what was best."""

    def __init__(
        self,
        model: torch.nn.Module,
        training: list[AtomicData],
        validation: list[AtomicData],
        parameters: FineTuneParameters,
        deadline: float | None,
        clock: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        self.model, self.parameters, self.log = model, parameters, log
        self.deadline, self.clock = deadline, clock
        self.device = next(model.parameters()).device
        self.loss = make_loss(parameters).to(self.device)
        self.validation = make_batches(validation, parameters.batch_size, self.device)
        self.loader = make_loader(training, parameters.batch_size, parameters.seed)
        self.optimiser = make_optimiser(model, parameters)
        self.trained = [tensor for group in self.optimiser.param_groups for tensor in group["params"]]
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, factor=SCHEDULER_FACTOR, patience=parameters.scheduler_patience
        )
        decay = parameters.ema_decay
        self.average = None if decay is None else ExponentialMovingAverage(self.trained, decay=decay)
        self.curve: dict[str, list[float]] = {
            "epoch": [],
            "training_loss": [],
            "validation_loss": [],
            "energy_rmse_mev_per_atom": [],
            "force_rmse_mev_per_angstrom": [],
            "learning_rate": [],
        }

    def run(self) -> TrainingResult:
        """Train until something ends it; the best weights are in the model afterwards."""
        start = self.evaluate()
        # a model that is not finite to begin with can be replaced by any that is
        self.best = _Best(start.loss if start.finite else math.inf, copy_weights(self.model))
        try:
            self._epochs()
            reason = "max_epochs"
        except _StopTrainingError as stop:
            reason = str(stop)
        self.model.load_state_dict(self.best.weights)
        if self.best.epoch == 0 and reason in ("early_stopping", "max_epochs"):
            reason = "no_improvement"
        return TrainingResult(reason, self.best.epoch, self.curve)

    def _epochs(self) -> None:
        lowest, since, longest = math.inf, 0, 0.0
        for epoch in range(1, self.parameters.max_epochs + 1):
            began = self.clock()
            if self.deadline is not None and began + longest > self.deadline:
                raise _StopTrainingError("walltime")
            training_loss = self._train_epoch()
            with self._averaged():
                errors = self._checked_errors()
                self._keep_best(epoch, errors)
            self._record(epoch, training_loss, errors)
            self.scheduler.step(errors.loss)
            since = 0 if errors.loss < lowest else since + 1
            lowest = min(lowest, errors.loss)
            if since >= self.parameters.patience:
                raise _StopTrainingError("early_stopping")
            longest = max(longest, self.clock() - began)

    def _train_epoch(self) -> float:
        """Take one step per batch; return the mean loss over configurations, each before its step."""
        total = graphs = 0.0
        for batch in to_device(self.loader, self.device):
            if self.deadline is not None and self.clock() > self.deadline:
                raise _StopTrainingError("walltime")
            total += self._step(batch) * batch.num_graphs
            graphs += batch.num_graphs
        return total / graphs

    def _step(self, batch: Any) -> float:
        """Take one step of the optimiser; return the loss before it."""
        self.optimiser.zero_grad(set_to_none=True)
        output = self.model(batch.to_dict(), training=True, compute_stress=self.parameters.uses_stress)
        loss = self.loss(pred=output, ref=batch)
        # only the gradients that are needed: no tensor outside the optimiser can gather one and enter the norm
        loss.backward(inputs=self.trained)
        limit = math.inf if self.parameters.clip_gradient is None else self.parameters.clip_gradient
        norm = torch.nn.utils.clip_grad_norm_(self.trained, max_norm=limit)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise _StopTrainingError("diverged")  # before the step, which would spoil the weights
        self.optimiser.step()
        if self.average is not None:
            self.average.update()
        return value

    def evaluate(self) -> Errors:
        """Return loss and errors on the validation set."""
        return evaluate(self.model, self.validation, self.loss, stress=self.parameters.uses_stress)

    def _checked_errors(self) -> Errors:
        errors = self.evaluate()
        if not (errors.finite and all(bool(torch.isfinite(tensor).all()) for tensor in self.trained)):
            raise _StopTrainingError("diverged")
        return errors

    def _keep_best(self, epoch: int, errors: Errors) -> None:
        if errors.loss < self.best.loss:
            self.best = _Best(errors.loss, copy_weights(self.model), epoch)

    def _averaged(self) -> AbstractContextManager[None]:
        """With the averaged weights in the model, where they are asked for."""
        return nullcontext() if self.average is None else self.average.average_parameters()

    def _record(self, epoch: int, training_loss: float, errors: Errors) -> None:
        values = (
            epoch,
            training_loss,
            errors.loss,
            errors.energy_rmse_mev_per_atom,
            errors.force_rmse_mev_per_angstrom,
            self.optimiser.param_groups[0]["lr"],
        )
        for column, value in zip(self.curve.values(), values, strict=True):
            column.append(value)
        self.log(
            f"epoch {epoch:4d}  loss {training_loss:.6g} (validation {errors.loss:.6g})"
            f"  energy {errors.energy_rmse_mev_per_atom:.3f} meV/atom"
            f"  force {errors.force_rmse_mev_per_angstrom:.2f} meV/Å  learning rate {values[-1]:.3g}"
        )


def make_loader(graphs: list[AtomicData], batch_size: int, seed: int) -> DataLoader:
    """Return batches in an order that the seed fixes, new in each epoch; none is dropped."""
    data: Any = graphs  # a list serves as a dataset, whatever MACE's annotation says
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=False, generator=generator)


def make_optimiser(model: torch.nn.Module, parameters: FineTuneParameters) -> torch.optim.Adam:
    """Return Adam with MACE's groups: weight decay acts on products and some interaction weights only."""
    options = Namespace(
        lr=parameters.learning_rate,
        weight_decay=parameters.weight_decay,
        amsgrad=parameters.amsgrad,
        beta=0.9,
        lr_params_factors="{}",
        freeze=None,
    )
    return torch.optim.Adam(**get_params_options(options, model))


def copy_weights(model: torch.nn.Module) -> Weights:
    """Return copies of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def to_device(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Yield the batches on the device."""
    for batch in batches:
        yield batch.to(device)

"""Replay: upstream configurations are trained on beside the labels, against forgetting.

The model's energies of them change with its energy references, which is no forgetting. Their labels are therefore
moved by the same amount: with e the references of the model now and e₀ those it was pre-trained with, a configuration
with n_s atoms of species s is trained on

    E = E_upstream + Σ_s n_s (e_s − e₀_s),

that is on the interaction energy that it had. Forces and stresses are the upstream functional's: where the functionals
differ, replay holds the model back, the more, the larger its weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from mace.data import AtomicData

from aiida_slhmc.worker.dataset import Frame
from aiida_slhmc.worker.evaluation import evaluate, make_batches, make_loss
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.references import Table

__all__ = ("Replay", "with_references")


class Replay:
    """A term of the training: the loss of the labels, on a batch of upstream configurations."""

    def __init__(
        self,
        training: Sequence[AtomicData],
        validation: Sequence[AtomicData],
        parameters: FineTuneParameters,
        device: torch.device,
    ) -> None:
        """Take upstream graphs, of which *validation* are never trained on, in the precision of the training."""
        self.every = parameters.replay.every
        self._weight, self._parameters, self._device = parameters.replay.weight, parameters, device
        self._training = list(training)
        self._validation = make_batches(list(validation), parameters.batch_size, device)
        self._loss = make_loss(parameters).to(device)

    def loss(self, model: torch.nn.Module, step: int) -> torch.Tensor:
        """Return the weighted loss on the batch of this step."""
        chosen = batch_indices(
            len(self._training), self._parameters.batch_size, step // self.every, self._parameters.seed
        )
        graphs = [self._training[index] for index in chosen]
        (batch,) = make_batches(graphs, len(graphs), self._device)
        output = model(batch.to_dict(), training=True, compute_stress=self._parameters.uses_stress)
        return self._weight * self._loss(pred=output, ref=batch)

    def validation_loss(self, model: torch.nn.Module) -> float:
        """Return the weighted loss on the validating upstream configurations."""
        return self._weight * evaluate(model, self._validation, self._loss, stress=self._parameters.uses_stress).loss


def batch_indices(n: int, batch_size: int, count: int, seed: int) -> list[int]:
    """Return the batch of this number, of n things that are gone through in an order that is new each time."""
    size = min(batch_size, n)
    rounds, place = divmod(count * size, n)
    order = np.concatenate([np.random.default_rng([seed, rounds + extra]).permutation(n) for extra in range(2)])
    return [int(index) for index in order[place : place + size]]


def with_references(frames: list[Frame], now: Table, before: Table) -> list[Frame]:
    """Return upstream frames with their energies moved to other references, {symbol: eV} each."""
    return [
        replace(frame, energy=frame.energy + sum(now[symbol] - before[symbol] for symbol in frame.atoms.symbols))
        for frame in frames
    ]

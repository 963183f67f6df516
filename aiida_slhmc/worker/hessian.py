"""Train on columns of force constants beside the labels (phonon fine-tuning).

A column of the Hessian, here as a product with a unit vector v, costs two backward passes and never the whole matrix:

    H v = −∂(F·v)/∂r ,    L = w_Φ · mean over columns of mean |H v − Φ v|

| symbol | here | unit |
|---|---|---|
| F | the model's forces | eV/Å |
| v | displacement of one atom along one axis | 1 |
| Φ | the target's force constants | eV/Å² |
| w_Φ | ``weight`` of :class:`~aiida_slhmc.worker.fine_tune_options.HessianParameters` | Å²/eV |

After "phonon fine-tuning" (2026), which samples columns in the same way. H is symmetric, being a second derivative of
one energy, so that the product from the left is the one from the right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import torch

from aiida_slhmc.worker.checkpoint import default_dtype
from aiida_slhmc.worker.dataset import make_graph
from aiida_slhmc.worker.evaluation import in_precision, make_batches
from aiida_slhmc.worker.fine_tune_options import HessianParameters
from aiida_slhmc.worker.force_constants import ForceConstants

HELD_OUT_FRACTION = 0.1
# of one supercell: they are evaluated after each epoch, and those of a crystal are much alike
MOST_HELD_OUT = 12

Graph = dict[str, torch.Tensor]


class HessianColumns:
    """The term of the loss on columns of force constants, of one or more supercells.

    Of each supercell about 10 % of the columns (1 to 12) are held out: never trained on, but validated with. Which ones
    depends on the force constants only, so they stay the same in all fine-tunings. Symmetry makes columns of a crystal
    alike, so this is a check on the fit and not on what the model makes of other crystals.
    """

    def __init__(
        self,
        supercells: list[ForceConstants],
        model: torch.nn.Module,
        parameters: HessianParameters,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        """Build the graphs, once.

        :param supercells: at least one
        :param model: gives the cutoff and the elements; those given later may have other weights or precision
        :param seed: of the choice of the columns of each step
        :param device: where the models will be
        :raises ValueError: no supercell
        """
        if not supercells:
            raise ValueError("there are no force constants to train on")
        self.every, self.weight, self.n_columns = parameters.every, parameters.weight, parameters.n_columns
        self.seed = seed
        self._graphs = [_graph(supercell, model, device) for supercell in supercells]
        self._references = [
            torch.from_numpy(supercell.hessian.transpose(1, 3, 0, 2).reshape(supercell.n_columns, -1, 3).copy())
            for supercell in supercells
        ]
        self.held_out: list[tuple[int, int]] = []  # (supercell, column)
        self.trained: list[tuple[int, int]] = []
        for number, supercell in enumerate(supercells):
            chosen = _held_out(supercell)
            for column in range(supercell.n_columns):
                (self.held_out if column in chosen else self.trained).append((number, column))

    def columns(self, step: int) -> list[tuple[int, int]]:
        """Return the (supercell, column) pairs of a step, drawn without repetition from those that are trained on.

        They depend on the seed and the step alone, so a training that is continued draws what it would have drawn.
        """
        generator = np.random.default_rng([self.seed, step])
        count = min(self.n_columns, len(self.trained))
        return [self.trained[index] for index in generator.choice(len(self.trained), count, replace=False)]

    def loss(self, model: torch.nn.Module, step: int) -> torch.Tensor:
        """Return the weighted loss on the columns of a step, a scalar that can be differentiated by the weights."""
        return self.weight * self._error(model, self.columns(step), differentiable=True)

    def validation_loss(self, model: torch.nn.Module) -> float:
        """Return the same loss on the columns held out."""
        return self.weight * self.mean_absolute_error(model)

    def mean_absolute_error(self, model: torch.nn.Module) -> float:
        """Return the mean absolute error on the columns held out, in eV/Å²."""
        return float(self._error(model, self.held_out, differentiable=False).detach())

    def _error(self, model: torch.nn.Module, columns: list[tuple[int, int]], *, differentiable: bool) -> torch.Tensor:
        """Return the mean over columns of the mean absolute error (eV/Å²); one energy and force per supercell."""
        errors = []
        for number in sorted({number for number, _ in columns}):
            wanted = [column for supercell, column in columns if supercell == number]
            reference = self._references[number][wanted]
            predicted = hessian_columns(model, self._graphs[number], wanted, differentiable=differentiable)
            for row, column in enumerate(predicted):
                errors.append((column - reference[row].to(column)).abs().mean())
        return torch.stack(errors).mean()


def hessian_columns(
    model: torch.nn.Module, graph: Graph, columns: Iterable[int], *, differentiable: bool
) -> list[torch.Tensor]:
    """Return columns of a model's Hessian, each (n_atoms, 3) in eV/Å².

    :param graph: MACE's input, of any float precision; the model's own is computed in
    :param columns: numbers 3·atom + axis
    :param differentiable: whether the columns shall be differentiated once more, by the weights
    """
    weight = next(model.parameters())
    graph = in_precision(graph, weight.dtype)
    positions = graph["positions"] = graph["positions"].clone()  # a leaf of its own: no gradient is left on the graph
    with default_dtype(weight.dtype), torch.enable_grad():
        forces = model(graph, training=True, compute_force=True)["forces"]
        return [_product(forces, positions, column, differentiable) for column in columns]


def _product(forces: torch.Tensor, positions: torch.Tensor, column: int, differentiable: bool) -> torch.Tensor:
    """Return −∂(F·v)/∂r for the unit vector of a column; the graph of the forces is kept for the next one."""
    component = forces[column // 3, column % 3]
    (gradient,) = torch.autograd.grad(component, positions, create_graph=differentiable, retain_graph=True)
    return -gradient if differentiable else -gradient.detach()


def _graph(supercell: ForceConstants, model: torch.nn.Module, device: torch.device) -> Graph:
    return make_batches([make_graph(supercell.atoms, model)], 1, device)[0].to_dict()


def _held_out(supercell: ForceConstants) -> set[int]:
    """Return the columns that are never trained on: those of the smallest hashes, as frames are chosen to validate."""
    count = min(max(1, round(HELD_OUT_FRACTION * supercell.n_columns)), MOST_HELD_OUT)
    content = supercell.content

    def rank(column: int) -> str:
        return hashlib.sha256(f"{content} {column}".encode()).hexdigest()

    return set(sorted(range(supercell.n_columns), key=rank)[:count])

"""Loss and errors of a model on labelled graphs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from mace import modules
from mace.data import AtomicData
from mace.tools.torch_geometric.dataloader import DataLoader

from aiida_slhmc.kernel.units import EV_PER_CUBIC_ANGSTROM_IN_GPA
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

_LOSSES = {
    "energy_forces": modules.WeightedEnergyForcesLoss,
    "energy_forces_l1_l2": modules.WeightedEnergyForcesL1L2Loss,
    "energy_forces_stress": modules.WeightedEnergyForcesStressLoss,
    "huber": modules.WeightedHuberEnergyForcesStressLoss,
    "universal": modules.UniversalLoss,
}


@dataclass(frozen=True)
class Errors:
    """Loss and root-mean-square errors of a model on a set of configurations."""

    loss: float
    energy_rmse_mev_per_atom: float
    force_rmse_mev_per_angstrom: float  # over Cartesian components
    stress_rmse_gpa: float | None  # over the nine components; None without stress labels (or not asked for)
    energy_offset_removed_rmse_mev_per_atom: float = 0.0  # about the mean error, which is what other references change

    @property
    def finite(self) -> bool:
        """Whether the loss and all errors are finite."""
        values = (self.loss, self.energy_rmse_mev_per_atom, self.force_rmse_mev_per_angstrom, self.stress_rmse_gpa)
        return all(value is None or math.isfinite(value) for value in values)


def make_loss(parameters: FineTuneParameters) -> torch.nn.Module:
    """Return MACE's loss of this name and these weights."""
    weights = {"energy_weight": parameters.energy_weight, "forces_weight": parameters.forces_weight}
    if parameters.uses_stress:
        weights["stress_weight"] = parameters.stress_weight
    if parameters.loss in ("huber", "universal"):
        weights["huber_delta"] = parameters.huber_delta
    return _LOSSES[parameters.loss](**weights)


def make_batches(graphs: list[AtomicData], batch_size: int, device: torch.device) -> list[Any]:
    """Return the graphs in batches of fixed order, put together once and for all on the device."""
    data: Any = graphs  # a list serves as a dataset, whatever MACE's annotation says
    return [batch.to(device) for batch in DataLoader(data, batch_size=batch_size, shuffle=False, drop_last=False)]


def in_precision(graph: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return MACE's input with its real numbers in a precision; all else stays as it is."""
    return {
        name: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in graph.items()
    }


def predict_energies(model: torch.nn.Module, batches: Iterable[Any]) -> list[float]:
    """Return the model's energies (eV), in the order of the graphs; no forces are computed."""
    energies: list[float] = []
    with torch.no_grad():
        for batch in batches:
            output = model(batch.to_dict(), training=False, compute_force=False)
            energies.extend(output["energy"].detach().cpu().tolist())
    return energies


def evaluate(model: torch.nn.Module, batches: Iterable[Any], loss: torch.nn.Module, *, stress: bool) -> Errors:
    """Return loss and errors of a model.

    :param batches: of :func:`make_batches`
    :param loss: of :func:`make_loss`; the mean over configurations is reported, whatever the batch size (forces count
        by batch, as in MACE's loss, so batches of unequal atom numbers are weighted by configurations)
    :param stress: compute stress too; the loss may need it
    """
    total = graphs = 0.0
    energy, force, tensor = _Moments(), _Moments(), _Moments()
    for batch in batches:
        output = model(batch.to_dict(), training=False, compute_force=True, compute_stress=stress)
        total += float(loss(pred=output, ref=batch).detach()) * batch.num_graphs
        graphs += batch.num_graphs
        energy.add((output["energy"] - batch.energy) / (batch.ptr[1:] - batch.ptr[:-1]))
        force.add(output["forces"] - batch.forces)
        if stress:
            tensor.add((output["stress"] - batch.stress)[batch.stress_weight > 0])
    return Errors(
        loss=total / graphs,
        energy_rmse_mev_per_atom=1000 * energy.root(),
        force_rmse_mev_per_angstrom=1000 * force.root(),
        stress_rmse_gpa=EV_PER_CUBIC_ANGSTROM_IN_GPA * tensor.root() if tensor.count else None,
        energy_offset_removed_rmse_mev_per_atom=1000 * energy.spread(),
    )


class _Moments:
    """Sum and sum of squares of everything added."""

    def __init__(self) -> None:
        self.total, self.squares, self.count = 0.0, 0.0, 0

    def add(self, values: torch.Tensor) -> None:
        values = values.detach().double()
        self.total += float(values.sum())
        self.squares += float(values.square().sum())
        self.count += values.numel()

    def root(self) -> float:
        """Root mean square."""
        return math.sqrt(self.squares / self.count)

    def spread(self) -> float:
        """Root mean square about the mean."""
        mean = self.total / self.count
        return math.sqrt(max(self.squares / self.count - mean**2, 0.0))

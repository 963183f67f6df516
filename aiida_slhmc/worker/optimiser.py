"""What changes the weights in training: batches, optimiser and schedule of the learning rate, of torch and MACE."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import torch
from mace.data import AtomicData
from mace.tools.scripts_utils import get_params_options
from mace.tools.torch_geometric.dataloader import DataLoader
from torch.optim import lr_scheduler

from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

__all__ = ("make_loader", "make_optimiser", "make_scheduler", "step_scheduler")


def make_loader(graphs: list[AtomicData], batch_size: int, seed: int) -> DataLoader:
    """Return batches in an order that the seed fixes, new in each epoch; none is dropped."""
    data: Any = graphs  # a list serves as a dataset, whatever MACE's annotation says
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(data, batch_size=batch_size, shuffle=True, drop_last=False, generator=generator)


def make_optimiser(model: torch.nn.Module, parameters: FineTuneParameters) -> torch.optim.Adam:
    """Return Adam with MACE's groups: weight decay acts on products and some interaction weights only.

    Weights that need no gradient (frozen ones, those below LoRA's additions) are left out.
    """
    options = Namespace(
        lr=parameters.learning_rate,
        weight_decay=parameters.weight_decay,
        amsgrad=parameters.amsgrad,
        beta=0.9,
        lr_params_factors="{}",
        freeze=None,
    )
    arguments = get_params_options(options, model)
    for group in arguments["params"]:
        group["params"] = [weight for weight in group["params"] if weight.requires_grad]
    arguments["params"] = [group for group in arguments["params"] if group["params"]]
    return torch.optim.Adam(**arguments)


def make_scheduler(optimiser: torch.optim.Optimizer, parameters: FineTuneParameters) -> Any:
    """Return torch's schedule of the learning rate; it advances once per epoch."""
    if parameters.scheduler == "plateau":
        factor, patience = parameters.scheduler_factor, parameters.scheduler_patience
        return lr_scheduler.ReduceLROnPlateau(optimiser, factor=factor, patience=patience)
    if parameters.scheduler == "exponential":
        return lr_scheduler.ExponentialLR(optimiser, gamma=parameters.scheduler_factor)
    if parameters.scheduler == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimiser, T_max=parameters.max_epochs)
    return lr_scheduler.ConstantLR(optimiser, factor=1.0)


def step_scheduler(scheduler: Any, loss: float) -> None:
    """Advance by an epoch that ended with this validation loss."""
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        scheduler.step(loss)
    else:
        scheduler.step()

"""Members of a committee for tests: the foundation model with other weights, and one that lacks an element."""

from __future__ import annotations

from pathlib import Path

import torch
from fixtures import FOUNDATION_FILE

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint, save_checkpoint
from aiida_slhmc.worker.elements import filter_elements


def member(folder: Path, seed: int) -> MaceModelData:
    """A stored model whose weights are one per cent off."""
    with default_dtype(torch.float64), torch.random.fork_rng():
        torch.manual_seed(seed)
        model = load_checkpoint(FOUNDATION_FILE)
        for parameter in model.parameters():
            parameter.data *= 1 + 0.01 * torch.randn_like(parameter)
        return _stored(model, folder / f"member_{seed}.safetensors")


def without_titanium(folder: Path) -> MaceModelData:
    """A stored model that knows oxygen only."""
    with default_dtype(torch.float64):
        return _stored(filter_elements(load_checkpoint(FOUNDATION_FILE), ["O"]), folder / "oxygen.safetensors")


def _stored(model: torch.nn.Module, path: Path) -> MaceModelData:
    save_checkpoint(model, path)
    return MaceModelData(checkpoint=path).store()

"""Where a training stands, as a file: one that ran out of wall time goes on in another job exactly as if uninterrupted.

The file is safetensors: tensors, and JSON in its header. Nothing in it is code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

FORMAT = "aiida-slhmc-training-1"
Tensors = dict[str, torch.Tensor]

__all__ = ("TrainingState", "load_state", "save_state")


@dataclass(frozen=True)
class TrainingState:
    """Everything that the rest of a training depends on, at the end of an epoch.

    ``tensors`` are named ``group/name``: weights, best weights, what the optimiser and the averages hold, and the state
    of the random generator; ``numbers`` are ready for JSON.
    """

    tensors: Tensors
    numbers: dict[str, Any]

    def group(self, name: str) -> Tensors:
        """Return the tensors of one group, by their names in it."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}


def grouped(**groups: Tensors) -> Tensors:
    """Return copies of the tensors of several groups, named for :meth:`TrainingState.group`."""
    return {
        f"{group}/{name}": tensor.detach().cpu().clone().contiguous()
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    """Return the moments and step counts of an optimiser, named ``number/name`` by the number of the weight."""
    state = optimiser.state_dict()["state"]
    return {f"{index}/{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Tensors, groups: list[dict[str, Any]]) -> None:
    """Put back what :func:`optimiser_tensors` and the optimiser's ``param_groups`` were."""
    state: dict[int, Tensors] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def save_state(state: TrainingState, path: str | Path, *, belongs_to: str) -> None:
    """Write a state.

    :param belongs_to: names model, data and options; it is only read back with the same
    """
    metadata = {"format": FORMAT, "belongs_to": belongs_to, "numbers": json.dumps(state.numbers)}
    save_file(state.tensors, str(path), metadata=metadata)


def load_state(path: str | Path, *, belongs_to: str) -> TrainingState:
    """Read a state.

    :raises ValueError: not such a file, or one of a training of another model, other data or other options
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (OSError, SafetensorError) as exception:
        raise ValueError(f"{Path(path).name} is not the state of a training: {exception}") from exception
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{Path(path).name} is not the state of a training: format {metadata.get('format')!r}")
    if metadata["belongs_to"] != belongs_to:
        raise ValueError(
            f"{Path(path).name} is the state of another training: it goes with the model, the labels and the options"
            " (but for device, threads and wall time) of the job that left it"
        )
    return TrainingState(tensors, json.loads(metadata["numbers"]))

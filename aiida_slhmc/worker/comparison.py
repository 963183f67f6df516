"""Whether two forms of a model give the same energies and forces: the check after an import and an export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from aiida_slhmc.worker.checkpoint import DTYPES, default_dtype, model_dtype
from aiida_slhmc.worker.dataset import make_graph
from aiida_slhmc.worker.evaluation import in_precision, make_batches

__all__ = ("check_equal", "energy_and_forces", "lattice_of", "make_dictionary")

Array = NDArray[np.float64]

# relative to the largest value: cutting to fewer elements, and another order of the same operations, round differently
TOLERANCES = {"float64": 1e-8, "float32": 1e-4}


def lattice_of(symbols: list[str]) -> Atoms:
    """A distorted periodic lattice that holds each of the elements."""
    side = int(np.ceil(len(symbols) ** (1 / 3)))
    sites = np.array(list(np.ndindex(side, side, side)))[: len(symbols)] * 2.3
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, sites.shape)
    return Atoms(symbols, positions=sites + noise, cell=[2.3 * side] * 3, pbc=True)


def energy_and_forces(model: Any, atoms: Atoms, head: str | None = None) -> Array:
    """Energy (eV) and forces (eV/Å) of a MACE model in one array, in the precision of its weights."""
    dtype = DTYPES[model_dtype(model)]
    with default_dtype(dtype):
        output = model(make_dictionary(atoms, model, dtype, head=head))
    return joined(output["energy"], output["forces"])


def make_dictionary(atoms: Atoms, model: Any, dtype: torch.dtype, *, head: str | None = None) -> dict[str, Any]:
    """MACE's input for one configuration, as the dictionary that its models take."""
    batch = make_batches([make_graph(atoms, model, head=head)], 1, torch.device("cpu"))[0]
    return in_precision(batch.to_dict(), dtype)


def joined(energy: torch.Tensor, forces: torch.Tensor) -> Array:
    """Both in one array of float64."""
    return np.concatenate([part.detach().double().cpu().numpy().ravel() for part in (energy, forces)])


def check_equal(before: Callable[[Atoms], Array], after: Callable[[Atoms], Array], atoms: Atoms, dtype: str) -> None:
    """Compare two forms of a model.

    :param before: function that gives energy and forces of the original in one array; *after*: of its other form
    :param dtype: precision of the less precise of both
    :raises ValueError: if they differ by more than rounding
    """
    first, second = before(atoms), after(atoms)
    difference = float(np.max(np.abs(first - second)))
    if not difference <= TOLERANCES[dtype] * max(1.0, float(np.max(np.abs(first)))):
        raise ValueError(
            f"the stored model does not reproduce the original: energies or forces differ by {difference:g}"
        )

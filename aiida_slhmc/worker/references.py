"""Energy references: the energy per atom of each element that MACE adds to its interaction energy.

Total energies of two functionals (or of two sets of pseudopotentials) differ by eV per atom. A foundation model meets
a new target best when that difference goes into the references before training, and the interaction part, which it
already knows, stays: method ``shift``. Method ``average`` (the paper's, MACE's ``E0s=average``) puts the cohesive
energy into the references, and training has to unlearn it.

With the composition matrix C (frames × elements) and least squares of minimum norm (pseudo-inverse, +):

    average:  e = C⁺ E_target        shift:  e = e_model + C⁺ (E_target − E_model)

At a fixed composition C has rank 1: only the combination that the compound fixes is determined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aiida_slhmc.worker.elements import model_elements

Table = dict[str, float]  # {symbol: eV}


@dataclass(frozen=True)
class References:
    """The references of a fine-tuning and how well the data determine them."""

    method: str
    table: Table  # {symbol: eV} of every element of the model
    rank: int | None  # of the composition matrix; None where nothing was fitted
    warning: str | None


def composition(symbols: list[list[str]], elements: list[str]) -> NDArray[np.float64]:
    """Return how many atoms of each element each frame has, shape (n_frames, n_elements)."""
    return np.array([[frame.count(element) for element in elements] for frame in symbols], dtype=np.float64)


def fit(
    method: str,
    old: Table,
    *,
    symbols: list[list[str]],
    target: NDArray[np.float64],
    predicted: NDArray[np.float64] | None = None,
    table: Table | None = None,
) -> References:
    """Return the references to train with.

    :param method: ``keep``, ``average``, ``shift`` or ``explicit``
    :param old: the model's references, {symbol: eV}; elements the data lack keep them
    :param symbols: of each training frame, the symbols of its atoms
    :param target: labelled energies (eV), shape (n_frames,)
    :param predicted: the model's energies of the same frames (eV), for ``shift``
    :param table: {symbol: eV} for ``explicit``
    :raises ValueError: unknown method, a table that lacks an element of the data or names one the model lacks
    """
    if method == "keep":
        return References(method, dict(old), None, None)
    present = [element for element in old if any(element in frame for frame in symbols)]
    if method == "explicit":
        return References(method, {**old, **_checked(table, present, old)}, None, None)
    matrix = composition(symbols, present)
    if method == "average":
        values, rank = _least_squares(matrix, target)
    elif method == "shift":
        if predicted is None:
            raise ValueError("references 'shift' need the model's energies of the frames")
        correction, rank = _least_squares(matrix, target - predicted)
        values = np.array([old[element] for element in present]) + correction
    else:
        raise ValueError(f"unknown reference method {method!r}: keep, average, shift or explicit")
    fitted = {element: float(value) for element, value in zip(present, values, strict=True)}
    return References(method, {**old, **fitted}, rank, _rank_warning(method, rank, present))


def get_atomic_energies(model: Any) -> Table:
    """Return the references of a one-head model, {symbol: eV}."""
    values = np.atleast_2d(model.atomic_energies_fn.atomic_energies.detach().cpu().numpy())
    if len(values) > 1:
        raise ValueError(f"the model has {len(values)} heads; choose one when importing it")
    return {element: float(value) for element, value in zip(model_elements(model), values[0], strict=True)}


def set_atomic_energies(model: Any, table: Table) -> None:
    """Change the references of a one-head model, whatever elements it has (``mace_run_train`` ignores ``--E0s`` when
    the foundation has the elements of the data).

    :param table: {symbol: eV}; elements not in it keep theirs
    :raises ValueError: an element the model lacks, or several heads
    """
    energies = get_atomic_energies(model)
    values = list({**energies, **_checked(table, [], energies)}.values())
    buffer = model.atomic_energies_fn.atomic_energies
    with torch.no_grad():
        buffer.copy_(torch.tensor(values, dtype=buffer.dtype, device=buffer.device).reshape(buffer.shape))


def _least_squares(matrix: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return the least-squares solution of minimum norm and the rank of the matrix."""
    solution, _, rank, _ = np.linalg.lstsq(matrix, values, rcond=1e-10)
    return np.asarray(solution, dtype=np.float64), int(rank)


def _rank_warning(method: str, rank: int, elements: list[str]) -> str | None:
    """Say what a rank-deficient fit leaves open; None when the data determine every reference."""
    if rank >= len(elements):
        return None
    return (
        f"references by {method!r}: the compositions of the data have rank {rank} for {len(elements)} elements"
        f" ({', '.join(elements)}): only energies at these compositions are determined, the single references are the"
        " solution of minimum norm"
    )


def _checked(table: Table | None, required: list[str], known: Table) -> Table:
    """Return an explicit table, or say which element it lacks or has too many."""
    table = table or {}
    missing = [element for element in required if element not in table]
    if missing:
        raise ValueError(f"the reference table lacks {', '.join(missing)}")
    unknown = [element for element in table if element not in known]
    if unknown:
        raise ValueError(f"the reference table names {', '.join(unknown)}, which the model does not know")
    return {element: float(value) for element, value in table.items()}

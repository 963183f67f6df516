"""Force constants of a supercell, read from the file that a fine-tuning job gets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

KEYS = ("numbers", "positions", "cell", "force_constants")


@dataclass(frozen=True)
class ForceConstants:
    """A supercell at equilibrium and the target's second derivatives there."""

    atoms: Atoms
    hessian: NDArray[np.float64]  # (n_atoms, n_atoms, 3, 3), eV/Å², Φ_ij,ab = ∂²E/∂r_ia ∂r_jb

    @property
    def n_columns(self) -> int:
        """Columns of the Hessian as a matrix: 3 for each atom."""
        return 3 * len(self.atoms)

    def column(self, index: int) -> NDArray[np.float64]:
        """Return (n_atoms, 3): minus the forces per Å that atom ``index // 3`` moves along axis ``index % 3``."""
        return self.hessian[:, index // 3, :, index % 3]

    @property
    def content(self) -> str:
        """Hash of species, positions, cell and force constants."""
        arrays = (np.asarray(self.atoms.numbers, np.int64), self.atoms.positions, self.atoms.cell.array, self.hessian)
        return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def read_force_constants(path: str | Path, elements: Iterable[str]) -> ForceConstants:
    """Read ``numbers``, ``positions`` (Å), ``cell`` (Å, rows) and ``force_constants`` (eV/Å²) of a npz file.

    :param path: the file; nothing in it is unpickled
    :param elements: the symbols the model knows
    :raises ValueError: unreadable, an array missing or of a wrong shape, not finite, not symmetric, unknown element
    """
    name = Path(path).name
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, BadZipFile) as exception:  # also a lone .npy
        raise ValueError(f"{name}: not readable as npz: {exception}") from exception
    absent = [key for key in KEYS if key not in arrays]
    if absent:
        raise ValueError(f"{name}: no {' and no '.join(absent)}")
    _check(name, arrays)
    atoms = Atoms(numbers=arrays["numbers"], positions=arrays["positions"], cell=arrays["cell"], pbc=True)
    known = sorted(elements)
    unknown = sorted(set(atoms.symbols) - set(known))
    if unknown:
        raise ValueError(f"{name}: the model does not know {', '.join(unknown)}, only {', '.join(known)}")
    return ForceConstants(atoms, np.asarray(arrays["force_constants"], dtype=np.float64))


def _check(name: str, arrays: dict[str, Any]) -> None:
    numbers, hessian = arrays["numbers"], arrays["force_constants"]
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer) or not len(numbers):
        raise ValueError(f"{name}: numbers must be one whole number per atom")
    if not all(0 < number < len(chemical_symbols) for number in numbers):
        raise ValueError(f"{name}: numbers has an unknown element")
    n_atoms = len(numbers)
    shapes = {"positions": (n_atoms, 3), "cell": (3, 3), "force_constants": (n_atoms, n_atoms, 3, 3)}
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{name}: {key} has shape {arrays[key].shape}, expected {shape}")
        if not np.all(np.isfinite(arrays[key])):
            raise ValueError(f"{name}: {key} not finite")
    if np.abs(hessian - hessian.transpose(1, 0, 3, 2)).max() > 1e-3 * np.abs(hessian).max():
        raise ValueError(f"{name}: the force constants are not symmetric (Φ_ij,ab must equal Φ_ji,ba)")

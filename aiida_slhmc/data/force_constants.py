"""ForceConstantsData: the harmonic force constants of a supercell, which a fine-tuning can be trained on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

from aiida_slhmc.data.phonopy_files import read_phonopy

__all__ = ("ForceConstantsData",)

SYMMETRY_TOLERANCE = 1e-3  # of the largest force constant


class ForceConstantsData(orm.Data):
    """Second derivatives of a target's energy at an equilibrium structure, for every pair of atoms of a supercell.

    The arrays are in one file; attributes to query by are ``formula``, ``elements``, ``n_atoms``, ``volume``,
    ``functional`` (None where it was not said), ``source``, ``n_displacements`` (target evaluations behind it, None
    where it is not known), ``max_force_constant`` and ``acoustic_sum_rule_violation``, both in eV/Å²: the largest of
    ``|Σ_j Φ_ij,ab|``, which is 0 where a shift of the whole crystal costs no force.
    """

    FILENAME = "force_constants.npz"
    ORIGINALS = "phonopy"  # the folder, in the node's repository, of the files that it was read from

    def __init__(
        self,
        *,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike,
        force_constants: ArrayLike,
        functional: str | None = None,
        source: str | None = None,
        n_displacements: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Make an unstored node.

        :param numbers: (n_atoms,) atomic numbers; *positions* (n_atoms, 3) and *cell* (3, 3; rows are vectors) in Å of
            the supercell at equilibrium, periodic in all directions.
        :param force_constants: (n_atoms, n_atoms, 3, 3) in eV/Å², Φ_ij,ab = ∂²E/∂r_ia ∂r_jb.
        :param functional: what they were computed with.
        :param source: where they come from, in words.
        :param n_displacements: how many displaced supercells they were made from.
        :raises ValueError: shapes that disagree, unknown elements, numbers that are not finite, a matrix that is not
            symmetric.
        """
        super().__init__(**kwargs)
        arrays = {
            "numbers": np.asarray(numbers, dtype=np.int64),
            "positions": np.asarray(positions, dtype=np.float64),
            "cell": np.asarray(cell, dtype=np.float64),
            "force_constants": np.asarray(force_constants, dtype=np.float64),
        }
        _check(arrays)
        atoms = Atoms(numbers=arrays["numbers"], cell=arrays["cell"], pbc=True)
        attributes = {
            "formula": atoms.get_chemical_formula(),
            "elements": sorted(set(atoms.symbols)),
            "n_atoms": len(atoms),
            "volume": float(atoms.get_volume()),
            "functional": functional,
            "source": source,
            "n_displacements": n_displacements,
            "max_force_constant": float(np.abs(arrays["force_constants"]).max()),
            "acoustic_sum_rule_violation": float(np.abs(arrays["force_constants"].sum(axis=1)).max()),
        }
        self.base.attributes.set_many(attributes)
        handle = io.BytesIO()
        np.savez(handle, **arrays)  # type: ignore[arg-type]  # without times in it: equal content has equal bytes
        self.base.repository.put_object_from_bytes(handle.getvalue(), self.FILENAME)

    @classmethod
    def from_phonopy(
        cls, path: str | Path, *, functional: str | None = None, symmetrize: bool = True, **kwargs: Any
    ) -> ForceConstantsData:
        """Make an unstored node of a phonopy calculation; its files are kept in the node under ``phonopy/``.

        :param path: a folder of phonopy's, or its ``phonopy_params.yaml``, ``phonopy.yaml`` or ``phonopy_disp.yaml``.
            Force constants are taken from this file, else from FORCE_CONSTANTS or force_constants.hdf5 beside it, else
            they are made from the forces in this file or in FORCE_SETS beside it. Units are converted.
        :param functional: what the forces were computed with; phonopy does not know.
        :param symmetrize: make them obey Φ_ij,ab = Φ_ji,ba and the acoustic sum rule, as phonopy does.
        :param kwargs: as for the class.
        :raises ValueError: if there are no force constants, or phonopy cannot read them.
        :raises ImportError: if phonopy is not installed.
        """
        read = read_phonopy(path, symmetrize=symmetrize)
        origin = {"source": f"phonopy {read.version}: {read.source}", "n_displacements": read.n_displacements}
        node = cls(
            numbers=read.numbers,
            positions=read.positions,
            cell=read.cell,
            force_constants=read.force_constants,
            functional=functional,
            **(origin | kwargs),
        )
        for file in read.files:
            node.base.repository.put_object_from_bytes(file.read_bytes(), f"{cls.ORIGINALS}/{file.name}")
        return node

    @property
    def elements(self) -> list[str]:
        """Symbols of the elements in the supercell."""
        return list(self.base.attributes.get("elements"))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays: ``numbers``, ``positions``, ``cell`` and ``force_constants``, as given to the class."""
        with self.base.repository.open(self.FILENAME, "rb") as handle:
            content = io.BytesIO(handle.read())
        with np.load(content, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    def get_ase(self) -> Atoms:
        """The supercell at equilibrium."""
        arrays = self.arrays()
        return Atoms(numbers=arrays["numbers"], positions=arrays["positions"], cell=arrays["cell"], pbc=True)


def _check(arrays: dict[str, NDArray[Any]]) -> None:
    """Refuse arrays whose shapes disagree, unknown elements, values that are not finite, and lack of symmetry."""
    numbers = arrays["numbers"]
    if numbers.ndim != 1 or not len(numbers) or not all(0 < number < len(chemical_symbols) for number in numbers):
        raise ValueError("numbers must be atomic numbers of known elements, one per atom, at least one")
    n_atoms = len(numbers)
    shapes = {"positions": (n_atoms, 3), "cell": (3, 3), "force_constants": (n_atoms, n_atoms, 3, 3)}
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{key} has shape {arrays[key].shape}, expected {shape}")
    broken = [key for key, values in arrays.items() if not np.all(np.isfinite(values))]
    if broken:
        raise ValueError(f"not finite: {', '.join(broken)}")
    constants = arrays["force_constants"]
    largest, difference = np.abs(constants).max(), np.abs(constants - constants.transpose(1, 0, 3, 2))
    if difference.max() > SYMMETRY_TOLERANCE * largest:
        i, j, a, b = (int(index) for index in np.unravel_index(difference.argmax(), difference.shape))
        raise ValueError(
            f"the force constants are not symmetric: Φ[{i},{j},{a},{b}] = {constants[i, j, a, b]:.6g} but"
            f" Φ[{j},{i},{b},{a}] = {constants[j, i, b, a]:.6g} eV/Å²; give those of the full supercell, with i the"
            " first index and j the second, and symmetrise them"
        )

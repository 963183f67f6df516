"""ConfigurationData: one atomic configuration and, where it has been labelled, its label, exactly as float64."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray

__all__ = ("ConfigurationData", "Tags")

# where in a run a configuration belongs, and as what: epoch, cycle, walker (int) and role (str)
Tags = dict[str, Any]


class ConfigurationData(orm.Data):
    """Positions, cell and species of a periodic configuration, with energy, forces and stress if labelled.

    Arrays are kept bit for bit in one file (AiiDA rounds attributes to 14 digits); what people filter by is in the
    attributes: ``formula``, ``species``, ``n_atoms``, ``volume``, ``labelled``, ``energy``, ``max_force``,
    ``functional``, ``engine``, ``stand_in``, ``recovery``, ``scf_iterations``, and the tags ``epoch``, ``cycle``,
    ``walker``, ``role``. The energy is the one that the forces derive from (VASP's free energy), in eV; forces are in
    eV/Å; stress in eV/Å³, positive under tension.
    """

    FILENAME = "configuration.npz"
    TAGS = ("epoch", "cycle", "walker", "role")

    def __init__(
        self,
        *,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike,
        label: dict[str, Any] | None = None,
        tags: Tags | None = None,
        unlabelled_reason: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Make an unstored node.

        :param numbers: (n_atoms,) atomic numbers; *positions* (n_atoms, 3) and *cell* (3, 3; rows are vectors) in Å.
        :param label: ``energy`` (eV), ``forces`` (n_atoms, 3), ``stress`` (3, 3) or None, ``functional``,
            ``engine``, ``stand_in`` (True where the engine only plays the part of one); optional are ``recovery``
            (settings that a recovery had to change, {} for none) and ``scf_iterations``.
        :param tags: the configuration's place in a run.
        :param unlabelled_reason: why a label was tried and is not there.
        :raises ValueError: if shapes disagree or a label is not finite.
        """
        super().__init__(**kwargs)
        arrays = {
            "numbers": np.asarray(numbers, dtype=np.int64),
            "positions": np.asarray(positions, dtype=np.float64),
            "cell": np.asarray(cell, dtype=np.float64),
        }
        attributes: dict[str, Any] = {key: (tags or {}).get(key) for key in self.TAGS}
        attributes |= {"labelled": label is not None, "unlabelled_reason": unlabelled_reason}
        if label is not None:
            arrays["energy"] = np.asarray(label["energy"], dtype=np.float64)
            arrays["forces"] = np.asarray(label["forces"], dtype=np.float64)
            if label.get("stress") is not None:
                arrays["stress"] = np.asarray(label["stress"], dtype=np.float64)
        _check(arrays)
        if label is not None:
            attributes |= {key: label[key] for key in ("functional", "engine", "stand_in")}
            attributes |= {"recovery": label.get("recovery", {}), "scf_iterations": label.get("scf_iterations")}
            attributes["energy"] = float(arrays["energy"])
            attributes["max_force"] = float(np.linalg.norm(arrays["forces"], axis=1).max())
        atoms = Atoms(numbers=arrays["numbers"], cell=arrays["cell"], pbc=True)
        attributes |= {
            "formula": atoms.get_chemical_formula(),
            # in the order of the atoms, such as Ti16O32: equal where two configurations have the same atoms
            "species": atoms.get_chemical_formula(mode="reduce"),
            "elements": sorted(set(atoms.symbols)),
            "n_atoms": len(atoms),
            "volume": float(atoms.get_volume()),
        }
        self.base.attributes.set_many(attributes)
        handle = io.BytesIO()
        np.savez(handle, **arrays)  # type: ignore[arg-type]
        self.base.repository.put_object_from_bytes(handle.getvalue(), self.FILENAME)

    @classmethod
    def from_structure(cls, structure: orm.StructureData, **kwargs: Any) -> ConfigurationData:
        """Take species, positions and cell from *structure*, and the tags it carries; *kwargs* as for the class."""
        atoms = structure.get_ase()
        tags = {key: structure.base.attributes.get(key, None) for key in cls.TAGS}
        return cls(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, tags=tags, **kwargs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays: ``numbers``, ``positions``, ``cell``, and ``energy``, ``forces``, ``stress`` where labelled."""
        with self.base.repository.open(self.FILENAME, "rb") as handle:
            content = io.BytesIO(handle.read())
        with np.load(content, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    @property
    def is_labelled(self) -> bool:
        """Whether energy and forces of the target are there."""
        return bool(self.base.attributes.get("labelled"))

    @property
    def energy(self) -> float:
        """Target energy in eV.

        :raises ValueError: if the configuration is not labelled.
        """
        if not self.is_labelled:
            raise ValueError(f"configuration {self.pk} has no label: {self.base.attributes.get('unlabelled_reason')}")
        return float(self.arrays()["energy"])

    def get_ase(self) -> Atoms:
        """ASE atoms; a label is in ``info`` (``energy``, ``stress``, ``functional``) and ``arrays`` (``forces``)."""
        arrays = self.arrays()
        atoms = Atoms(numbers=arrays["numbers"], positions=arrays["positions"], cell=arrays["cell"], pbc=True)
        if self.is_labelled:
            atoms.info |= {"energy": float(arrays["energy"]), "functional": self.base.attributes.get("functional")}
            atoms.arrays["forces"] = arrays["forces"]
            if "stress" in arrays:
                atoms.info["stress"] = arrays["stress"]
        return atoms


def _check(arrays: dict[str, NDArray[Any]]) -> None:
    """Refuse arrays whose shapes disagree, unknown elements and values that are not finite."""
    n_atoms = len(arrays["numbers"])
    shapes = {"positions": (n_atoms, 3), "cell": (3, 3), "energy": (), "forces": (n_atoms, 3), "stress": (3, 3)}
    for key, shape in shapes.items():
        if key in arrays and arrays[key].shape != shape:
            raise ValueError(f"{key} has shape {arrays[key].shape}, expected {shape}")
    if n_atoms == 0 or not all(0 < z < len(chemical_symbols) for z in arrays["numbers"]):
        raise ValueError("a configuration needs at least one atom, each with the number of a known element")
    broken = [key for key, values in arrays.items() if not np.all(np.isfinite(values))]
    if broken:
        raise ValueError(f"not finite: {', '.join(broken)}")

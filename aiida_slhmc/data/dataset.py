"""DatasetData: an append-only block of labels as extended XYZ, each frame with its configuration's uuid."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from aiida import orm
from ase import Atoms
from ase.io import read, write

from aiida_slhmc.data.configuration import ConfigurationData

__all__ = ("DatasetData",)


class DatasetData(orm.Data):
    """A block of labelled configurations of one functional.

    The file is extended XYZ with ``energy`` (eV), ``forces`` (eV/Å), ``stress`` (eV/Å³, positive under tension),
    ``functional``, ``engine``, ``role`` and ``uuid``; positions and forces have ASE's eight decimals, the exact values
    are in the configurations.
    A training takes a list of blocks; blocks are never merged.

    Blocks that are shared also have ``settings``, how the labels were computed (None where that is not known), and
    ``without_provenance``, True where the frames came from a file and nothing shows how they were made.
    """

    FILENAME = "frames.extxyz"

    def __init__(
        self, *, configurations: Sequence[ConfigurationData], about: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Make an unstored block of the labelled ones among *configurations*, in the order given.

        :param about: further attributes, ``settings`` and ``without_provenance``.
        :raises ValueError: if none is labelled or functionals or engines differ.
        """
        super().__init__(**kwargs)
        labelled = [node for node in configurations if node.is_labelled]
        sources = {tuple(node.base.attributes.get(key) for key in ("functional", "engine")) for node in labelled}
        if len(sources) != 1:
            raise ValueError(f"a block needs labels of one functional and engine, got: {sorted(sources) or 'none'}")
        frames = [_frame(node) for node in labelled]
        energies = [node.energy / len(atoms) for node, atoms in zip(labelled, frames, strict=True)]
        functional, engine = sources.pop()
        self.base.attributes.set_many(
            {
                "n_frames": len(frames),
                "functional": functional,
                "engine": engine,
                "stand_in": any(node.base.attributes.get("stand_in") for node in labelled),
                "elements": sorted({symbol for atoms in frames for symbol in atoms.symbols}),
                "energy_per_atom_range": [min(energies), max(energies)],
                "epoch": labelled[0].base.attributes.get("epoch"),
            }
            | (about or {})
        )
        text = io.StringIO()
        write(text, frames, format="extxyz")
        self.base.repository.put_object_from_bytes(text.getvalue().encode(), self.FILENAME)

    @property
    def n_frames(self) -> int:
        """Number of labelled configurations."""
        return int(self.base.attributes.get("n_frames"))

    @property
    def settings(self) -> dict[str, Any] | None:
        """How the labels were computed, None where the block does not say it."""
        return self.base.attributes.get("settings", None)

    @property
    def is_without_provenance(self) -> bool:
        """Whether the labels came from a file, and nothing shows how they were computed."""
        return bool(self.base.attributes.get("without_provenance", False))

    def get_frames(self) -> list[Atoms]:
        """The frames, as ASE reads them (energy, forces and stress in a single-point calculator)."""
        content = self.base.repository.get_object_content(self.FILENAME, "r")
        frames = read(io.StringIO(content), index=":", format="extxyz")
        assert isinstance(frames, list)
        return frames

    def get_uuids(self) -> list[str]:
        """The configurations' uuids, in the order of the frames."""
        return [atoms.info["uuid"] for atoms in self.get_frames()]


def _frame(node: ConfigurationData) -> Atoms:
    atoms = node.get_ase()
    about = {key: node.base.attributes.get(key) for key in ("engine", "role")}
    atoms.info |= {"uuid": node.uuid} | {key: value or "none" for key, value in about.items()}
    return atoms

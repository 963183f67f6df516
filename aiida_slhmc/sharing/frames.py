"""A data set as extended XYZ for any program: each frame says what it is and how it was computed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ase import Atoms
from ase.io import write

from aiida_slhmc.sharing.data_set import DataSet
from aiida_slhmc.sharing.leaks import find_leaks
from aiida_slhmc.sharing.private_folder import move, private_folder
from aiida_slhmc.sharing.sanitise import ALLOW, SharingError

__all__ = ("UNITS", "export_frames")

UNITS = "positions Angstrom, energy eV, forces eV/Angstrom, stress eV/Angstrom^3 positive under tension"


def export_frames(data_set: DataSet, path: Path, words: Iterable[str]) -> None:
    """Write all labels to the file *path*.

    The header of each frame has ``energy`` (eV, the one that the forces derive from), ``stress`` (eV/Å³, positive under
    tension) where there is one, ``functional``, ``engine``, ``stand_in``, ``without_provenance``, ``settings`` (JSON),
    the ``uuid`` of the configuration and the ``units`` in words. Forces are in eV/Å; positions and forces have eight
    decimals.

    :param words: what must not be in it, see :func:`aiida_slhmc.sharing.private.private_words`.
    :raises SharingError: if something private is in it; nothing is written then.
    """
    frames = [_frame(data_set, label.get_ase(), label.uuid) for label in data_set.labels]
    with private_folder() as folder:
        written = folder / path.name
        write(written, frames, format="extxyz")
        leaks = find_leaks(written, words)
        if leaks:
            found = ", ".join(sorted({leak.what for leak in leaks}))
            raise SharingError(
                f"in the frames is {found}: the settings of the calculations name it, see `dataset show`{ALLOW}"
            )
        move(written, path)


def _frame(data_set: DataSet, atoms: Atoms, uuid: str) -> Atoms:
    attributes = data_set.block.base.attributes.all
    atoms.info |= {key: attributes[key] for key in ("functional", "engine", "stand_in")}
    atoms.info |= {"without_provenance": data_set.block.is_without_provenance, "uuid": uuid, "units": UNITS}
    if data_set.block.settings is not None:
        atoms.info["settings"] = data_set.block.settings
    return atoms

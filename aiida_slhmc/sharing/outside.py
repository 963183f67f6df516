"""Frames from outside: extended XYZ whose owner says what it holds, checked and marked as without provenance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from aiida.manage.caching import disable_caching
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read
from ase.io.extxyz import XYZError

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.sharing.data_set import DataSet, check_name, store_data_set
from aiida_slhmc.sharing.plausible import check_plausible
from aiida_slhmc.sharing.units import Units, read_units

__all__ = ("ROLE", "declare", "import_frames", "read_frames")

# in the tags of such configurations, where labels of runs have their place in it
ROLE = "outside"
KEYS = {"energy": "energy", "forces": "forces", "stress": "stress"}
NOT_FRAMES = 470


def declare(
    *,
    functional: str,
    engine: str | None = None,
    units: str,
    stress_units: str | None = None,
    keys: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What the owner of a file says of it, checked as far as it goes without the file.

    :param engine: what computed the labels; by default what the frames say, or ``unknown``.
    :param units: of the forces, such as ``eV/Angstrom``; energies are in what comes before the last slash. Positions
        and cells are in Å, as the format has it.
    :param stress_units: by default energy over the cube of the length, positive under tension.
    :param keys: names in the file of ``energy``, ``forces`` and ``stress`` where they are others.
    :raises ValueError: for units that ASE does not know.
    """
    read_units(units, stress_units)
    about = {"functional": functional, "engine": engine, "units": units, "stress_units": stress_units}
    return about | {"keys": KEYS | (keys or {})}


def import_frames(path: Path, name: str, declaration: dict[str, Any]) -> DataSet:
    """Store the frames of *path* as data set *name*; the file itself is stored, too.

    :param declaration: of :func:`declare`.
    :raises ValueError: with what is wrong, and in which frame.
    """
    check_name(name)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text, and so no extended XYZ") from error
    # before anything is stored
    read_frames(text, declaration)
    inputs: dict[str, Any] = {"file": orm.SinglefileData(path.resolve()), "declaration": orm.Dict(declaration)}
    # a copy from the cache would have other uuids than its block says
    with disable_caching():
        _, node = read_outside_frames.run_get_node(**inputs)
    if not node.is_finished_ok:
        raise ValueError(str(node.exit_message))
    labels = [label for _, label in sorted(node.outputs.labels.items())]
    return store_data_set(name, node.outputs.block, labels)


@calcfunction
def read_outside_frames(file: orm.SinglefileData, declaration: orm.Dict) -> dict[str, Any] | ExitCode:
    """Configurations ``labels.frame_000000``, … and one ``block`` of them, as the owner of the *file* declares them.

    The block has the uuids of configurations that are not yet stored, but keep them.
    """
    try:
        frames, settings = read_frames(file.get_content(mode="r"), declaration.get_dict())
    except ValueError as error:
        return ExitCode(NOT_FRAMES, str(error))
    outputs: dict[str, Any] = {f"labels.frame_{number:06d}": frame for number, frame in enumerate(frames)}
    about = {"settings": settings, "without_provenance": True}
    return outputs | {"block": DatasetData(configurations=frames, about=about)}


def read_frames(text: str, declaration: dict[str, Any]) -> tuple[list[ConfigurationData], dict[str, Any] | None]:
    """Unstored configurations of the extended XYZ *text*, and the ``settings`` that all frames' headers agree on.

    :param declaration: of :func:`declare`.
    :raises ValueError: with the number of the frame, counted from 0, and what is wrong with it.
    """
    try:
        frames = read(io.StringIO(text), index=":", format="extxyz")
    except (XYZError, ValueError, KeyError, IndexError, TypeError, StopIteration) as error:
        raise ValueError(f"this is no extended XYZ that ASE can read: {error}") from error
    assert isinstance(frames, list)
    if not frames:
        raise ValueError("there is no frame in the file")
    units = read_units(declaration["units"], declaration.get("stress_units"))
    labels = [_label(number, atoms, declaration, units) for number, atoms in enumerate(frames)]
    check_plausible(frames, labels)
    pairs = enumerate(zip(frames, labels, strict=True))
    return [_configuration(number, *pair) for number, pair in pairs], _common_settings(frames)


def _common_settings(frames: Sequence[Atoms]) -> dict[str, Any] | None:
    first = frames[0].info.get("settings")
    is_common = isinstance(first, dict) and all(atoms.info.get("settings") == first for atoms in frames)
    return first if is_common else None


def _configuration(number: int, atoms: Atoms, label: dict[str, Any]) -> ConfigurationData:
    try:
        return ConfigurationData(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            label=label,
            tags={"role": ROLE},
        )
    except ValueError as error:
        raise ValueError(f"frame {number}: {error}") from error


def _label(number: int, atoms: Atoms, declaration: dict[str, Any], units: Units) -> dict[str, Any]:
    """Energy (eV), forces (eV/Å), stress (eV/Å³) or None, and what they are of."""
    if not all(atoms.pbc) or atoms.cell.rank < 3:
        raise ValueError(f"frame {number} is not periodic in three directions; a configuration here is")
    source = {key: declaration[key] or atoms.info.get(key, "unknown") for key in ("functional", "engine")}
    for key, value in source.items():
        if str(atoms.info.get(key, value)) != value:
            raise ValueError(f"frame {number} says that its {key} is {atoms.info[key]}, not {value}")
    keys = declaration["keys"]
    energy, forces, stress = (_values(atoms, keys[name]) for name in ("energy", "forces", "stress"))
    missing = [keys[name] for name, values in (("energy", energy), ("forces", forces)) if values is None]
    if missing:
        raise ValueError(f"frame {number} has no {' and no '.join(missing)}: give the names in the file as keys")
    if np.size(energy) != 1:
        raise ValueError(f"frame {number}: {keys['energy']} is {np.size(energy)} numbers, and not one energy")
    return {
        "energy": float(np.ravel(energy)[0]) * units.energy,
        "forces": np.asarray(forces, dtype=float) * units.force,
        "stress": None if stress is None else _matrix(number, stress) * units.stress,
        **source,
        "stand_in": bool(atoms.info.get("stand_in", False)),
    }


def _values(atoms: Atoms, key: str) -> Any:
    """The numbers called *key*, which ASE puts into a calculator, the header or the columns; None for nothing."""
    if atoms.calc is not None:
        try:
            return atoms.calc.get_property(key, atoms, allow_calculation=False)
        except (PropertyNotImplementedError, NotImplementedError):
            pass
    return atoms.arrays.get(key, atoms.info.get(key))


def _matrix(number: int, stress: Sequence[float]) -> Any:
    """(3, 3) from what the file has: nine numbers, or six in Voigt's order (xx, yy, zz, yz, xz, xy)."""
    values = np.asarray(stress, dtype=float).ravel()
    if values.size == 9:
        return values.reshape(3, 3)
    if values.size == 6:
        xx, yy, zz, yz, xz, xy = values
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    raise ValueError(f"frame {number}: a stress has 6 or 9 numbers, not {values.size}")

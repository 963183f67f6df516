"""Labelled configurations: read extended-XYZ blocks, build MACE's graphs, split into training and validation.

Blocks are append-only: a later fine-tuning gets the same blocks and more after them. Which configurations validate
depends on a block's content and on the blocks before it only, so it never changes as the data grow; a split drawn
again each time would let former training configurations leak into validation and flatter the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from mace.data import AtomicData, Configuration
from mace.tools import AtomicNumberTable
from numpy.typing import NDArray

from aiida_slhmc.worker.checkpoint import default_dtype

ROLES = ("training", "validation")


@dataclass(frozen=True)
class Frame:
    """One labelled configuration."""

    atoms: Atoms
    energy: float  # eV
    forces: NDArray[np.float64]  # (n_atoms, 3), eV/Å
    stress: NDArray[np.float64] | None  # (3, 3), eV/Å³, tensile positive
    uuid: str | None  # of its node in the database: reported, never used
    functional: str | None = None  # and engine, where the file says: the source that energy references are fitted to

    @property
    def content(self) -> str:
        """Hash of species, positions and cell (as float64): the identity of a configuration in the split."""
        digest = hashlib.sha256(np.asarray(self.atoms.numbers, dtype=np.int64).tobytes())
        digest.update(np.asarray(self.atoms.positions, dtype=np.float64).tobytes())
        digest.update(np.asarray(self.atoms.cell.array, dtype=np.float64).tobytes())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """The uuid where there is one, else the content hash."""
        return self.uuid or self.content


@dataclass(frozen=True)
class Split:
    """Which frames train and which validate, each in the order of the blocks."""

    training: list[Frame]
    validation: list[Frame]


def read_block(path: str | Path, elements: list[str]) -> list[Frame]:
    """Read one extended-XYZ file.

    :param path: the file; each frame has ``energy`` (eV), ``forces`` (eV/Å) and, where known, ``stress`` (ASE's sign,
        eV/Å³) and ``uuid``
    :param elements: the symbols the model knows
    :raises ValueError: unreadable file, no frame, no energy or forces, a label that is not finite, an unknown element
    """
    try:
        images = read(str(path), index=":", format="extxyz")
    except Exception as exception:  # ASE raises its own and others' errors on malformed files
        raise ValueError(f"{Path(path).name}: not readable as extended XYZ: {exception}") from exception
    if not images:
        raise ValueError(f"{Path(path).name}: no frames")
    return [_frame(atoms, elements, f"{Path(path).name}, frame {index}") for index, atoms in enumerate(images)]


def split_blocks(blocks: list[list[Frame]], validation_fraction: float) -> list[Split]:
    """Choose the validation frames of each block, the same for life.

    Of each block, the ``max(1, round(fraction·n))`` frames with the smallest content hashes validate, at least one
    trains; a block of a single frame trains. A configuration that an earlier block (or frame) has already keeps the
    role it has there, so no copy of a training frame ever validates.

    :param blocks: frames of each block, blocks in the order they were made
    :param validation_fraction: between 0 and 1, exclusive
    :raises ValueError: nothing would train or validate
    """
    roles: dict[str, bool] = {}  # content hash -> validates
    result = []
    for block in blocks:
        new = sorted({frame.content for frame in block} - roles.keys())
        count = min(max(1, round(validation_fraction * len(new))), len(new) - 1)
        roles.update({content: rank < count for rank, content in enumerate(new)})
        training = [frame for frame in block if not roles[frame.content]]
        result.append(Split(training, [frame for frame in block if roles[frame.content]]))
    n_training, n_validation = (sum(len(getattr(part, name)) for part in result) for name in ROLES)
    if not n_training or not n_validation:
        raise ValueError(
            f"{n_training} frames would train and {n_validation} validate: both need one;"
            " give at least one block with two different frames"
        )
    return result


def joined(parts: Iterable[Split]) -> Split:
    """Return the frames of several blocks as one, in their order."""
    whole = list(parts)
    return Split(*([frame for part in whole for frame in getattr(part, name)] for name in ROLES))


def make_graph(
    atoms: Atoms,
    model: Any,
    *,
    energy: float | None = None,
    forces: NDArray[np.float64] | None = None,
    stress: NDArray[np.float64] | None = None,
    head: str | None = None,
) -> AtomicData:
    """Return MACE's input for a configuration, neighbour list included, in float64.

    Labels that are not given have weight 0 in the loss; units as in :class:`Frame`. Of a model with several heads the
    first one is used unless another is named.
    """
    heads = list(getattr(model, "heads", ["Default"]))  # models pickled by old versions of MACE have none
    labels = {"energy": energy, "forces": forces, "stress": stress}
    configuration = Configuration(
        atomic_numbers=np.asarray(atoms.numbers),
        positions=np.asarray(atoms.positions),
        properties=labels,
        property_weights={name: 0.0 if label is None else 1.0 for name, label in labels.items()},
        cell=np.asarray(atoms.cell.array),
        pbc=tuple(bool(periodic) for periodic in atoms.pbc),
        head=head or heads[0],
    )
    table = AtomicNumberTable([int(number) for number in model.atomic_numbers])
    with default_dtype(torch.float64):
        return AtomicData.from_config(configuration, z_table=table, cutoff=float(model.r_max), heads=heads)


def frame_graphs(frames: list[Frame], model: Any) -> list[AtomicData]:
    """Return the graphs of labelled frames; built once per fine-tuning, since the positions never change."""
    return [
        make_graph(frame.atoms, model, energy=frame.energy, forces=frame.forces, stress=frame.stress)
        for frame in frames
    ]


def _frame(atoms: Atoms, elements: list[str], where: str) -> Frame:
    """Take the labels off ASE's object (ASE >= 3.23 keeps them in a calculator, not in info and arrays) and check."""
    labels = {} if atoms.calc is None else atoms.calc.results
    absent = [name for name in ("energy", "forces") if labels.get(name) is None]
    if absent:
        raise ValueError(f"{where}: no {' and no '.join(absent)}")
    unknown = sorted(set(atoms.symbols) - set(elements))
    if unknown:
        raise ValueError(f"{where}: the model does not know {', '.join(unknown)}, only {', '.join(elements)}")
    stress = None if labels.get("stress") is None else np.asarray(atoms.get_stress(voigt=False), dtype=np.float64)
    energy, forces = float(labels["energy"]), np.asarray(labels["forces"], dtype=np.float64)
    for name, label in (("energy", energy), ("forces", forces), ("stress", stress), ("positions", atoms.positions)):
        if label is not None and not np.all(np.isfinite(label)):
            raise ValueError(f"{where}: {name} not finite")
    uuid = atoms.info.get("uuid")
    source = [str(atoms.info[key]) for key in ("functional", "engine") if key in atoms.info]
    return Frame(atoms, energy, forces, stress, None if uuid is None else str(uuid), "@".join(source) or None)

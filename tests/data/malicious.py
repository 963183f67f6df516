"""Nodes as a stranger would make them: their constructors bypassed, and pickles that run code in their files."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aiida import orm
from aiida.tools import delete_nodes
from aiida.tools.archive import create_archive, import_archive


class Payload:
    """Unpickling an instance makes the folder *sentinel*."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sentinel),)


def plain_pickle(sentinel: Path) -> bytes:
    return pickle.dumps(Payload(sentinel))


def torch_file(sentinel: Path) -> bytes:
    """As MACE's own ``.model`` files are: a zip archive with a pickle in it."""
    handle = io.BytesIO()
    torch.save({"model": Payload(sentinel)}, handle)
    return handle.getvalue()


def _objects(sentinel: Path) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = Payload(sentinel)
    return array


def npy(sentinel: Path) -> bytes:
    handle = io.BytesIO()
    np.save(handle, _objects(sentinel), allow_pickle=True)
    return handle.getvalue()


def npz(sentinel: Path, *names: str) -> bytes:
    handle = io.BytesIO()
    np.savez(handle, **{name: _objects(sentinel) for name in names})
    return handle.getvalue()


# how a careless reader would load each of them: the negative controls
CARELESS: dict[Callable[..., bytes], Callable[[bytes], Any]] = {
    plain_pickle: pickle.loads,
    torch_file: lambda content: torch.load(io.BytesIO(content), weights_only=False),
    npy: lambda content: np.load(io.BytesIO(content), allow_pickle=True),
    npz: lambda content: [*np.load(io.BytesIO(content), allow_pickle=True).values()],
}


def from_an_archive(
    node_class: type[orm.Data], files: dict[str, bytes], attributes: dict[str, Any], archive: Path
) -> orm.Data:
    """A node of this class with any files and attributes, that has come into the profile with an AiiDA archive."""
    node = node_class.__new__(node_class)
    orm.Data.__init__(node)
    node.base.attributes.set_many(attributes)
    for name, content in files.items():
        node.base.repository.put_object_from_bytes(content, name)
    uuid = node.store().uuid
    create_archive([node], filename=archive, overwrite=True)
    delete_nodes([node.pk], dry_run=False)
    assert not orm.QueryBuilder().append(orm.Data, filters={"uuid": uuid}).count(), "or nothing is imported"
    import_archive(archive)
    return orm.load_node(uuid)

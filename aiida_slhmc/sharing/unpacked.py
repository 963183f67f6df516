"""An AiiDA archive as files in a folder, so that nodes and files can be taken out before it is written again."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiida_slhmc.sharing.leaks import DATABASE, REPOSITORY

__all__ = ("Row", "Unpacked", "entries")

METADATA = "metadata.json"


class Row(NamedTuple):
    """A node as the database has it; ``files`` are the repository's keys (sha256) by path."""

    id: int
    uuid: str
    node_type: str
    process_label: str
    label: str
    description: str
    attributes: dict[str, Any]
    extras: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """How messages call it."""
        kind = self.process_label or self.node_type.rstrip(".").rpartition(".")[2]
        return f"{kind} {self.uuid}"

    @property
    def is_process(self) -> bool:
        """Whether it is of a process, and not data."""
        return self.node_type.startswith("process.")

    @property
    def files(self) -> dict[str, str]:
        """Keys by path."""
        return dict(entries(self.metadata))


def entries(metadata: dict[str, Any], folder: str = "") -> Iterator[tuple[str, str]]:
    """Path and key of each file in the metadata of a node's repository."""
    for name, entry in (metadata.get("o") or {}).items():
        if "k" in entry:
            yield folder + name, str(entry["k"])
        else:
            yield from entries(entry, f"{folder}{name}/")


class Unpacked:
    """An archive's content in *folder*; :meth:`write` makes an archive of it again."""

    def __init__(self, archive: Path, folder: Path) -> None:
        """Unpack *archive* into *folder*."""
        self.folder = folder
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)
        self.database = sqlite3.connect(folder / DATABASE)
        # what is deleted is overwritten, and not only marked as free
        self.database.execute("PRAGMA secure_delete = ON")

    def execute(self, statement: str, *values: Any) -> None:
        """Change the database."""
        self.database.execute(statement, values)

    def rows(self) -> Iterator[Row]:
        """All nodes, in the order of their numbers."""
        ids = [number for (number,) in self.database.execute("SELECT id FROM db_dbnode ORDER BY id")]
        columns = "id, uuid, node_type, label, description, attributes, extras, repository_metadata"
        for number in ids:
            row = self.database.execute(f"SELECT {columns} FROM db_dbnode WHERE id = ?", (number,)).fetchone()
            attributes, extras, metadata = (json.loads(text) if text else {} for text in row[5:])
            process_label = str(attributes.get("process_label") or "")
            texts = process_label, row[3] or "", row[4] or ""
            yield Row(row[0], row[1], row[2], *texts, attributes, extras, metadata)

    def update(self, row: Row, **values: Any) -> None:
        """Write other *values* (``label``, ``description``, ``attributes``, ``extras``, ``repository_metadata``)."""
        columns = ", ".join(f"{name} = ?" for name in values)
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values.values()]
        self.execute(f"UPDATE db_dbnode SET {columns} WHERE id = ?", *texts, row.id)

    def remove(self, ids: Iterable[int]) -> None:
        """Take nodes out, with all links to and from them."""
        for number in ids:
            self.execute("DELETE FROM db_dblink WHERE input_id = ? OR output_id = ?", number, number)
            self.execute("DELETE FROM db_dbgroup_dbnodes WHERE dbnode_id = ?", number)
            self.execute("DELETE FROM db_dbnode WHERE id = ?", number)

    def content(self, key: str) -> bytes:
        """A file, by its key."""
        return (self.folder / REPOSITORY / key).read_bytes()

    def write(self, path: Path) -> None:
        """Write the archive, with those files only that a node still has."""
        self.database.commit()
        kept = {key for row in self.rows() for key in row.files.values()}
        self.database.execute("VACUUM")
        self.database.close()
        with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
            archive.write(self.folder / METADATA, METADATA)
            archive.write(self.folder / DATABASE, DATABASE)
            for key in sorted(kept):
                archive.write(self.folder / REPOSITORY / key, f"{REPOSITORY}{key}")

"""Archives that somebody has tampered with, written from a sound one."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Tampered:
    """A sound archive's content, to be changed and written as another archive."""

    def __init__(self, archive: Path, folder: Path) -> None:
        """Unpack *archive* below *folder*."""
        self.folder = folder / "unpacked"
        with zipfile.ZipFile(archive) as content:
            content.extractall(self.folder)

    def sql(self, statement: str, *values: Any) -> None:
        """Execute in the database; it has to concern one row, or the test tests nothing."""
        with sqlite3.connect(self.folder / "db.sqlite3") as database:
            assert database.execute(statement, values).rowcount == 1

    def processes(self, name: str) -> list[str]:
        """The uuid of each process whose type ends with *name*, in the order of their creation."""
        return self.column("SELECT uuid FROM db_dbnode WHERE process_type LIKE ? ORDER BY ctime, id", f"%{name}")

    def inputs(self, uuid: str) -> dict[str, str]:
        """The uuid of each node that a link leads from to this one, by label."""
        return self._linked("input", "output", uuid)

    def outputs(self, uuid: str) -> dict[str, str]:
        """The uuid of each node that a link leads to from this one, by label."""
        return self._linked("output", "input", uuid)

    def _linked(self, end: str, own: str, uuid: str) -> dict[str, str]:
        query = f"""SELECT link.label || ' ' || other.uuid FROM db_dblink AS link
            JOIN db_dbnode AS other ON other.id = link.{end}_id JOIN db_dbnode AS own ON own.id = link.{own}_id
            WHERE own.uuid = ?"""
        return dict(row.split(" ") for row in self.column(query, uuid))

    def column(self, statement: str, *values: Any) -> list[Any]:
        """The first column of a query."""
        with sqlite3.connect(self.folder / "db.sqlite3") as database:
            return [row[0] for row in database.execute(statement, values)]

    def row(self, statement: str, *values: Any) -> Any:
        """The first row of a query."""
        with sqlite3.connect(self.folder / "db.sqlite3") as database:
            return database.execute(statement, values).fetchone()

    def attributes(self, uuid: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Let *change* alter the attributes of a node in place."""
        values = json.loads(self.row("SELECT attributes FROM db_dbnode WHERE uuid = ?", uuid)[0])
        change(values)
        self.sql("UPDATE db_dbnode SET attributes = ? WHERE uuid = ?", json.dumps(values), uuid)

    def file(self, uuid: str, name: str, content: bytes) -> None:
        """Put *content* in the place of the node's file, under its own sha256."""
        text = self.row("SELECT repository_metadata FROM db_dbnode WHERE uuid = ?", uuid)[0]
        old, new = self.key(uuid, name), hashlib.sha256(content).hexdigest()
        (self.folder / "repo" / new).write_bytes(content)
        self.sql("UPDATE db_dbnode SET repository_metadata = ? WHERE uuid = ?", text.replace(old, new), uuid)

    def key(self, uuid: str, name: str) -> str:
        """The sha256 of a file at the top, or in folders, of the node's repository."""
        entry = json.loads(self.row("SELECT repository_metadata FROM db_dbnode WHERE uuid = ?", uuid)[0])
        for part in name.split("/"):
            entry = entry["o"][part]
        return str(entry["k"])

    def content(self, uuid: str, name: str) -> bytes:
        """A file of the node."""
        return (self.folder / "repo" / self.key(uuid, name)).read_bytes()

    def link(self, node: str, label: str, source: str) -> None:
        """Let *source* be the input *label* of *node*, uuids both."""
        ids = [self.row("SELECT id FROM db_dbnode WHERE uuid = ?", uuid)[0] for uuid in (source, node)]
        self.sql("UPDATE db_dblink SET input_id = ? WHERE output_id = ? AND label = ?", *ids, label)

    def unlink(self, node: str, label: str) -> None:
        """Take the input *label* of *node* away."""
        (pk,) = self.row("SELECT id FROM db_dbnode WHERE uuid = ?", node)
        self.sql("DELETE FROM db_dblink WHERE output_id = ? AND label = ?", pk, label)

    def write(self) -> Path:
        """The archive as it is now."""
        path = self.folder.parent / "tampered.aiida"
        names = ["metadata.json", "db.sqlite3", *(f"repo/{file.name}" for file in (self.folder / "repo").iterdir())]
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.write(self.folder / name, name)
        return path

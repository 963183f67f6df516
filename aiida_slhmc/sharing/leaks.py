"""The search of an archive or a text file for all that must not be passed on."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiida_slhmc.sharing.search import REMOVED_DOMAIN, Search

__all__ = ("DATABASE", "REPOSITORY", "Leak", "find_leaks", "without_own_fields")

# of AiiDA's archives
DATABASE, REPOSITORY = "db.sqlite3", "repo/"
# AiiDA's own names of classes, functions and parsers: columns of a node, and attributes of a process. They name
# software and nobody's secrets, so that a computer called `vasp` keeps no calculation of VASP's from being shared
OWN_COLUMNS = ("node_type", "process_type")
OWN_ATTRIBUTES = ("process_label", "parser_name", "function_name", "function_namespace")
PROCESS = "process."


class Leak(NamedTuple):
    """Where something was found, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def find_leaks(path: Path, words: Iterable[str] = ()) -> list[Leak]:
    """Everything in the file *path* that must not be passed on: an empty list for nothing.

    Of an AiiDA archive the whole is searched: the database value by value and byte by byte (deleted rows may still be
    there), each file unpacked, and nodes of the kinds that hold potentials, folders and access to computers. A
    compressed file that cannot be opened is found, too: nobody knows what is in it.

    :param words: host names, user names, paths and whatever else is known to be private.
    """
    search = Search(words)
    if not zipfile.is_zipfile(path):
        return [Leak(path.name, what) for what in search.content(path.read_bytes())]
    leaks = []
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        for name in archive.namelist():
            leaks += [Leak(name, what) for what in search.text(name)]
            if name == DATABASE:
                leaks += _in_database(Path(archive.extract(name, folder)), search)
            else:
                leaks += [Leak(name, what) for what in search.content(archive.read(name))]
    return leaks


def without_own_fields(attributes: Any) -> Any:
    """Attributes of a process, at any depth, without those that only name software."""
    if not isinstance(attributes, dict):
        return attributes
    return {key: without_own_fields(value) for key, value in attributes.items() if key not in OWN_ATTRIBUTES}


def _in_database(path: Path, search: Search) -> Iterator[Leak]:
    database = sqlite3.connect(path)
    try:
        own: set[str] = set()
        schema = database.execute("SELECT name, sql FROM sqlite_master").fetchall()
        for name, statement in schema:
            yield from (Leak(f"{DATABASE}, schema of {name}", what) for what in search.text(statement or ""))
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            yield from _in_table(database, table, search, own)
        # deleted rows, which are in no table; what is in the own fields of others cannot be told from them
        found = [what for what in search.content(path.read_bytes()) if what not in own]
        yield from (Leak(f"{DATABASE}, its bytes", what) for what in found)
        for question, what in FORBIDDEN.items():
            yield from (Leak(f"{DATABASE}, {name}", what) for (name,) in database.execute(question))
    finally:
        database.close()


def _in_table(database: sqlite3.Connection, table: str, search: Search, own: set[str]) -> Iterator[Leak]:
    """Leaks in each row; what is found in AiiDA's own fields goes into *own* instead."""
    rows = database.execute(f'SELECT * FROM "{table}"')
    columns = [str(column[0]) for column in rows.description]
    for values in rows:
        row = dict(zip(columns, values, strict=True))
        where = " ".join([DATABASE + ",", table, *([str(row["uuid"])] if row.get("uuid") else [])])
        is_process = str(row.get("node_type") or "").startswith(PROCESS)
        for name, value in row.items():
            searched = _decoded(value)
            if name in OWN_COLUMNS or (is_process and name == "attributes"):
                own.update(_search(search, searched))
                searched = without_own_fields(searched) if name == "attributes" else None
            yield from (Leak(where, what) for what in _search(search, searched))


def _decoded(value: Any) -> Any:
    """What JSON text says, so that no character is hidden behind its number; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "[", '"'):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _search(search: Search, value: Any) -> list[str]:
    return search.content(value) if isinstance(value, bytes) else search.json(value)


# what must not be there, whatever is in it
FORBIDDEN = {
    "SELECT 'node ' || uuid FROM db_dbnode WHERE node_type LIKE 'data.vasp.potcar_file.%'": "a POTCAR",
    "SELECT 'node ' || uuid FROM db_dbnode WHERE node_type LIKE 'data.core.remote.%'": "a folder on a computer",
    "SELECT 'node ' || uuid FROM db_dbnode WHERE node_type LIKE 'data.core.code.%'": "a code on a computer",
    "SELECT 'node ' || uuid FROM db_dbnode WHERE json_extract(attributes, '$.remote_workdir') IS NOT NULL": (
        "the work folder of a job"
    ),
    "SELECT 'user ' || id FROM db_dbuser WHERE first_name || last_name || institution != ''": "the name of a user",
    f"SELECT 'computer ' || uuid FROM db_dbcomputer WHERE hostname != '{REMOVED_DOMAIN}'": "the name of a host",
    "SELECT 'authinfo ' || id FROM db_dbauthinfo": "how a computer is accessed",
}

"""An archive opened where it lies: read-only, without importing it, and without running anything that is in it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import AiidaException, IncompatibleStorageSchema
from aiida.manage import get_manager
from aiida.orm.implementation import StorageBackend
from aiida.storage.sqlite_temp import SqliteTempBackend
from aiida.storage.sqlite_zip.backend import SqliteZipBackend
from sqlalchemy.exc import SQLAlchemyError

__all__ = ("READ_ERRORS", "ArchiveError", "damaged_files", "nodes_of", "open_archive")

# what reading a node of a damaged archive may end with; ValueError is what JSON in the database raises
READ_ERRORS = (AiidaException, SQLAlchemyError, zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError)


class ArchiveError(ValueError):
    """A file that is no archive, or one that cannot be read."""


@contextmanager
def open_archive(path: Path) -> Iterator[StorageBackend]:
    """The archive's nodes, for as long as the context lasts; its errors of the storage become an ArchiveError.

    Nodes that are made meanwhile belong to the profile that is loaded or, where there is none, to one in memory, which
    is loaded for it. They are not stored.

    :raises ArchiveError: with a sentence for the user.
    """
    if not path.is_file():
        raise ArchiveError(f"there is no file {path}")
    if get_manager().get_profile() is None:
        get_manager().load_profile(SqliteTempBackend.create_profile("rebuild"))
    storage = None
    try:
        storage = SqliteZipBackend(SqliteZipBackend.create_profile(path.resolve()))
        n_nodes = orm.QueryBuilder(backend=storage).append(orm.Node).count()
        storage.get_repository()
    except READ_ERRORS as error:
        _close(storage)
        raise ArchiveError(_reason(path, error)) from error
    try:
        if n_nodes == 0:
            raise ArchiveError(f"{path} is an archive without any node")
        yield storage
    except ArchiveError:
        raise
    # a page of the database that is damaged is only found when it is read
    except (AiidaException, SQLAlchemyError, json.JSONDecodeError) as error:
        raise ArchiveError(_reason(path, error)) from error
    finally:
        _close(storage)


def nodes_of(storage: StorageBackend, kind: type[orm.Node]) -> Iterator[Any]:
    """Nodes of this class in the order in which they were made.

    One is loaded at a time: a study has many.
    """
    query = orm.QueryBuilder(backend=storage).append(kind, project=["id"], tag="node")
    for pk in query.order_by({"node": ["ctime", "id"]}).all(flat=True):
        yield orm.QueryBuilder(backend=storage).append(orm.Node, filters={"id": pk}).one()[0]


def damaged_files(storage: StorageBackend) -> Iterator[tuple[str, str | None]]:
    """For each file in the archive its key, and what is wrong with it or None: the key is the sha256 of the content."""
    repository = storage.get_repository()
    for key in repository.list_objects():
        digest = hashlib.sha256()
        try:
            with repository.open(key) as handle:
                while chunk := handle.read(1 << 20):
                    digest.update(chunk)
        except READ_ERRORS as error:
            yield key, f"it cannot be read: {error}"
            continue
        yield key, None if digest.hexdigest() == key else "its content is not that of its sha256"


def _close(storage: StorageBackend | None) -> None:
    if storage is not None:
        storage.close()


def _reason(path: Path, error: Exception) -> str:
    """What to tell the user, in a sentence."""
    if isinstance(error, IncompatibleStorageSchema):
        return (
            f"{path} was written by another version of AiiDA. Bring a copy up to date with"
            f" `verdi archive migrate {path} NEW_FILE` and check that ({error})"
        )
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return f"{path} is no whole AiiDA archive: {first}. Is it complete? Compare its size or sha256 with the publisher's"

"""Data sets and whole runs as AiiDA archives: written, cleaned, searched, and only then named; and read again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.tools.archive import create_archive, import_archive
from aiida.tools.archive.exceptions import ExportValidationError

from aiida_slhmc.audit.archive import ArchiveError, open_archive
from aiida_slhmc.sharing.data_set import PREFIX, DataSet
from aiida_slhmc.sharing.leaks import find_leaks
from aiida_slhmc.sharing.private import private_words
from aiida_slhmc.sharing.private_folder import move, private_folder
from aiida_slhmc.sharing.sanitise import LeftOut, SharingError, sanitise
from aiida_slhmc.sharing.search import Search
from aiida_slhmc.sharing.unpacked import Unpacked

__all__ = ("export_archive", "export_processes", "import_data_sets")

# only the labels and their block, none of what made them
WITHOUT_PROVENANCE = {"create_backward": False, "call_calc_backward": False, "call_work_backward": False}
# nothing but nodes and links is needed, and anything may be in these
BARE: dict[str, Any] = {"include_comments": False, "include_logs": False, "include_authinfos": False}
# leaks that a message lists
SHOWN = 5


def export_archive(
    data_set: DataSet, path: Path, words: Iterable[str], *, with_provenance: bool = True, overwrite: bool = False
) -> LeftOut:
    """Write the archive *path*, with all that the labels came from or with the labels and their block alone.

    It has neither users nor hosts, folders, job scripts, codes, POTCARs, comments and logs; data with something private
    in them are left out. What is written is searched again from the start before it gets its name.

    :param words: host names, paths and other things that must not be in it.
    :returns: what was left out.
    :raises SharingError: if something private cannot be removed, or is still there, or a process has not ended; nothing
        is left of the file then.
    """
    return _export([data_set.group], path, words, overwrite, {} if with_provenance else WITHOUT_PROVENANCE)


def export_processes(
    nodes: Sequence[orm.ProcessNode], path: Path, words: Iterable[str] | None = None, *, overwrite: bool = False
) -> LeftOut:
    """Write the archive *path* of whole runs or studies: all that they called, made and came from.

    It is cleaned and searched as that of a data set (:func:`export_archive`), and what is left can be checked by
    ``examples/rebuild_study.py`` and continued with other codes.

    :param words: what must not be in it; by default all that this profile and machine know to be private.
    :returns: what was left out.
    :raises SharingError: as :func:`export_archive`.
    """
    return _export(nodes, path, private_words() if words is None else words, overwrite, {})


def _export(
    entities: Sequence[orm.Node | orm.Group], path: Path, words: Iterable[str], overwrite: bool, rules: dict[str, Any]
) -> LeftOut:
    if path.exists() and not overwrite:
        raise SharingError(f"{path} exists; choose another name or give --overwrite")
    words = sorted(words)
    # what AiiDA writes first has everything in it
    with private_folder() as folder:
        raw, clean = folder / "raw.aiida", folder / "clean.aiida"
        _create(entities, raw, rules)
        archive = Unpacked(raw, folder / "content")
        raw.unlink()
        try:
            left_out = sanitise(archive, Search(words))
            archive.write(clean)
        finally:
            archive.database.close()
        leaks = find_leaks(clean, words)
        if leaks:
            listed = "; ".join(map(str, leaks[:SHOWN])) + (f"; and {len(leaks) - SHOWN} more" * (len(leaks) > SHOWN))
            raise SharingError(f"the archive was not written, because in it is still: {listed}")
        move(clean, path)
    return left_out


def _create(entities: Sequence[orm.Node | orm.Group], path: Path, rules: dict[str, Any]) -> None:
    """AiiDA's own archive.

    :raises SharingError: where a process has not ended: its records may still change.
    """
    try:
        with _without_reports():
            create_archive(entities, filename=path, **BARE, **rules)
    except ExportValidationError as error:
        raise SharingError(
            f"a process among what is to be shared has not ended, or was killed without a record of it ({error})."
            " Look at it with `verdi process show PK`: wait for its end, or end it with `verdi process kill PK`;"
            " `verdi process repair` finds one that the daemon lost. How to end one that nothing answers for is in"
            " docs/how-to/share_a_data_set.md. Labels can be shared at once: `dataset export --without-provenance`"
        ) from error


def import_data_sets(path: Path) -> list[DataSet]:
    """Take the archive *path* into this profile, and return its data sets.

    One that is here already stays as it is. A name that is taken by another one gets a number.

    :raises ArchiveError: if it is no archive, or none of a data set; nothing is imported then.
    """
    with open_archive(path) as storage:
        query = orm.QueryBuilder(backend=storage)
        query.append(orm.Group, filters={"label": {"like": f"{PREFIX}%"}}, project="uuid")
        uuids = [str(uuid) for uuid in query.all(flat=True)]
    if not uuids:
        raise ArchiveError(
            f"there is no data set in {path}. `verdi archive import` takes in any archive; then make a data set of its"
            " runs or blocks with `aiida-slhmc dataset create`"
        )
    with _without_reports():
        import_archive(path, create_group=False)
    return [DataSet(orm.load_group(uuid=uuid)) for uuid in uuids]


@contextmanager
def _without_reports() -> Iterator[None]:
    """AiiDA's own reports of an export or import name temporary files, and count what is left out later."""
    # both report by this one
    logger = logging.getLogger("aiida.export")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)

"""Starting a work chain from a script: here and now, or by the daemon."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node, submit
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching, get_use_cache
from aiida.storage.psql_dos import PsqlDosBackend
from aiida.storage.psql_dos.orm.utils import disable_expire_on_commit
from sqlalchemy import event
from sqlalchemy.engine import Engine

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.targets.base import load_target

__all__ = ("cached_calculations", "commit_without_sync", "keep_loaded", "launch")


def cached_calculations(builder: Any) -> list[str]:
    """Names, as AiiDA's caching takes them, of the calculations that make this run's proposals and labels."""
    chain = load_target(builder.target["engine"].value).get_work_chain()
    # a target's work chain need not be of our base class, and may call more than one calculation
    label = getattr(chain, "_process_class", None)
    return [process.build_process_type() for process in (MaceProposalCalculation, label) if process is not None]


def launch(
    builder: ProcessBuilder,
    *,
    to_daemon: bool = False,
    take_over: bool = False,
    announce: Callable[[orm.ProcessNode], None] | None = None,
) -> orm.ProcessNode:
    """Run *builder* in this process and wait, or submit it to the daemon.

    :param take_over: take stored proposals and labels of an interrupted epoch over instead of computing them again
        (AiiDA's caching), as a restart wants it.
    :param announce: is called with the node before it runs in this process.
    :raises ValueError: if the daemon shall take over, but its profile has caching switched off for these calculations.
    """
    if not to_daemon:
        process = instantiate_process(get_manager().create_runner(communicator=None), builder)
        if announce is not None:
            announce(process.node)
        with keep_loaded(), enable_caching() if take_over else nullcontext():
            return run_get_node(process)[1]
    cached = cached_calculations(builder) if take_over else []
    if not all(get_use_cache(identifier=name) for name in cached):
        switches = "".join(f"`verdi config set --append caching.enabled_for {name}`, " for name in cached)
        raise ValueError(
            "the daemon would compute the interrupted epoch's stored labels again. Switch AiiDA's caching on first: "
            f"{switches}and `verdi daemon restart`"
        )
    return submit(builder)


@contextmanager
def keep_loaded() -> Iterator[None]:
    """Context in which the database session keeps what it has read when AiiDA commits.

    Otherwise each of AiiDA's commits, some hundred for a label, goes through every node that is in use and marks it to
    be read again: with many processes side by side that is half of the time of the process that runs them. Nothing goes
    stale, since AiiDA reads what may change (attributes, extras, labels) again at every access.
    """
    storage = get_manager().get_profile_storage()
    if not isinstance(storage, PsqlDosBackend):  # SQLite is one of its subclasses
        yield
        return
    with disable_expire_on_commit(storage.get_session()):
        yield


def commit_without_sync() -> None:
    """Let SQLite with a write-ahead log sync the disk at its checkpoints only, and not at each commit of AiiDA's.

    Many short jobs spend a good part of their time in that. Nothing is lost when the process dies; after a power cut
    the last commits may be missing, and the database is whole. Call it before the profile's storage is used. It has no
    effect on PostgreSQL.
    """

    @event.listens_for(Engine, "connect")
    def relax(connection: Any, _: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=NORMAL")

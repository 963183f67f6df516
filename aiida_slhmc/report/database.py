"""Reading on when the database was away for a while, as when its server is restarted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from aiida.common.exceptions import UnreachableStorage
from aiida.manage import get_manager
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

__all__ = ("UNREACHABLE", "read_patiently", "reason_of")

Result = TypeVar("Result")

# a server that is down, one that ends its connections, and what a session says after that
UNREACHABLE = (OperationalError, InterfaceError, PendingRollbackError, UnreachableStorage)


def read_patiently(read: Callable[[], Result], *, interval: float, say: Callable[[str], object]) -> Result:
    """What *read* returns, tried again every *interval* seconds for as long as the database does not answer.

    :param read: loads all its nodes itself; those of a lost connection are of no use.
    :param say: is told once why it waits, and once when it goes on.
    """
    is_waiting = False
    while True:
        try:
            result = read()
        except UNREACHABLE as error:
            if not is_waiting:
                say(f"the database does not answer ({reason_of(error)}); waiting for it")
            is_waiting = True
            _give_up_transaction()
            time.sleep(interval)
            continue
        if is_waiting:
            say("the database answers again")
        return result


def reason_of(error: Exception) -> str:
    """The first line of what the database's driver said."""
    cause = getattr(error, "orig", None) or error
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def _give_up_transaction() -> None:
    """The session refuses everything until this is done; for the next question it takes a new connection."""
    storage: Any = get_manager().get_profile_storage()
    with suppress(*UNREACHABLE):
        storage.get_session().rollback()

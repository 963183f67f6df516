"""What a user did wrong, and what a database does not answer, is said in one sentence, without a traceback."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click
from aiida.common.exceptions import AiidaException

__all__ = ("USER_ERRORS", "load_database", "user_errors", "with_database")

Function = TypeVar("Function", bound=Callable[..., Any])

# what input, files and the database can be blamed for; anything else is a defect of ours and keeps its traceback
USER_ERRORS = (AiidaException, ValueError, OSError)


def user_errors(function: Function) -> Function:
    """Decorator of a command: end with exit status 1 and the error's message where a user can do something about it."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except USER_ERRORS as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            # late: help does not wait for it
            from aiida_slhmc.report.database import UNREACHABLE, reason_of

            if not isinstance(error, UNREACHABLE):
                raise
            raise click.ClickException(
                f"the profile's database does not answer ({reason_of(error)}); `verdi status` shows what is down"
            ) from error

    return cast(Function, wrapped)


def with_database(function: Function) -> Function:
    """Decorator of a command that works on the profile's data: as :func:`user_errors`, with the database loaded."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        load_database()
        return function(*args, **kwargs)

    return user_errors(cast(Function, wrapped))


def load_database() -> None:
    """Load the profile that was asked for, or the default one, and its database.

    :raises ValueError: if there is no profile to load.
    :raises AiidaException: if its database cannot be reached, is locked, or of another version.
    """
    from aiida.cmdline.utils.decorators import load_backend_if_not_loaded
    from aiida.manage import get_manager
    from aiida.manage.configuration import get_config

    if get_manager().get_profile() is None and get_config().default_profile_name is None:
        names = ", ".join(get_config().profile_names)
        known = f"choose one with `aiida-slhmc -p NAME …` ({names})" if names else "`verdi presto` makes one"
        raise ValueError(f"there is no AiiDA profile to work in: {known}")
    load_backend_if_not_loaded()

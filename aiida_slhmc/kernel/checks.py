"""Checks of options that people write: what counts as a number, and names that do not exist."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

__all__ = ("check_fields", "check_names", "hint_at", "is_number", "is_whole")


def is_number(value: Any) -> bool:
    """A finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """An integer; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_names(names: Iterable[Any], known: Iterable[str], what: str) -> None:
    """Refuse the first of *names* that is not *known*.

    :param what: what the names are, for the message: "no <what> '<name>'".
    :raises ValueError: with the nearest known name, or all of them.
    """
    choices = sorted(known)
    for name in names:
        if name not in choices:
            raise ValueError(f"no {what} '{name}'; {hint_at(name, choices)}")


def check_fields(kind: Any, content: Iterable[str], required: Iterable[str], what: str) -> None:
    """Refuse names that are no fields of the dataclass *kind*, and *content* that lacks one of the *required*.

    :param what: what the names are, as in :func:`check_names`.
    :raises ValueError: as :func:`check_names`, or "missing <what>: …".
    """
    given = set(content)
    check_names(content, {field.name for field in fields(kind)}, what)
    missing = sorted(set(required) - given)
    if missing:
        raise ValueError(f"missing {what}: {', '.join(missing)}")


def hint_at(name: Any, known: Iterable[str]) -> str:
    """What may have been meant by *name*: the nearest of the *known* names, or all of them."""
    choices = sorted(known)
    near = difflib.get_close_matches(str(name), choices, n=1)
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(choices)}"

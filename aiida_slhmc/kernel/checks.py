"""Checks of options that people write: what counts as a number, and names that do not exist."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

__all__ = ("check_names", "hint_at", "is_number", "is_whole")


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


def hint_at(name: Any, known: Iterable[str]) -> str:
    """What may have been meant by *name*: the nearest of the *known* names, or all of them."""
    choices = sorted(known)
    near = difflib.get_close_matches(str(name), choices, n=1)
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(choices)}"

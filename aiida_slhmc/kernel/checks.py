"""What counts as a number in options that people write."""

from __future__ import annotations

import math
from typing import Any

__all__ = ("is_number", "is_whole")


def is_number(value: Any) -> bool:
    """A finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """An integer; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)

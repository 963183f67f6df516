"""What is known of experiment, for tables and figures."""

from __future__ import annotations

from typing import Any

from aiida_slhmc.kernel.checks import check_names, is_number

__all__ = ("check_experiment",)

NUMBERS = ("a", "b", "c", "volume", "short", "long", "mean")
SOURCES = ("source", "shell_source")


def check_experiment(content: dict[str, Any]) -> None:
    """Names and values that tables and figures can use, as many of them as are known.

    ``a``, ``b``, ``c`` and ``short``, ``long``, ``mean`` of the first shell's bonds in Å, ``volume`` in Å³ per formula
    unit; ``source`` in words, and ``shell_source`` where the bonds are from elsewhere.

    :raises ValueError: for a name that is unknown, with the nearest one, or a value that makes no sense.
    """
    check_names(content, (*NUMBERS, *SOURCES), "value of an experiment")
    for name, value in content.items():
        if name in SOURCES:
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} must be words, not {value!r}")
        elif not is_number(value) or value <= 0:
            raise ValueError(f"{name} must be a positive number, not {value!r}")

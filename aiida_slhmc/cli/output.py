"""Tables and numbers on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ("make_console", "make_table", "number")

# of a pipe or a file, which have no width of their own
WIDTH = 120


def make_console() -> Console:
    """The terminal, or lines of a fixed width where there is none."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def make_table(title: str | None, headers: Iterable[str], rows: Iterable[Sequence[Any]], left: int = 0) -> Table:
    """A table without frames.

    :param left: how many of the first columns hold text, which starts on the left.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, header in enumerate(headers):
        table.add_column(header, justify="left" if i < left else "right")
    for row in rows:
        # text, because labels may have brackets, which rich would read as a style
        table.add_row(*(Text("–" if entry is None else str(entry)) for entry in row))
    return table


def number(value: float | None, form: str) -> str | None:
    """The formatted number; None stays None."""
    return None if value is None else format(value, form)

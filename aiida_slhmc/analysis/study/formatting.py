"""Rows of a table as CSV in full precision, and as Markdown with the uncertainty in parentheses."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ("ERROR", "to_csv", "to_markdown", "with_uncertainty")

Row = dict[str, Any]
# column of a value's standard error: the value's own name and this
ERROR = "_se"
NOTHING = "–"
# an uncertainty that begins below this is given with two digits, or rounding would change it by a quarter and more
TWO_DIGITS_BELOW = 1.95


def with_uncertainty(value: float | None, error: float | None) -> str:
    """Concise notation, GUM (JCGM 100:2008), section 7.2.2: 1.8173 ± 0.0005 is 1.8173(5).

    The uncertainty has one digit, or two where it begins with a one. Without an uncertainty, four digits of the value.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    exponent = math.floor(math.log10(error))
    digits = 2 if error / 10**exponent < TWO_DIGITS_BELOW else 1
    decimals = max(0, digits - 1 - exponent)
    # adding zero makes -0.0 positive
    return f"{round(value, decimals) + 0.0:.{decimals}f}({round(error * 10**decimals)})"


def to_csv(rows: Sequence[Row]) -> str:
    """All columns of all rows in the order in which they first occur; empty where there is no value."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(rows: Sequence[Row], titles: Mapping[str, str], *, forms: Mapping[str, str] | None = None) -> str:
    """The columns in *titles*, by their names, without those that are empty in all rows.

    :param titles: heading of each column; the standard error of a column is written into its values.
    :param forms: how to write the numbers of a column that has no standard errors.
    """
    forms = forms or {}
    shown = [name for name in titles if any(row.get(name) is not None for row in rows)]
    if not shown:
        return ""
    lines = [_line([titles[name] for name in shown]), "|" + " --- |" * len(shown)]
    lines += [_line([_cell(row, name, forms.get(name)) for name in shown]) for row in rows]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _cell(row: Row, name: str, form: str | None) -> str:
    value = row.get(name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if form and math.isfinite(value):
            return format(value, form)
        return with_uncertainty(value, row.get(name + ERROR))
    return NOTHING if value is None else str(value)

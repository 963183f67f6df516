"""Numbers and rows as people and as programs read them."""

from __future__ import annotations

import csv
import io
import math

import pytest

from aiida_slhmc.analysis.study.formatting import to_csv, to_markdown, with_uncertainty

ROWS = [
    {"name": "a|b", "x": 1.8172999999999997, "x_se": 0.0005, "n": 3, "holds": True, "nothing": None},
    {"name": "c", "x": None, "x_se": None, "n": None, "holds": False, "late": 2.5},
]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.8173, 0.0005, "1.8173(5)"),
        (1.876, 0.0138, "1.876(14)"),
        # rounding of the error moves the digit
        (1.876, 0.0096, "1.876(10)"),
        (1.876, 0.0196, "1.88(2)"),
        (40.21, 13.3, "40(13)"),
        (1234.5, 57.2, "1234(57)"),
        (31.35, 0.06, "31.35(6)"),
        (-0.0004, 0.02, "0.00(2)"),
        (-0.07, 0.02, "-0.07(2)"),
        (2.0, 0.5, "2.0(5)"),
        (31.15, None, "31.15"),
        (31.15, 0.0, "31.15"),
        (31.15, math.nan, "31.15"),
        (None, 0.1, "–"),
        (math.nan, 0.1, "–"),
    ],
)
def test_concise_notation(value, error, text) -> None:
    assert with_uncertainty(value, error) == text


def test_csv_keeps_every_digit() -> None:
    """Fails where a number is rounded, or a column of a later row is lost."""
    first, second = csv.DictReader(io.StringIO(to_csv(ROWS)))
    assert float(first["x"]) == ROWS[0]["x"]
    assert (second["x"], second["late"], first["late"]) == ("", "2.5", "")
    assert list(first) == ["name", "x", "x_se", "n", "holds", "nothing", "late"]


def test_markdown() -> None:
    titles = {"name": "Name", "x": "X", "n": "N", "holds": "Holds", "nothing": "Nothing", "late": "Late"}
    assert to_markdown(ROWS, titles, forms={"late": "+.2f"}).splitlines() == [
        "| Name | X | N | Holds | Late |",
        "| --- | --- | --- | --- | --- |",
        r"| a\|b | 1.8173(5) | 3 | yes | – |",
        "| c | – | – | no | +2.50 |",
    ]


def test_no_rows() -> None:
    assert to_markdown([], {"name": "Name"}) == ""
    assert to_csv([]) == "\n"

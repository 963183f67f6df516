"""INCAR tags as Python values, read with a word on what is wrong, and the functional that they ask for."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ("Tags", "flag", "functional_name", "integer", "number", "numbers", "read_tags", "text")

# INCAR tags in small letters, those that are not set (None, as aiida-vasp takes it) left out
Tags = dict[str, Any]

_GGA_NAMES = {"pe": "pbe", "ps": "pbesol", "ca": "lda", "rp": "rpbe", "91": "pw91", "am": "am05"}

# other tags that make another functional: they are part of its name where they are set
_OF_THE_FUNCTIONAL = (
    *("xc", "libxc1", "libxc2", "aldax", "aldac", "aggax", "aggac", "amggax", "amggac"),
    *("luse_vdw", "zab_vdw", "ivdw", "lmodelhf", "lthomas", "lrhfcalc"),
)


def read_tags(parameters: dict[str, Any]) -> Tags:
    """The tags of an INCAR that are set, in small letters."""
    return {str(key).lower(): value for key, value in parameters.items() if value is not None}


def flag(tags: Tags, tag: str, default: bool = False) -> bool:
    """Value of a logical *tag*: True, or text as in an INCAR (``.TRUE.``, ``T``, ``.F.``).

    :raises ValueError: if it is anything else.
    """
    value = tags.get(tag, default)
    if isinstance(value, bool):
        return value
    match = re.fullmatch(r"\.?([TF])[A-Z]*\.?", value.strip().upper()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{tag.upper()} = {value!r} is of the wrong kind: true or false is needed")
    return match.group(1) == "T"


def number(tags: Tags, tag: str, default: float) -> float:
    """Value of a real *tag*; Fortran's 1D-6 is read too.

    :raises ValueError: if it is no number.
    """
    value = tags.get(tag, default)
    try:
        found = float(value.upper().replace("D", "E") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise ValueError(f"{tag.upper()} = {value!r} is of the wrong kind: a number is needed")
    return found


def integer(tags: Tags, tag: str, default: int) -> int:
    """Value of an integer *tag*.

    :raises ValueError: if it is no whole number.
    """
    value = number(tags, tag, default)
    if value != int(value):
        raise ValueError(f"{tag.upper()} = {tags[tag]!r} is of the wrong kind: a whole number is needed")
    return int(value)


def text(tags: Tags, tag: str, default: str = "") -> str:
    """Value of a *tag* that is a word, in small letters, such as ALGO."""
    return str(tags.get(tag, default)).strip().lower()


def numbers(tags: Tags, tag: str) -> list[float]:
    """Values of a *tag* that is a list: of numbers, or text with VASP's repetitions such as ``16*1.0 32*0``.

    :raises ValueError: if it is neither.
    """
    value = tags[tag]
    words = value.split() if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    found: list[float] = []
    for word in words:
        count, star, repeated = str(word).rpartition("*")
        if star and not count.isdigit():
            raise ValueError(f"{tag.upper()} = {value!r} is of the wrong kind: numbers are needed")
        found += [number({tag: repeated if star else word}, tag, 0.0)] * (int(count) if star else 1)
    return found


def functional_name(parameters: dict[str, Any]) -> str:
    """A name of the functional that the INCAR tags ask for, as queries and data sets use it.

    A screened or global hybrid with other than HSE06's numbers is named by its numbers, DFT+U by the values of U in
    INCAR's order, and a missing GGA tag leaves the choice to the POTCARs, which the name says.
    """
    tags = read_tags(parameters)
    base = _GGA_NAMES.get(text(tags, "gga"), text(tags, "gga", "potcar"))
    if tags.get("metagga"):
        base = text(tags, "metagga")
    if flag(tags, "lhfcalc"):
        exchange, screening = number(tags, "aexx", 0.25), number(tags, "hfscreen", 0.0)
        is_hse06 = base in ("pbe", "potcar") and (exchange, screening) == (0.25, 0.2)
        base = "hse06" if is_hse06 else f"{base}-hybrid-{exchange:g}-{screening:g}"
    if flag(tags, "ldau"):
        base += _hubbard_name(tags)
    return base + "".join(f"+{tag}={text(tags, tag)}" for tag in _OF_THE_FUNCTIONAL if tag in tags)


def _hubbard_name(tags: Tags) -> str:
    """Such as ``+u(3,0)``; U alone, where J is zero and LDAUTYPE Dudarev's."""
    name = "+u"
    if "ldauu" in tags:
        name += "(" + ",".join(f"{value:g}" for value in numbers(tags, "ldauu")) + ")"
    if "ldauj" in tags and any(numbers(tags, "ldauj")):
        name += "j(" + ",".join(f"{value:g}" for value in numbers(tags, "ldauj")) + ")"
    kind = integer(tags, "ldautype", 2)
    return name if kind == 2 else f"{name}type{kind}"

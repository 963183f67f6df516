"""Whether a node that was made anew says the same as the stored one: attributes and files, number by number."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from aiida import orm
from aiida.orm.implementation.utils import clean_value
from numpy.typing import NDArray

from aiida_slhmc.audit.pictures import PictureError, compare_pictures, judge_pictures

__all__ = ("FLOOR", "TOLERANCE", "Comparison", "compare_nodes", "compare_values", "node_files")

TOLERANCE = 1e-9
# added to the larger of two numbers before their difference is divided by it: 1e-12 is the noise of numbers around 1000
FLOOR = 1e-3
# at most so many differences are spelt out for each node
MAX_SPELT_OUT = 5
# so many characters that are equal are shown before two lines' difference
CONTEXT = 20
UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass
class Comparison:
    """What comparing has found: ``differences`` in words, where they are, and the ``largest`` relative one of numbers.

    Relative is |a − b| / (max(|a|, |b|) + FLOOR); up to TOLERANCE it counts as equal, since libraries and processors
    may differ in the last bits. ``notes`` are of what cannot be compared here.
    """

    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    largest: float = 0.0

    def differ(self, where: str, stored: Any, rebuilt: Any) -> None:
        """Put a difference on record."""
        self.differences.append(f"{where}: stored {_short(stored)}, rebuilt {_short(rebuilt)}")

    def merge(self, other: Comparison) -> None:
        """Add what another comparison has found."""
        self.differences += other.differences
        self.notes += other.notes
        self.largest = max(self.largest, other.largest)


def compare_nodes(stored: orm.Data, rebuilt: orm.Data, *, is_from_cache: bool = False) -> Comparison:
    """The stored node against an unstored one: its type, attributes and files.

    An output from AiiDA's cache has the files of the one it was copied from. Where these name nodes, it is the equal
    ones of an earlier run, which need not be in the archive: then uuids are not compared.
    """
    found = Comparison()
    if stored.node_type != rebuilt.node_type:
        found.differ("type", stored.node_type, rebuilt.node_type)
        return found
    # storing cleans: 14 digits, tuples become lists
    compare_values(stored.base.attributes.all, clean_value(rebuilt.base.attributes.all), "", found)
    files, new = node_files(stored), node_files(rebuilt)
    if set(files) != set(new):
        found.differ("files", sorted(files), sorted(new))
    pictures: dict[str, str | None] = {}
    for name in sorted(set(files) & set(new)):
        contents = [node.base.repository.get_object_content(name, mode="rb") for node in (stored, rebuilt)]
        if is_from_cache:
            contents = [UUID.sub(b"uuid", content) for content in contents]
        if PurePosixPath(name).suffix == ".png":
            _compare_pictures(name, contents[0], contents[1], pictures, found)
        elif contents[0] != contents[1]:
            _compare_files(name, contents[0], contents[1], found)
    differences, found.notes = judge_pictures(pictures)
    found.differences += differences
    hidden = len(found.differences) - MAX_SPELT_OUT
    if hidden > 0:
        found.differences[MAX_SPELT_OUT:] = [f"and {hidden} more"]
    return found


def node_files(node: orm.Data) -> list[str]:
    """Paths of the files in the node's repository."""
    return [str(root / name) for root, _, names in node.base.repository.walk() for name in names]


def compare_values(stored: Any, rebuilt: Any, where: str, found: Comparison) -> None:
    """Values as JSON knows them, recursively; *where* they are is a path of keys and indices."""
    if isinstance(stored, Mapping) and isinstance(rebuilt, Mapping):
        for key in sorted(set(stored) | set(rebuilt), key=str):
            path = f"{where}.{key}" if where else str(key)
            if key in stored and key in rebuilt:
                compare_values(stored[key], rebuilt[key], path, found)
            else:
                found.differ(path, stored.get(key, "nothing"), rebuilt.get(key, "nothing"))
    elif isinstance(stored, list) and isinstance(rebuilt, list) and len(stored) == len(rebuilt):
        for index, pair in enumerate(zip(stored, rebuilt, strict=True)):
            compare_values(*pair, f"{where}[{index}]", found)
    elif _is_number(stored) and _is_number(rebuilt):
        _compare_numbers(np.array(stored), np.array(rebuilt), where, found)
    elif isinstance(stored, str) and isinstance(rebuilt, str):
        _compare_text(stored, rebuilt, where, found)
    elif stored != rebuilt or type(stored) is not type(rebuilt):
        found.differ(where, stored, rebuilt)


def _compare_files(name: str, stored: bytes, rebuilt: bytes, found: Comparison) -> None:
    """By what is in them: arrays, JSON, text with numbers."""
    suffix = PurePosixPath(name).suffix
    try:
        if suffix in (".npy", ".npz"):
            _compare_arrays(_arrays(stored), _arrays(rebuilt), name, found)
        elif suffix == ".json":
            compare_values(json.loads(stored), json.loads(rebuilt), name, found)
        else:
            _compare_text(stored.decode(), rebuilt.decode(), name, found)
    except (ValueError, OSError, EOFError) as error:
        found.differences.append(f"{name}: other bytes, which cannot be read as what they should be ({error})")


def _compare_pictures(
    name: str, stored: bytes, rebuilt: bytes, pictures: dict[str, str | None], found: Comparison
) -> None:
    """Add to *pictures* what differs, None for nothing."""
    try:
        pictures[name] = None if stored == rebuilt else compare_pictures(stored, rebuilt)
    except PictureError as error:
        found.differences.append(f"{name}: {error}")


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Arrays by name of an npz file; the one of an npy file has no name."""
    loaded = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"": loaded}
    with loaded as archive:
        return {key: archive[key] for key in archive.files}


def _compare_arrays(
    stored: dict[str, NDArray[Any]], rebuilt: dict[str, NDArray[Any]], name: str, found: Comparison
) -> None:
    if set(stored) != set(rebuilt):
        found.differ(name, sorted(stored), sorted(rebuilt))
    for key in sorted(set(stored) & set(rebuilt)):
        where = f"{name}.{key}" if key else name
        shapes = [f"{values[key].dtype} {values[key].shape}" for values in (stored, rebuilt)]
        if shapes[0] != shapes[1]:
            found.differ(where, *shapes)
        elif stored[key].dtype.kind in "iuf":
            _compare_numbers(stored[key], rebuilt[key], where, found)
        elif not np.array_equal(stored[key], rebuilt[key]):
            found.differ(where, stored[key].tolist(), rebuilt[key].tolist())


def _compare_numbers(stored: NDArray[Any], rebuilt: NDArray[Any], where: str, found: Comparison) -> None:
    """Arrays (0-d for a number) of one shape; NaN equals NaN and infinities of one sign each other."""
    both = np.asarray(stored, dtype=float), np.asarray(rebuilt, dtype=float)
    is_same = (both[0] == both[1]) | (np.isnan(both[0]) & np.isnan(both[1]))
    with np.errstate(invalid="ignore"):
        relative = np.abs(both[0] - both[1]) / (np.maximum(*np.abs(both)) + FLOOR)
    relative = np.where(is_same, 0.0, np.where(np.isfinite(relative), relative, np.inf))
    if relative.size == 0:
        return
    found.largest = max(found.largest, float(relative.max()))
    if relative.max() > TOLERANCE:
        worst = np.unravel_index(int(relative.argmax()), relative.shape)
        place = f"[{', '.join(map(str, worst))}]" if worst else ""
        found.differ(f"{where}{place}", both[0][worst].item(), both[1][worst].item())


def _compare_text(stored: str, rebuilt: str, where: str, found: Comparison) -> None:
    """Equal but for the last digits of the numbers in it."""
    if stored == rebuilt:
        return
    numbers = [np.array([float(text) for text in NUMBER.findall(content)]) for content in (stored, rebuilt)]
    if NUMBER.split(stored) != NUMBER.split(rebuilt):
        line = _first_difference(stored.splitlines(), rebuilt.splitlines())
        found.differ(f"{where}, line {line + 1}" if "\n" in stored else where, *_lines(stored, rebuilt, line))
        return
    _compare_numbers(numbers[0], numbers[1], f"{where}, number", found)


def _first_difference(stored: Sequence[str], rebuilt: Sequence[str]) -> int:
    """Index of the first of two lists' lines, or two lines' characters, that differ."""
    equal = [first == second for first, second in zip(stored, rebuilt, strict=False)]
    return equal.index(False) if False in equal else len(equal)


def _lines(stored: str, rebuilt: str, number: int) -> tuple[str, str]:
    """The two lines, from shortly before the place where they differ."""
    first, second = ("".join(text.splitlines()[number : number + 1]) or "nothing" for text in (stored, rebuilt))
    place = max(0, _first_difference(first, second) - CONTEXT)
    return (first, second) if place == 0 else (f"...{first[place:]}", f"...{second[place:]}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."

"""Comparing what was made anew with what is stored: what counts as equal, and what is found."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from aiida import orm
from fixtures import configuration, label_of, rutile_atoms
from PIL import Image

from aiida_slhmc.audit.comparison import MAX_SPELT_OUT, TOLERANCE, Comparison, compare_nodes, compare_values
from aiida_slhmc.data.dataset import DatasetData


def compared(stored: Any, rebuilt: Any) -> Comparison:
    found = Comparison()
    compare_values(stored, rebuilt, "", found)
    return found


@pytest.mark.parametrize(
    ("stored", "rebuilt"),
    [
        (1.0, 1.0),
        (1, 1.0),
        (float("nan"), float("nan")),
        (1e-14, -2e-14),
        (-88.645815918697, -88.6458159186971),
        ({"a": [1.0, None, "b", True]}, {"a": [1.0 + 1e-12, None, "b", True]}),
        ("3 → 4 steps, 0.30800000000001 Å²", "3 → 4 steps, 0.30800000000002 Å²"),
    ],
)
def test_equal(stored: Any, rebuilt: Any) -> None:
    """Fails where the last bits of another processor count as a difference."""
    found = compared(stored, rebuilt)
    assert found.differences == []
    assert found.largest < TOLERANCE


@pytest.mark.parametrize(
    ("stored", "rebuilt", "where"),
    [
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.0 * (1 + 1e-8)]}, "a[1]: stored 2.0, rebuilt 2.00000002"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b: stored 1, rebuilt nothing"),
        ({"a": {}}, {"a": {"b": 1}}, "a.b: stored nothing, rebuilt 1"),
        ([1.0], [1.0, 2.0], ": stored [1.0], rebuilt [1.0, 2.0]"),
        (None, 0, ": stored None, rebuilt 0"),
        (True, 1, ": stored True, rebuilt 1"),
        (True, False, ": stored True, rebuilt False"),
        (float("nan"), 1.0, ": stored nan, rebuilt 1.0"),
        (float("inf"), -float("inf"), ": stored inf, rebuilt -inf"),
        ("3 → 4 steps", "3 → 5 steps", ", number[1]: stored 4.0, rebuilt 5.0"),
        ("up", "down", ": stored up, rebuilt down"),
        ("a\nb 1\n", "a\nc 1\n", ", line 2: stored b 1, rebuilt c 1"),
        ("a\n", "a\nb\n", ", line 2: stored nothing, rebuilt b"),
    ],
)
def test_different(stored: Any, rebuilt: Any, where: str) -> None:
    """Fails where something else than noise passes, or it is not said where it is."""
    assert compared(stored, rebuilt).differences == [where]


def test_largest_difference_is_reported() -> None:
    """Fails where a comparison that passes does not say how well."""
    assert compared([1.0, 3.0], [1.0, 3.0 * (1 + 5e-11)]).largest == pytest.approx(5e-11, rel=1e-3)


@pytest.mark.usefixtures("aiida_profile")
class TestNodes:
    """Whole nodes, the first of each pair stored."""

    def test_storing_changes_nothing(self) -> None:
        """Fails where rounding to 14 digits, or a tuple that became a list, counts as a difference."""
        content = {"a": 1 / 3, "b": (1, 2), "c": np.float64(0.1), "d": {"e": [np.int64(3)]}}
        assert compare_nodes(orm.Dict(content).store(), orm.Dict(content)).differences == []

    def test_type(self) -> None:
        assert compare_nodes(orm.Int(1).store(), orm.Float(1.0)).differences[0].startswith("type: ")

    def test_arrays(self) -> None:
        values = np.arange(12.0).reshape(4, 3)
        stored = orm.ArrayData({"energy": values, "accepted": values > 5}).store()
        assert compare_nodes(stored, orm.ArrayData({"energy": values, "accepted": values > 5})).differences == []
        changed = values.copy()
        changed[2, 1] += 1e-6
        (difference,) = compare_nodes(stored, orm.ArrayData({"energy": changed, "accepted": values > 5})).differences
        assert difference == "energy.npy[2, 1]: stored 7.0, rebuilt 7.000001"
        (difference,) = compare_nodes(stored, orm.ArrayData({"energy": values, "accepted": values > 6})).differences
        assert difference.startswith("accepted.npy: ")
        fewer = compare_nodes(stored, orm.ArrayData({"energy": values})).differences
        assert any(text.startswith("files: ") for text in fewer)

    def test_configurations(self) -> None:
        """Fails where a label's arrays are not looked at, only what is in the attributes."""
        atoms = rutile_atoms(seed=1)
        label = label_of(atoms)
        stored = configuration(atoms, label).store()
        assert compare_nodes(stored, configuration(atoms, label)).differences == []
        forces = label["forces"].copy()
        forces[1, 2] += 1e-7  # not the largest
        (difference,) = compare_nodes(stored, configuration(atoms, label | {"forces": forces})).differences
        assert difference.startswith("configuration.npz.forces[1, 2]: ")

    def test_many_differences_are_counted(self) -> None:
        values = {f"key_{k:02d}": k for k in range(20)}
        found = compare_nodes(orm.Dict(values).store(), orm.Dict(dict.fromkeys(values, -1))).differences
        assert len(found) == MAX_SPELT_OUT + 1
        assert found[-1] == "and 15 more"

    def test_folders(self) -> None:
        """Fails where the files of tables are compared by their names only."""
        stored = folder({"table.csv": b"a,b\n1.0,2.0\n", "sub/numbers.json": b'{"x": 1.5}'}).store()
        assert not compare_nodes(
            stored, folder({"table.csv": b"a,b\n1.0,2.0000000000001\n", "sub/numbers.json": b'{"x":1.5}'})
        ).differences
        (difference,) = compare_nodes(
            stored, folder({"table.csv": b"a,b\n1.0,2.0\n", "sub/numbers.json": b'{"x": 1.6}'})
        ).differences
        assert difference == "sub/numbers.json.x: stored 1.5, rebuilt 1.6"
        (difference,) = compare_nodes(folder({"bytes": b"\xff"}).store(), folder({"bytes": b"\xfe"})).differences
        assert "other bytes" in difference

    def test_blocks_from_the_cache(self) -> None:
        """Fails where a copy is blamed for naming the nodes of the run it is from, or where its labels may differ."""
        atoms = rutile_atoms(seed=1)
        nodes = [configuration(atoms, label_of(atoms)).store() for _ in range(2)]
        stored, rebuilt = (DatasetData(configurations=[node]) for node in nodes)
        assert not compare_nodes(stored.store(), rebuilt, is_from_cache=True).differences
        (difference,) = compare_nodes(stored, rebuilt).differences
        assert nodes[0].uuid in difference
        assert nodes[1].uuid in difference
        label = label_of(atoms)
        other = configuration(atoms, label | {"energy": label["energy"] + 1e-6}).store()
        changed = DatasetData(configurations=[other])
        assert compare_nodes(stored, changed, is_from_cache=True).differences

    def test_one_picture_of_two(self) -> None:
        """Where one is drawn as it was, the other has no excuse. Fails where an altered picture passes."""
        stored = folder({"a.png": png(0), "b.png": png(0)}).store()
        assert not compare_nodes(stored, folder({"a.png": png(1), "b.png": png(0)})).differences, "one step of colour"
        found = compare_nodes(stored, folder({"a.png": png(200), "b.png": png(0)}))
        assert found.differences == ["a.png: 6.2 % of its pixels differ"]
        (difference,) = compare_nodes(stored, folder({"a.png": b"none", "b.png": png(0)})).differences
        assert difference.startswith("a.png: no picture")

    def test_all_pictures(self) -> None:
        """Fails where another version of the program that draws is taken for an alteration, or nothing is said."""
        found = compare_nodes(folder({"a.png": png(0)}).store(), folder({"a.png": png(200)}))
        assert found.differences == []
        assert "another version" in found.notes[0]


def folder(files: dict[str, bytes]) -> orm.FolderData:
    node = orm.FolderData()
    for name, content in files.items():
        node.base.repository.put_object_from_bytes(content, name)
    return node


def png(colour: int) -> bytes:
    """A black picture with one of 16 pixels of this brightness."""
    pixels = np.zeros((4, 4), dtype=np.uint8)
    pixels[1, 2] = colour
    handle = io.BytesIO()
    Image.fromarray(pixels).save(handle, format="PNG")
    return handle.getvalue()

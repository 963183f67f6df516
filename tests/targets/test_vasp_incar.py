"""Reading INCAR tags, and the name of the functional that they ask for."""

from __future__ import annotations

from typing import Any

import pytest

from aiida_slhmc.targets.vasp_incar import flag, functional_name, integer, number, numbers, read_tags


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"gga": "PE"}, "pbe"),
        ({"GGA": "PS"}, "pbesol"),
        ({"gga": "CA"}, "lda"),
        ({"gga": "RP"}, "rpbe"),
        ({"gga": 91}, "pw91"),
        ({"gga": "AM"}, "am05"),
        ({"gga": "B3"}, "b3"),
        ({}, "potcar"),
        ({"metagga": "R2SCAN"}, "r2scan"),
        ({"gga": "PE", "metagga": "SCAN"}, "scan"),
        ({"gga": "PE", "lhfcalc": True, "hfscreen": 0.2}, "hse06"),
        ({"lhfcalc": ".TRUE.", "hfscreen": "0.2", "aexx": 0.25}, "hse06"),
        ({"gga": "PE", "lhfcalc": True}, "pbe-hybrid-0.25-0"),
        ({"gga": "PE", "lhfcalc": True, "hfscreen": 0.2, "aexx": 0.3}, "pbe-hybrid-0.3-0.2"),
        ({"gga": "PS", "lhfcalc": True, "hfscreen": 0.2}, "pbesol-hybrid-0.25-0.2"),
        ({"gga": "PE", "lhfcalc": ".FALSE."}, "pbe"),
        ({"gga": "PE", "ldau": True}, "pbe+u"),
        ({"gga": "PE", "ldau": True, "ldauu": [3.0, 0]}, "pbe+u(3,0)"),
        ({"gga": "PE", "ldau": True, "ldauu": "5 0", "ldauj": "1 0", "ldautype": 1}, "pbe+u(5,0)j(1,0)type1"),
        ({"gga": "PE", "ivdw": 12}, "pbe+ivdw=12"),
        ({"metagga": "LIBXC", "libxc1": "MGGA_X_R2SCAN"}, "libxc+libxc1=mgga_x_r2scan"),
    ],
)
def test_functional_name(tags: dict[str, Any], name: str) -> None:
    """Fails where two functionals have one name: blocks of both could then be trained on together."""
    assert functional_name(tags) == name


def test_what_is_none_is_not_set() -> None:
    """Fails where a tag that a user removes with ``null`` still counts: aiida-vasp does not write it."""
    assert read_tags({"GGA": None, "ENCUT": 520}) == {"encut": 520}


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (".FALSE.", False), ("T", True), (".f.", False), ("True", True)]
)
def test_logical_values(value: Any, expected: bool) -> None:
    """Fails where the text .FALSE. counts as true."""
    assert flag({"lwave": value}, "lwave") is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [([1, 2.5], [1, 2.5]), ("2*1.0 3*0 -1", [1, 1, 0, 0, 0, -1]), (3, [3]), ("1D-1", [0.1])],
)
def test_lists(value: Any, expected: list[float]) -> None:
    assert numbers({"magmom": value}, "magmom") == expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (flag, 1),
        (flag, "maybe"),
        (number, "many"),
        (number, [1.0]),
        (number, True),
        (number, "nan"),
        (integer, "inf"),
        (integer, 1.5),
        (integer, "1.5"),
    ],
)
def test_wrong_kinds_are_told(read: Any, value: Any) -> None:
    """Fails where a value of the wrong kind passes, or ends in an error that does not name the tag."""
    with pytest.raises(ValueError, match=r"TAG = .* is of the wrong kind"):
        read({"tag": value}, "tag", 0)


@pytest.mark.parametrize("value", ["up down", "x*1", [[1.0], [0.0]], {"Ti": 1}])
def test_wrong_lists_are_told(value: Any) -> None:
    """Fails where a list of the wrong kind passes, or ends in an error that does not name the tag."""
    with pytest.raises(ValueError, match=r"MAGMOM = .* is of the wrong kind"):
        numbers({"magmom": value}, "magmom")

"""VaspTarget: the inputs it makes, and what it and the work chain refuse at submission."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm
from aiida.engine import run

from aiida_slhmc.targets.base import load_target, target_names
from aiida_slhmc.targets.vasp import VaspLabelWorkChain, VaspTarget


def test_found_by_name() -> None:
    assert "vasp" in target_names()
    assert load_target("vasp") is VaspTarget
    assert VaspTarget.get_work_chain() is VaspLabelWorkChain


def test_unknown_target() -> None:
    """Fails where a typing mistake is not answered with what there is."""
    with pytest.raises(ValueError, match=r"no target 'vsap'; installed: .*vasp"):
        load_target("vsap")


@pytest.mark.parametrize(
    ("functional", "expected"),
    [
        ("pbe", {"gga": "PE", "isif": 2, "encut": 520}),
        ("r2scan", {"metagga": "R2SCAN", "lasph": True, "isif": 2}),
        ("hse06", {"lhfcalc": True, "hfscreen": 0.2, "isif": 2}),
    ],
)
def test_inputs_of_each_functional(inputs_of, functional: str, expected: dict[str, Any]) -> None:
    """Fails where a functional's INCAR would be refused, or is another functional's."""
    made = inputs_of(functional=functional)
    tags = made["parameters"].get_dict()
    assert expected.items() <= tags.items()
    assert set(made["potential"]) == {"Ti", "O"}
    assert made["potential"]["Ti"].full_name == "Ti_pv"
    builder = VaspLabelWorkChain.get_builder()
    builder._update(made)  # the ports check as they do at submission
    assert made["options"].get_dict()["withmpi"] is False


def test_own_tags_come_on_top(inputs_of) -> None:
    made = inputs_of(ENCUT=600, nelm=50)
    tags = made["parameters"].get_dict()
    assert (tags["encut"], tags["nelm"]) == (600, 50)
    assert all(key == key.lower() for key in tags)


def _options(**changes: Any) -> dict[str, Any]:
    return {"code": None, "potential_family": "standin-pbe"} | changes


@pytest.mark.parametrize(
    ("functional", "options", "message"),
    [
        ("b3lyp", _options(), "functional must be one of pbe, r2scan, hse06, not 'b3lyp'"),
        ("pbe", _options(incarr={}), r"unknown \['incarr'\]"),
        ("pbe", {"code": None}, r"missing \['potential_family'\]"),
        ("pbe", {}, r"missing \['code', 'potential_family'\]"),
        ("pbe", _options(potential_family="nowhere"), "no POTCARs .*family 'nowhere'.*uploadfamily"),
        ("pbe", _options(potential_mapping={"Ti": "Ti_sv"}), "no POTCARs .*Ti_sv.*uploadfamily"),
    ],
)
def test_wrong_options(structure, family, functional: str, options: dict[str, Any], message: str) -> None:
    """Fails where a wrong option is only found out by VASP, or the message does not say what to do."""
    with pytest.raises(ValueError, match=message):
        VaspTarget.get_inputs(structure=structure, functional=functional, **options)


@pytest.mark.parametrize(
    ("tags", "message"),
    [({"pstress": 10}, "PSTRESS"), ({"nsw": 5}, "NSW"), ({"icharg": 11}, "ICHARG"), ({"nsw": "many"}, "wrong kind")],
)
def test_parameters_are_checked_at_submission(inputs_of, tags: dict[str, Any], message: str) -> None:
    """Fails where labels of another energy surface would only be found out later, or never."""
    with pytest.raises(ValueError, match=message):
        run(VaspLabelWorkChain, **inputs_of(**tags))


@pytest.mark.parametrize(
    "parser_settings",
    [
        {},
        {"energy_type": ["energy_free"], "required_quantity": ["run_status", "total_energies", "forces"]},
        {
            "energy_type": ["energy_extrapolated"],
            "required_quantity": ["run_status", "total_energies", "forces", "stress"],
        },
    ],
)
def test_settings_are_checked_at_submission(inputs_of, parser_settings: dict[str, Any]) -> None:
    """Fails where the parser would not be asked for the free energy, or for all that makes a label."""
    settings = orm.Dict({"parser_settings": parser_settings})
    with pytest.raises(ValueError, match="parser_settings must require"):
        run(VaspLabelWorkChain, **inputs_of() | {"settings": settings})

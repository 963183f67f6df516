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
        ("r2scan", {"metagga": "R2SCAN", "lasph": True, "isif": 2, "encut": 520}),
        ("hse06", {"lhfcalc": True, "hfscreen": 0.2, "aexx": 0.25, "isif": 2, "encut": 520}),
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
        ("pbe", _options(incarr={}), r"no target option 'incarr'; did you mean 'incar'"),
        ("pbe", {"code": None}, r"lacks potential_family"),
        ("pbe", {}, r"lacks code, potential_family"),
        ("pbe", _options(potential_family="nowhere"), "no POTCARs .*family 'nowhere'.*uploadfamily"),
        ("pbe", _options(potential_mapping={"Ti": "Ti_sv"}), "no POTCARs .*Ti_sv.*uploadfamily"),
        ("pbe", _options(potential_mapping={"ti": "Ti_pv"}), "potential_mapping: ti is no element"),
        ("pbe", _options(potential_mapping=["Ti_pv"]), "potential_mapping must be"),
        ("pbe", _options(incar=["ENCUT = 500"]), "incar must be"),
        ("pbe", _options(unsupported_tags="XC"), "unsupported_tags must be a list"),
        ("pbe", _options(options={"max_walclock_seconds": 60}), "options: Unexpected ports .*max_walclock_seconds"),
        ("pbe", _options(options={"max_wallclock_seconds": "1h"}), "options: .*max_wallclock_seconds.*right type"),
    ],
)
def test_wrong_options(structure, family, functional: str, options: dict[str, Any], message: str) -> None:
    """Fails where a wrong option is only found out by VASP, or the message does not say what to do."""
    with pytest.raises(ValueError, match=message):
        VaspTarget.get_inputs(structure=structure, functional=functional, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"incar": {"PSTRESS": 10}}, "PSTRESS"),
        ({"incar": {"ENCTU": 500}}, "did you mean ENCUT"),
        ({"incar": {"nsw": "many"}}, "of the wrong kind"),
        ({"incar": {"ispin": 2, "magmom": [1, 1]}}, "MAGMOM has 2 values instead of 6"),
        ({"hubbard_u": {"V": ["d", 3.0]}}, "V is not in the structure"),
        ({"magnetic_moments": {"Ti": "up"}}, "of the wrong kind"),
        ({"kpoints_mesh": [2, 2]}, "kpoints_mesh takes three whole numbers"),
    ],
)
def test_inconsistent_labels_are_refused_at_once(structure, vasp_code, family, options, message: str) -> None:
    """Fails where inputs are made that cannot give consistent labels."""
    with pytest.raises(ValueError, match=message):
        VaspTarget.get_inputs(structure=structure, functional="pbe", code=vasp_code, potential_family=family, **options)


def test_options_of_the_user(inputs_of) -> None:
    """Fails where k-points, spin, DFT+U, a removed tag or a tag newer than aiida-vasp's list do not arrive."""
    options = {
        "kpoints_mesh": [2, 2, 3],
        "kpoints_offset": [0.0, 0.0, 0.5],
        "magnetic_moments": {"Ti": 1.0},
        "hubbard_u": {"Ti": ["d", 3.0]},
        "unsupported_tags": ["XC"],
    }
    made = inputs_of(options=options, GGA=None, XC="PE", LDAUU=[4.0, 0.0])
    assert made["kpoints"].get_kpoints_mesh() == ([2, 2, 3], [0.0, 0.0, 0.5])
    tags = made["parameters"].get_dict()
    assert "gga" not in tags
    assert (tags["xc"], tags["ispin"], tags["ldau"]) == ("PE", 2, True)
    assert tags["magmom"] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert tags["ldauu"] == [4.0, 0.0], "the user's own tags come last"
    builder = VaspLabelWorkChain.get_builder()
    builder._update(made)


@pytest.mark.parametrize(
    ("options", "tags", "starts_warm"),
    [
        ({}, {}, True),
        ({}, {"lwave": False}, False),
        ({"magnetic_moments": {"Ti": 1.0}}, {}, False),
        ({"hubbard_u": {"Ti": ["d", 3.0]}}, {}, False),
        ({}, {"ispin": 2}, False),
        ({}, {"lsorbit": True}, False),
        ({"magnetic_moments": {"Ti": 1.0}}, {"LWAVE": True}, True),
    ],
)
def test_label_depends_on_the_configuration_alone(inputs_of, options, tags, starts_warm: bool) -> None:
    """Fails where one of several electronic solutions is handed on along the chain, unless the user asks for it."""
    assert inputs_of(options=options, **tags)["parameters"]["lwave"] is starts_warm


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"pstress": 10}, "PSTRESS"),
        ({"icharg": 11}, "ICHARG"),
        ({"nsw": "many"}, "wrong kind"),
        ({"enctu": 1}, "ENCUT"),
    ],
)
def test_parameters_are_checked_at_submission(inputs_of, tags: dict[str, Any], message: str) -> None:
    """Fails where labels of another energy surface would only be found out later, or never."""
    inputs = inputs_of()
    parameters = orm.Dict(inputs["parameters"].get_dict() | tags)
    with pytest.raises(ValueError, match=message):
        run(VaspLabelWorkChain, **inputs | {"parameters": parameters})


def test_settings_are_checked_at_submission(inputs_of) -> None:
    """Fails where the parser would not be asked for all that makes a label."""
    with pytest.raises(ValueError, match="parser_settings must require"):
        run(VaspLabelWorkChain, **inputs_of() | {"settings": orm.Dict({"parser_settings": {}})})


def test_options_are_checked_at_submission(inputs_of) -> None:
    """Fails where a misspelt option of the scheduler costs a label instead of being told."""
    inputs = inputs_of()
    options = orm.Dict(inputs["options"].get_dict() | {"max_walclock_seconds": 60})
    with pytest.raises(ValueError, match="max_walclock_seconds"):
        run(VaspLabelWorkChain, **inputs | {"options": options})

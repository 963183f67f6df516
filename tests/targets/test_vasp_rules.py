"""Rules on INCAR tags: one test for each rule, each with the smallest change that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from aiida_slhmc.targets.vasp_rules import check_known_tags, check_parameters

GOOD_TAGS = {"encut": 520, "ediff": 1e-6, "ismear": 0, "sigma": 0.05, "isym": 0}
HYBRID = {"lhfcalc": True, "hfscreen": 0.2, "aexx": 0.25, "isif": 2}


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"nsw": 0, "isif": 2, "pstress": 0, "icharg": 2, "istart": 0, "ibrion": -1, "ml_lmlff": False},
        {"ediff": 1e-4},
        {"ediff": "1D-7", "lwave": ".FALSE.", "ml_lmlff": ".FALSE."},
        {"isym": -1, "ismear": -1},
        {"icharg": 0},
        HYBRID,
        {"lhfcalc": False},
        HYBRID | {"algo": "D", "time": 0.4},
        {"gga": "PE", "algo": "VeryFast"},
        {"metagga": "R2SCAN", "lasph": True, "gga": None},
        {"lreal": "Auto"},
        {"ispin": 2, "magmom": "2*1.0 4*0.0"},
        {"lsorbit": True, "magmom": [0.0] * 18},
        {"ldau": True, "ldaul": [2, -1], "ldauu": [3.0, 0.0]},
    ],
)
def test_good_parameters_pass(tags: dict[str, Any]) -> None:
    """Fails where a rule refuses what is fine."""
    assert check_parameters(GOOD_TAGS | tags) is None


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ENCUT": 400}, "given twice"),
        # the energy is not that of the configuration alone
        ({"PSTRESS": -1.0}, "PSTRESS"),
        ({"nsw": 1}, "NSW"),
        ({"ibrion": 2}, "IBRION"),
        ({"images": 3}, "IMAGES"),
        ({"isif": 1}, "ISIF < 2"),
        ({"isif": 9}, "ISIF > 8"),
        ({"lhfcalc": True, "aexx": 0.25, "hfscreen": 0.2}, "set ISIF = 2"),
        # no self-consistent ground state
        ({"algo": "None"}, "ALGO must be"),
        ({"algo": "Eigenval"}, "ALGO must be"),
        ({"algo": "Subrot"}, "ALGO must be"),
        ({"algo": "CHI"}, "ALGO must be"),
        ({"algo": "GW0"}, "ALGO must be"),
        ({"ialgo": 48}, "ALGO instead of IALGO"),
        (HYBRID | {"algo": "Fast"}, "does not support ALGO = Fast"),
        (HYBRID | {"algo": "V"}, "does not support ALGO = Fast"),
        ({"icharg": 10}, "ICHARG >= 10"),
        ({"icharg": 11}, "ICHARG >= 10"),
        ({"icharg": 1}, "remove ICHARG"),
        ({"icharg": 4}, "remove ICHARG"),
        ({"istart": 1}, "remove ISTART"),
        ({"ml_lmlff": True}, "ML_LMLFF"),
        ({"skip_scf": True}, "SKIP_SCF"),
        ({"nelm": 1}, "NELM < 4"),
        ({"ediff": 2e-4}, "EDIFF > 1e-4"),
        ({"ediff": 0}, "EDIFF must be positive"),
        # the energy surface would change between cycles
        ({"istart": 2}, "plane waves of an earlier cell"),
        ({"istart": 3}, "plane waves of an earlier cell"),
        ({"enmax": 500}, "ENMAX"),
        ({"ismear": -5}, "with tetrahedra"),
        ({"ismear": -4}, "with tetrahedra"),
        ({"ismear": -2}, "earlier WAVECAR"),
        ({"sigma": 0}, "SIGMA must be positive"),
        ({"kspacing": 0.3}, "follows the cell"),
        ({"kgamma": True}, "follows the cell"),
        ({"isym": 2}, "set ISYM = 0"),
        # another functional than it says, or none
        ({"metagga": "R2SCAN", "lasph": True, "gga": "PE"}, "METAGGA and GGA"),
        ({"metagga": "R2SCAN"}, "LASPH"),
        ({"metagga": "R2SCAN", "lasph": ".FALSE."}, "LASPH"),
        ({"metagga": "MBJ", "lasph": True}, "potentials without an energy"),
        ({"lhfcalc": True, "isif": 2, "aexx": 0.25}, "set AEXX and HFSCREEN"),
        ({"lhfcalc": True, "isif": 2, "hfscreen": 0.2}, "set AEXX and HFSCREEN"),
        ({"ldau": True, "ldauu": [3, 0]}, "set LDAUL and LDAUU"),
        ({"ldauu": [3, 0], "ldaul": [2, -1]}, "without LDAU"),
        ({"magmom": [1.0] * 6}, "MAGMOM needs ISPIN = 2"),
    ],
)
def test_each_bad_tag_is_refused(tags: dict[str, Any], message: str) -> None:
    """Fails where labels could be made that do not belong on one energy surface, or VASP would stop."""
    assert message in (check_parameters(GOOD_TAGS | tags) or "")


@pytest.mark.parametrize(
    ("tag", "message"),
    [("ediff", "set EDIFF"), ("ismear", "ISMEAR"), ("sigma", "SIGMA"), ("encut", "set ENCUT"), ("isym", "set ISYM")],
)
def test_each_missing_tag_is_refused(tag: str, message: str) -> None:
    """Fails where the energy would depend on a default of VASP's."""
    tags = {key: value for key, value in GOOD_TAGS.items() if key != tag}
    assert message in (check_parameters(tags) or "")
    assert message in (check_parameters(tags | {tag: None}) or "")


@pytest.mark.parametrize(
    "tags",
    [
        {"nsw": "many"},
        {"pstress": [0.0]},
        {"ml_lmlff": 1},
        {"lhfcalc": "si"},
        {"lwave": 0},
        {"lcharg": "no"},
        {"nelm": 60.5},
        {"ispin": 2, "magmom": ["up"]},
        {"ldau": True, "ldaul": [2], "ldauu": "U"},
        {"ldau": True, "ldaul": [2], "ldauu": [3], "ldautype": "Dudarev"},
        {"gga": "PE", "aexx": "a quarter", "hfscreen": 0.2, "lhfcalc": True, "isif": 2},
    ],
)
def test_wrong_kinds_are_told(tags: dict[str, Any]) -> None:
    """Fails where a value of the wrong kind passes, or ends in a traceback."""
    assert "of the wrong kind" in (check_parameters(GOOD_TAGS | tags) or "")


def test_all_problems_are_told_at_once() -> None:
    """Fails where a user would have to submit once for each mistake."""
    message = check_parameters(GOOD_TAGS | {"nsw": 5, "pstress": 1, "lwave": "no"}) or ""
    assert [name for name in ("NSW", "PSTRESS", "LWAVE") if name not in message] == []


def test_misspelt_tag() -> None:
    """Fails where a misspelt tag is not answered with the nearest one; without it the same tags pass."""
    assert check_known_tags(GOOD_TAGS, {}) is None
    assert "ENCTU (did you mean ENCUT?)" in (check_known_tags({"ENCTU": 500}, {}) or "")


def test_tags_newer_than_the_list() -> None:
    """Fails where tags that aiida-vasp does not know yet cannot be used, or let others through."""
    settings = {"unsupported_parameters": {"xc": {}}}
    assert "XC" in (check_known_tags({"XC": "R2SCAN"}, {}) or "")
    assert check_known_tags({"XC": "R2SCAN"}, settings) is None
    assert "must be a dictionary" in (check_known_tags({"XC": "R2SCAN"}, {"unsupported_parameters": ["xc"]}) or "")
    assert "ENCTU" in (check_known_tags({"XC": "R2SCAN", "ENCTU": 500}, settings) or "")

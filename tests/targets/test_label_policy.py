"""The label policy of VASP: one test for each rule, each with the smallest change that breaks it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from aiida_slhmc.targets.label_policy import RECOVERABLE_TAGS, check_label
from aiida_slhmc.targets.vasp_incar import functional_name
from aiida_slhmc.targets.vasp_rules import check_parameters

GOOD_TAGS = {"encut": 520, "ediff": 1e-6, "ismear": 0, "sigma": 0.05}


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"nsw": 0, "isif": 2, "pstress": 0, "icharg": 2, "ml_lmlff": False},
        {"ediff": 1e-4},
        {"icharg": 1},
        {"lhfcalc": True, "isif": 2},
        {"lhfcalc": False},
    ],
)
def test_good_parameters_pass(tags: dict[str, Any]) -> None:
    """Fails where a rule refuses what is fine."""
    assert check_parameters(GOOD_TAGS | tags) is None


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ENCUT": 400}, "given twice"),
        ({"pstress": 10}, "PSTRESS"),
        ({"PSTRESS": -1.0}, "PSTRESS"),
        ({"nsw": 1}, "NSW"),
        ({"icharg": 11}, "ICHARG"),
        ({"icharg": 10}, "ICHARG"),
        ({"ml_lmlff": True}, "ML_LMLFF"),
        ({"ediff": 2e-4}, "EDIFF > 1e-4"),
        ({"isif": 1}, "ISIF < 2"),
        ({"lhfcalc": True}, "set ISIF = 2"),
    ],
)
def test_each_bad_tag_is_refused(tags: dict[str, Any], message: str) -> None:
    """Fails where labels could be made that do not belong on one energy surface."""
    assert message in (check_parameters(GOOD_TAGS | tags) or "")


@pytest.mark.parametrize(
    ("tag", "message"), [("ediff", "set EDIFF"), ("ismear", "ISMEAR"), ("sigma", "SIGMA"), ("encut", "set ENCUT")]
)
def test_each_missing_tag_is_refused(tag: str, message: str) -> None:
    """Fails where the energy would depend on a default of VASP's."""
    tags = {key: value for key, value in GOOD_TAGS.items() if key != tag}
    assert message in (check_parameters(tags) or "")


def test_all_problems_are_told_at_once() -> None:
    """Fails where a user would have to submit once for each mistake."""
    message = check_parameters(GOOD_TAGS | {"nsw": 5, "pstress": 1}) or ""
    assert "NSW" in message
    assert "PSTRESS" in message


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
        ({"lhfcalc": True, "hfscreen": 0.2, "aexx": 0.25}, "hse06"),
        ({"gga": "PE", "lhfcalc": True}, "pbe-hybrid-0.25-0"),
        ({"gga": "PE", "lhfcalc": True, "hfscreen": 0.2, "aexx": 0.3}, "pbe-hybrid-0.3-0.2"),
        ({"gga": "PS", "lhfcalc": True, "hfscreen": 0.2}, "pbesol-hybrid-0.25-0.2"),
        ({"gga": "PE", "ldau": True}, "pbe+u"),
    ],
)
def test_functional_name(tags: dict[str, Any], name: str) -> None:
    """Fails where two functionals have one name: blocks of both could then be trained on together."""
    assert functional_name(tags) == name


def test_recoveries_leave_the_energy_surface_alone() -> None:
    """Fails where a tag that moves the energy becomes one that a recovery may change."""
    moving = {"encut", "prec", "ismear", "sigma", "lreal", "gga", "metagga", "ediff", "isym", "ispin", "kspacing"}
    assert not moving & RECOVERABLE_TAGS


@pytest.fixture
def misc() -> dict[str, Any]:
    """What aiida-vasp parses from a good run of two atoms."""
    return {
        "run_status": {
            "finished": True,
            "electronic_converged": True,
            "contains_nelm_breach": False,
            "nelm": 60,
            "last_iteration_index": [1, 14],
        },
        "total_energies": {"energy_free": -10.0, "energy_extrapolated": -9.9},
        "forces": [[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]],
        "stress": np.eye(3).tolist(),
    }


def test_good_label(misc: dict[str, Any]) -> None:
    """The control of the tests below."""
    assert check_label(misc, 2) is None
    misc["run_status"]["last_iteration_index"] = [1, 59]
    assert check_label(misc, 2) is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("run_status", "finished"), False, "did not finish"),
        (("run_status",), {}, "did not finish"),
        (("run_status", "electronic_converged"), False, "did not converge"),
        (("run_status", "contains_nelm_breach"), True, "did not converge"),
        (("total_energies", "energy_free"), None, "missing"),
        (("forces",), None, "missing"),
        (("stress",), None, "missing"),
        (("forces",), [[0.0, 0.0, 0.0]], "wrong shape"),
        (("stress",), [1.0] * 6, "wrong shape"),
        (("total_energies", "energy_free"), float("nan"), "not finite"),
        (("forces", 0, 0), float("inf"), "not finite"),
        (("stress", 2, 2), float("nan"), "not finite"),
    ],
)
def test_each_defect_is_no_label(misc: dict[str, Any], path: tuple[Any, ...], value: Any, message: str) -> None:
    """Fails where a broken output becomes a label."""
    broken = copy.deepcopy(misc)
    part = broken
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert message in (check_label(broken, 2) or "")


def test_nelm_reached_although_vasp_says_ediff_is_reached(misc: dict[str, Any]) -> None:
    """Fails where VASP's word is taken: the last iteration may meet EDIFF by chance."""
    misc["run_status"] |= {"electronic_converged": True, "last_iteration_index": [1, 60]}
    assert "NELM reached" in (check_label(misc, 2) or "")


def test_extrapolated_energy_alone_is_no_label(misc: dict[str, Any]) -> None:
    """Fails where energy(sigma→0) could take the place of the free energy, whose derivatives the forces are."""
    del misc["total_energies"]["energy_free"]
    assert "missing" in (check_label(misc, 2) or "")

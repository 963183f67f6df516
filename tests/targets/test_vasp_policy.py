"""The label policy, line by line: what is a label, and what a recovery may change on the way to one.

The lines about PSTRESS and about what may be set at all are in ``test_vasp_rules``, those about the energy and about
the structure that a label belongs to in ``test_vasp_label``, what becomes of each failure in ``test_vasp_recoveries``.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from aiida_slhmc.targets.label_policy import check_recovery
from aiida_slhmc.targets.vasp_policy import RECOVERABLE_TAGS, changed_tags, check_label, scf_iterations


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
    assert scf_iterations(misc) == 59


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("run_status", "finished"), False, "did not finish"),
        (("run_status",), {}, "did not finish"),
        (("run_status", "electronic_converged"), False, "did not converge"),
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
def test_label_needs_convergence_and_finite_energy_forces_and_stress(
    misc: dict[str, Any], path: tuple[Any, ...], value: Any, message: str
) -> None:
    """Fails where a broken output becomes a label."""
    broken = copy.deepcopy(misc)
    part = broken
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    assert message in (check_label(broken, 2) or "")


@pytest.mark.parametrize("status", [{"last_iteration_index": [1, 60]}, {"contains_nelm_breach": True}])
def test_nelm_reached_is_not_converged_whatever_vasp_prints(misc: dict[str, Any], status: dict[str, Any]) -> None:
    """Fails where VASP's word ("EDIFF is reached") is taken: the last iteration may meet EDIFF by chance."""
    assert misc["run_status"]["electronic_converged"] is True
    misc["run_status"] |= status
    assert "NELM reached" in (check_label(misc, 2) or "")


def test_energy_is_the_free_energy(misc: dict[str, Any]) -> None:
    """Fails where energy(sigma→0) could take the place of the free energy, whose derivatives the forces are."""
    del misc["total_energies"]["energy_free"]
    assert "free energy" in (check_label(misc, 2) or "")


@pytest.mark.parametrize(
    "changes",
    [{"ALGO": "All"}, {"amix": 0.1, "BMIX": 1e-4, "imix": 1}, {"nelm": 300}, {"icharg": 1}, {"time": 0.2}, {}],
)
def test_recovery_may_change_algo_mixing_nelm_and_starting_density(changes: dict[str, Any]) -> None:
    """Fails where a recovery that leaves the energy surface alone is refused."""
    assert check_recovery(changes, RECOVERABLE_TAGS) is None


@pytest.mark.parametrize(
    "tag",
    [
        *("encut", "PREC", "ismear", "sigma", "LREAL", "kspacing", "kgamma"),
        *("gga", "metagga", "lhfcalc", "aexx", "hfscreen", "ldauu", "ivdw", "lasph", "precfock"),
        *("ediff", "isym", "ispin", "magmom", "nbands", "nelect", "addgrid", "ngx", "pstress"),
    ],
)
def test_recovery_may_not_change_what_moves_the_energy(tag: str) -> None:
    """Fails where a tag that moves the energy becomes one that a recovery may change, or may take away."""
    assert tag in (check_recovery({"algo": "All", tag: 1}, RECOVERABLE_TAGS) or "")
    assert tag in (check_recovery({tag: None}, RECOVERABLE_TAGS) or "")


def test_changed_tags() -> None:
    """Fails where a change, an addition or a removal goes unseen, or capitals count as one."""
    asked = {"ENCUT": 520, "algo": "Fast", "gga": "PE", "system": None}
    used = {"encut": 520, "algo": "All", "nelm": 300}
    assert changed_tags(asked, used) == {"algo": "All", "gga": None, "nelm": 300}
    assert changed_tags(asked, asked) == {}

"""What the policy lets pass and what it refuses: namelists, settings, outputs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from aiida_slhmc.targets.quantum_espresso_policy import (
    check_label,
    check_parameters,
    check_settings,
    functional_name,
    merge_parameters,
)

GOOD: dict[str, dict[str, Any]] = {
    "CONTROL": {"calculation": "scf", "tprnfor": True, "tstress": True},
    "SYSTEM": {"ecutwfc": 60, "ecutrho": 480, "input_dft": "pbe", "nosym": True},
    "ELECTRONS": {"conv_thr": 1e-8},
}


def with_changes(namelist: str, **changes: Any) -> dict[str, dict[str, Any]]:
    """Good namelists with *changes* in one of them; None removes a key."""
    return merge_parameters(GOOD, {namelist: changes})


@pytest.mark.parametrize(
    ("namelist", "changes"),
    [
        ("SYSTEM", {}),
        ("SYSTEM", {"ecfixed": 55, "qcutz": 160, "q2sigma": 4}),
        ("SYSTEM", {"occupations": "smearing", "smearing": "gaussian", "degauss": 0.01}),
        ("SYSTEM", {"occupations": "fixed", "nspin": 2}),
        ("ELECTRONS", {"conv_thr": 1e-6, "startingpot": "file", "mixing_beta": 0.2}),
        ("CONTROL", {"restart_mode": "from_scratch", "max_seconds": 100}),
    ],
)
def test_good_parameters(namelist: str, changes: dict[str, Any]) -> None:
    """Fails where the policy stands in the way of usual settings."""
    assert check_parameters(with_changes(namelist, **changes)) is None


def test_small_and_capital_letters() -> None:
    """Fails where a rule is missed because a key has other letters than the plugin's."""
    assert check_parameters({name.lower(): keys for name, keys in GOOD.items()}) is None
    capitals = with_changes("SYSTEM") | {"ELECTRONS": {"CONV_THR": 1e-3}}
    assert "conv_thr" in str(check_parameters(capitals))


@pytest.mark.parametrize(
    ("namelist", "changes", "message"),
    [
        ("CONTROL", {"calculation": "vc-relax"}, "CONTROL.calculation = 'scf'"),
        ("CONTROL", {"calculation": None}, "CONTROL.calculation = 'scf'"),
        ("CONTROL", {"tprnfor": False}, "CONTROL.tprnfor = true"),
        ("CONTROL", {"tstress": None}, "CONTROL.tstress = true"),
        ("CONTROL", {"restart_mode": "restart"}, "remove CONTROL.restart_mode"),
        ("SYSTEM", {"ecutwfc": None}, "set SYSTEM.ecutwfc"),
        ("SYSTEM", {"ecutwfc": float("nan")}, "set SYSTEM.ecutwfc"),
        ("SYSTEM", {"ecutrho": None}, "set SYSTEM.ecutrho"),
        ("SYSTEM", {"input_dft": None}, "set SYSTEM.input_dft"),
        ("SYSTEM", {"input_dft": "HSE"}, "stress of hybrids"),
        ("SYSTEM", {"nosym": None}, "set SYSTEM.nosym = true"),
        ("SYSTEM", {"ecfixed": 25}, "ecfixed, qcutz and q2sigma together"),
        ("SYSTEM", {"occupations": "tetrahedra"}, "use 'fixed' or 'smearing'"),
        ("SYSTEM", {"occupations": "smearing", "degauss": 0.01}, "set SYSTEM.smearing and degauss"),
        ("SYSTEM", {"smearing": "mv", "degauss": 0.01}, "need occupations = 'smearing'"),
        ("ELECTRONS", {"conv_thr": None}, "set ELECTRONS.conv_thr"),
        ("ELECTRONS", {"conv_thr": 1e-5}, "at most 1e-06 Ry"),
        ("ELECTRONS", {"conv_thr": 0.0}, "above 0"),
        ("ELECTRONS", {"conv_thr": float("nan")}, "above 0"),
        ("ELECTRONS", {"scf_must_converge": False}, "remove ELECTRONS.scf_must_converge"),
        ("ELECTRONS", {"electron_maxstep": 0}, "at least 1"),
        ("IONS", {"ion_dynamics": "bfgs"}, "no namelist IONS"),
    ],
)
def test_refused_parameters(namelist: str, changes: dict[str, Any], message: str) -> None:
    """Fails where a rule is lost, or its message does not say what to do."""
    assert message in str(check_parameters(with_changes(namelist, **changes)))


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = str(check_parameters({}))
    assert all(key in message for key in ("calculation", "tprnfor", "ecutwfc", "input_dft", "nosym", "conv_thr"))


def test_namelist_that_is_none() -> None:
    assert "dictionary" in str(check_parameters({"SYSTEM": 60}))  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"GAMMA_ONLY": True, "cmdline": ["-nk", "2"]}, "None"),
        ({"ATOMIC_FORCES": [[0, 0, 1]]}, "not ATOMIC_FORCES"),
        ({"FIXED_COORDS": [[True, True, True]]}, "not FIXED_COORDS"),
        ({"parent_folder_symlink": True}, "overwrite the density"),
        ({"PARENT_FOLDER_SYMLINK": False}, "None"),
    ],
)
def test_settings(settings: dict[str, Any], message: str) -> None:
    """Fails where external forces, or writing into another label's folder, would pass."""
    assert message in str(check_settings(settings))


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ({"input_dft": "pbe"}, "pbe"),
        ({"input_dft": "PZ"}, "lda"),
        ({"input_dft": "lda"}, "lda"),
        ({"input_dft": "pbesol"}, "pbesol"),
        ({"input_dft": "scan"}, "scan"),
        ({"input_dft": "pbe", "vdw_corr": "DFT-D3"}, "pbe-dft-d3"),
        ({"input_dft": "pbe", "lda_plus_u": True}, "pbe+u"),
    ],
)
def test_functional_name(system: dict[str, Any], name: str) -> None:
    assert functional_name({"SYSTEM": system}) == name


def test_merging() -> None:
    """Fails where a namelist is replaced as a whole, a key stays that was to go, or the arguments change."""
    base = copy.deepcopy(GOOD)
    made = merge_parameters(base, {"system": {"ECUTWFC": 80, "nosym": None}})
    assert made["SYSTEM"] == {"ecutwfc": 80, "ecutrho": 480, "input_dft": "pbe"}
    assert made["CONTROL"] == GOOD["CONTROL"]
    assert base == GOOD


OUTPUT = {
    "convergence_info": {"scf_conv": {"convergence_achieved": True, "n_scf_steps": 12}},
    "energy_units": "eV",
    "forces_units": "ev / angstrom",
    "stress_units": "GPascal",
}
FORCES, STRESS = np.ones((6, 3)), np.eye(3)


def test_good_output() -> None:
    assert check_label(OUTPUT, -100.0, FORCES, STRESS, 6) is None


@pytest.mark.parametrize(
    ("changes", "energy", "forces", "stress", "message"),
    [
        ({"convergence_info": {"scf_conv": {"convergence_achieved": False}}}, -1.0, FORCES, STRESS, "not converge"),
        ({"convergence_info": {}}, -1.0, FORCES, STRESS, "not converge"),
        ({}, None, FORCES, STRESS, "missing"),
        ({}, -1.0, None, STRESS, "missing"),
        ({}, -1.0, FORCES, None, "missing"),
        ({}, -1.0, FORCES[:5], STRESS, "wrong shape"),
        ({}, -1.0, FORCES, np.ones(6), "wrong shape"),
        ({}, float("nan"), FORCES, STRESS, "not finite"),
        ({}, -1.0, FORCES * np.inf, STRESS, "not finite"),
        ({}, -1.0, FORCES, STRESS * np.nan, "not finite"),
        ({"energy_units": "Ry"}, -1.0, FORCES, STRESS, "energy_units Ry"),
        ({"stress_units": None}, -1.0, FORCES, STRESS, "stress_units None"),
    ],
)
def test_output_that_is_no_label(changes: dict[str, Any], energy: Any, forces: Any, stress: Any, message: str) -> None:
    """Fails where an unconverged, incomplete or broken output would pass for a label."""
    assert message in str(check_label(OUTPUT | changes, energy, forces, stress, 6))

"""What the label work chain's ports refuse of settings, k-points and tags."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm

from aiida_slhmc.targets.vasp import VaspTarget
from aiida_slhmc.targets.vasp_settings import SETTINGS, validate_inputs, validate_kpoints, validate_settings


def with_parser(**changes: Any) -> dict[str, Any]:
    return SETTINGS | {"parser_settings": SETTINGS["parser_settings"] | changes}


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        SETTINGS | {"ADDITIONAL_RETRIEVE_LIST": ["OSZICAR"], "ALWAYS_STORE": True},
        with_parser(
            include_node=["bands"], required_quantity=[*SETTINGS["parser_settings"]["required_quantity"], "dos"]
        ),
    ],
)
def test_good_settings_pass(aiida_profile, settings: dict[str, Any]) -> None:
    """Fails where a rule refuses what is fine."""
    assert validate_settings(orm.Dict(settings), None) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "parser_settings is missing"),
        ({"parser_settings": {}}, "must require"),
        (with_parser(energy_type=["energy_extrapolated"]), "'energy_free' in energy_type"),
        (with_parser(required_quantity=["run_status", "total_energies", "forces"]), r"must require ['stress']"),
        # aiida-vasp ignores each of these without a word
        (with_parser(required_quantities=["forces"]), "no 'required_quantities'; did you mean 'required_quantity'?"),
        (with_parser(required_quantity=["force"]), "no 'force'; did you mean 'forces'?"),
        (SETTINGS | {"poscar_precison": 16}, "no 'poscar_precison'; did you mean 'poscar_precision'?"),
        # its parser stops on this one
        (with_parser(energy_type="energy_free"), "energy_type"),
        (SETTINGS | {"ALWAYS_STORE": False}, "ALWAYS_STORE"),
        (SETTINGS | {"skip_parameters_validation": True}, "skip_parameters_validation"),
        (with_parser(check_errors=False), "check_errors"),
        ({"parser_settings": SETTINGS["parser_settings"]}, "poscar_precision = 16"),
        (SETTINGS | {"poscar_precision": "full"}, "poscar_precision = 16"),
        (SETTINGS | {"ADDITIONAL_RETRIEVE_LIST": "OSZICAR"}, "must be a list"),
        # large or licensed files
        (SETTINGS | {"ADDITIONAL_RETRIEVE_LIST": ["WAVECAR"]}, "would retrieve WAVECAR"),
        (SETTINGS | {"ADDITIONAL_RETRIEVE_TEMPORARY_LIST": ["CHG*"]}, "would retrieve CHGCAR, CHG"),
        (SETTINGS | {"ADDITIONAL_RETRIEVE_LIST": [["POT*", ".", 0]]}, "would retrieve POTCAR"),
    ],
)
def test_bad_settings_are_refused(aiida_profile, settings: dict[str, Any], message: str) -> None:
    """Fails where a label would lack something, or a mistake be ignored without a word."""
    assert message in (validate_settings(orm.Dict(settings), None) or "")


def kpoints(kind: str) -> orm.KpointsData:
    made = orm.KpointsData()
    if kind == "mesh":
        made.set_kpoints_mesh([2, 2, 3], offset=[0.0, 0.0, 0.5])
    if kind == "list":
        made.set_kpoints([[0, 0, 0], [0.5, 0, 0]], weights=[1.0, 1.0])
    if kind == "path":
        made.set_kpoints([[0, 0, 0], [0.5, 0, 0]], labels=[(0, "GAMMA"), (1, "X")])
    return made


@pytest.mark.parametrize(("kind", "message"), [("mesh", ""), ("list", ""), ("path", "is a path"), ("", "is empty")])
def test_kpoints(aiida_profile, kind: str, message: str) -> None:
    """Fails where a band path could be labelled on, or a mesh or a list could not."""
    found = validate_kpoints(kpoints(kind), None)
    assert (found is None) if not message else (message in (found or ""))


def test_misspelt_tag_is_found_by_both_work_chains(inputs_of) -> None:
    """Fails where a misspelt tag gets past the label work chain, or past a run, which asks ``check_elements``."""
    inputs = inputs_of()
    assert validate_inputs(inputs, None) is None
    assert VaspTarget.check_elements({"Ti", "O"}, inputs) is None
    inputs["parameters"] = orm.Dict(inputs["parameters"].get_dict() | {"enctu": 500})
    assert "ENCUT" in (validate_inputs(inputs, None) or "")
    assert "ENCUT" in (VaspTarget.check_elements({"Ti", "O"}, inputs) or "")
    assert "no POTCAR for Sr" in (VaspTarget.check_elements({"Sr"}, inputs) or "")

"""What the CP2K policy lets pass and what it refuses. Neither CP2K nor aiida-cp2k is needed."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import yaml

from aiida_slhmc.targets.cp2k_policy import SCF, check_parameters, functional_name, kinds_of, merge_parameters

SETTINGS = yaml.safe_load((files("aiida_slhmc.targets") / "cp2k.yaml").read_text())
KINDS = {"FORCE_EVAL": {"SUBSYS": {"KIND": [{"_": "Si", **SETTINGS["kind"]}]}}}
GOOD = merge_parameters(SETTINGS["common"], SETTINGS["functionals"]["pbe"], KINDS)
XC = "FORCE_EVAL/DFT/XC"


def at(path: str, value: Any) -> dict[str, Any]:
    """The good input with *value* at *path*; None removes what is there."""
    nested = value
    for name in reversed(path.split("/")):
        nested = {name: nested}
    return merge_parameters(GOOD, nested)


SMEARING = {"_": "ON", "METHOD": "FERMI_DIRAC", "ELECTRONIC_TEMPERATURE": 1000}


@pytest.mark.parametrize(
    "parameters",
    [
        GOOD,
        at("GLOBAL/PRINT_LEVEL", "MEDIUM"),
        at(f"{SCF}/OT", {"_": "ON"}),
        at(f"{SCF}/EPS_SCF", 1e-6),
        merge_parameters(at(f"{SCF}/SMEAR", SMEARING), {"FORCE_EVAL": {"DFT": {"SCF": {"ADDED_MOS": 10}}}}),
        at("FORCE_EVAL/SUBSYS/CELL", {"CELL_REF": {"ABC": "6 6 6"}}),
        at("FORCE_EVAL/DFT/UKS", True),
    ],
)
def test_good_parameters(parameters: dict[str, Any]) -> None:
    """Fails where the policy stands in the way of usual settings."""
    assert check_parameters(parameters) is None


def test_small_letters() -> None:
    """Fails where a rule is missed because a name has small letters."""
    small = {"force_eval": {"dft": {"scf": {"eps_scf": 1e-3}}}}
    assert "EPS_SCF" in str(check_parameters(merge_parameters(GOOD, small)))
    assert "EPS_SCF" in str(
        check_parameters({"global": GOOD["GLOBAL"], "force_eval": at(f"{SCF}/EPS_SCF", 1)["FORCE_EVAL"]})
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("GLOBAL/RUN_TYPE", "ENERGY", "RUN_TYPE = ENERGY_FORCE"),
        ("GLOBAL/RUN_TYPE", None, "RUN_TYPE = ENERGY_FORCE"),
        ("GLOBAL/PRINT_LEVEL", "SILENT", "SILENT"),
        ("MOTION/CONSTRAINT", {}, "MOTION"),
        ("EXT_RESTART/RESTART_FILE_NAME", "x", "EXT_RESTART"),
        ("FORCE_EVAL", None, "set FORCE_EVAL"),
        ("FORCE_EVAL/METHOD", None, "QUICKSTEP"),
        ("FORCE_EVAL/STRESS_TENSOR", None, "ANALYTICAL"),
        ("FORCE_EVAL/STRESS_TENSOR", "DIAGONAL_ANALYTICAL", "ANALYTICAL"),
        ("FORCE_EVAL/PRINT/FORCES", None, "NDIGITS"),
        ("FORCE_EVAL/PRINT/FORCES/NDIGITS", 6, "NDIGITS"),
        ("FORCE_EVAL/PRINT/STRESS_TENSOR", None, "PRINT/STRESS_TENSOR"),
        ("FORCE_EVAL/PRINT/STRESS_TENSOR/FILENAME", "x", "FILENAME"),
        ("FORCE_EVAL/DFT/MGRID/CUTOFF", None, "CUTOFF"),
        ("FORCE_EVAL/DFT/MGRID/REL_CUTOFF", None, "REL_CUTOFF"),
        ("FORCE_EVAL/DFT/KPOINTS/SCHEME", "MONKHORST-PACK 2 2 2", "kpoints"),
        (XC, None, "XC_FUNCTIONAL"),
        (f"{XC}/XC_FUNCTIONAL/PBE", None, "XC_FUNCTIONAL"),
        (f"{XC}/HF/FRACTION", 0.25, "hybrids"),
        (f"{SCF}/EPS_SCF", None, "EPS_SCF"),
        (f"{SCF}/EPS_SCF", 1e-5, "EPS_SCF"),
        (f"{SCF}/MAX_SCF", 0, "MAX_SCF"),
        (f"{SCF}/IGNORE_CONVERGENCE_FAILURE", True, "IGNORE_CONVERGENCE_FAILURE"),
        (f"{SCF}/SMEAR", SMEARING, "ADDED_MOS"),
        (f"{SCF}/SMEAR", {"_": "ON"}, "ELECTRONIC_TEMPERATURE"),
        (f"{SCF}/SMEAR", {"METHOD": "ENERGY_WINDOW"}, "FERMI_DIRAC"),
        ("FORCE_EVAL/SUBSYS/CELL/ABC", "5 5 5", "CELL/ABC"),
        ("FORCE_EVAL/SUBSYS/CELL/PERIODIC", "XY", "PERIODIC"),
        ("FORCE_EVAL/SUBSYS/COORD", {"SI": "0 0 0"}, "COORD"),
        ("FORCE_EVAL/SUBSYS/TOPOLOGY/COORD_FILE_NAME", "x.xyz", "TOPOLOGY"),
        ("FORCE_EVAL/SUBSYS/KIND", None, "KIND"),
        ("FORCE_EVAL/SUBSYS/KIND", [{"_": "Si", "POTENTIAL": "GTH-PBE"}], "BASIS_SET"),
    ],
)
def test_refused_parameters(path: str, value: Any, message: str) -> None:
    """Fails where settings pass that change the surface, hide the result, or label another structure."""
    assert message in str(check_parameters(at(path, value)))


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("GLOBAL/PROJECT", "x", "pbe"),
        (f"{XC}/XC_FUNCTIONAL/PBE/PARAMETRIZATION", "PBESOL", "pbesol"),
        (f"{XC}/XC_FUNCTIONAL", {"PBE": None, "MGGA_X_R2SCAN": {}, "MGGA_C_R2SCAN": {}}, "r2scan"),
        (f"{XC}/XC_FUNCTIONAL", {"PBE": None, "GGA_X_RPBE": {}, "GGA_C_PBE": {}}, "gga_c_pbe+gga_x_rpbe"),
        (f"{XC}/XC_FUNCTIONAL", {"PBE": None, "_": "pbe"}, "pbe"),
        (f"{XC}/VDW_POTENTIAL/POTENTIAL_TYPE", "PAIR_POTENTIAL", "pbe-vdw"),
        ("FORCE_EVAL/SUBSYS/KIND", [{"_": "Ti", "DFT_PLUS_U": {"L": 2}}], "pbe+u"),
    ],
)
def test_functional_name(path: str, value: Any, name: str) -> None:
    """Fails where labels of two functionals would have one name."""
    assert functional_name(at(path, value)) == name


def test_one_kind_is_found_without_a_list() -> None:
    kind = {"_": "Si", "BASIS_SET": "x"}
    assert kinds_of(at("FORCE_EVAL/SUBSYS", None)) == {}
    assert kinds_of({"FORCE_EVAL": {"SUBSYS": {"KIND": kind}}}) == {"Si": kind}

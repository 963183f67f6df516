"""The label policy for CP2K: what may be set, what a recovery may change, and when an output is a label.

Labels of one run must all come from the same potential energy surface: one label with another cutoff, basis or
functional spoils the chain and the training set alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_slhmc.targets.cp2k_output import Cp2kOutput
from aiida_slhmc.targets.label_policy import check_numbers

__all__ = (
    "RECOVERABLE_KEYS",
    "SCF",
    "check_label",
    "check_parameters",
    "functional_name",
    "kinds_of",
    "merge_parameters",
    "value_at",
)

SCF = "FORCE_EVAL/DFT/SCF"
# below SCF: the way to the ground state, not the state
RECOVERABLE_KEYS = frozenset(
    {"MAX_SCF", "SCF_GUESS", "MIXING/METHOD", "MIXING/ALPHA", "MIXING/BETA", "MIXING/NBROYDEN", "OUTER_SCF/MAX_SCF"}
)
# largest change of an element of the density matrix; forces err by some 10 meV/Å where this is 1e-5
COARSEST_CONVERGENCE = 1e-6
# of printed forces: 1e-8 hartree/bohr are 0.5 µeV/Å
FEWEST_DIGITS = 8

_NAMES = {("PBE",): "pbe", ("MGGA_C_R2SCAN", "MGGA_X_R2SCAN"): "r2scan", ("PADE",): "lda", ("BLYP",): "blyp"}


def check_parameters(parameters: Mapping[str, Any]) -> str | None:
    """Why these sections and keywords of CP2K's input cannot give consistent labels, or None if they can."""
    given = merge_parameters(parameters)
    if not isinstance(given.get("FORCE_EVAL"), dict):
        return "set FORCE_EVAL, one section; a label has one way to compute it"
    rules = [*_single_point(given), *_printing(given), *_method(given), *_convergence(given), *_structure(given)]
    return "; ".join(message for is_broken, message in rules if is_broken) or None


def merge_parameters(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The layers on each other, key by key; names in capitals, as the plugin wants them. None removes a key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            key = str(name).upper()
            if isinstance(value, Mapping):
                before = merged.get(key)
                merged[key] = merge_parameters(before if isinstance(before, dict) else {}, value)
            elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
                merged[key] = [merge_parameters(entry) for entry in value]
            elif value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
    return merged


def value_at(parameters: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """What is at *path*, names in capitals separated by slashes."""
    found: Any = parameters
    for name in path.split("/"):
        if not isinstance(found, Mapping) or name not in found:
            return default
        found = found[name]
    return found


def kinds_of(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The KIND sections by their names."""
    kinds = value_at(merge_parameters(parameters), "FORCE_EVAL/SUBSYS/KIND", [])
    return {str(kind.get("_")): kind for kind in ([kinds] if isinstance(kinds, dict) else kinds)}


def functional_name(parameters: Mapping[str, Any]) -> str:
    """A name of the functional that the input asks for, as queries and data sets use it."""
    given = merge_parameters(parameters)
    asked = value_at(given, "FORCE_EVAL/DFT/XC/XC_FUNCTIONAL", {})
    parts = {name: keys for name, keys in asked.items() if name != "_"}
    shortcut = str(asked.get("_", "")).upper()
    names = tuple(sorted(parts)) or (shortcut,)
    name = _NAMES.get(names, "+".join(names).lower())
    variant = str(value_at(parts, "PBE/PARAMETRIZATION", "ORIG")).lower()
    name = variant if name == "pbe" and variant != "orig" else name
    if value_at(given, "FORCE_EVAL/DFT/XC/VDW_POTENTIAL"):
        name += "-vdw"
    return name + ("+u" if any("DFT_PLUS_U" in kind for kind in kinds_of(given).values()) else "")


def check_label(output: Cp2kOutput, n_atoms: int) -> str | None:
    """Why the output is not a label, or None if it is one."""
    if not output.is_complete:
        return "CP2K did not come to its end"
    if not output.is_converged:
        return "the electronic self-consistency did not converge"
    return check_numbers(output.energy, output.forces, output.stress, n_atoms)


Rules = list[tuple[bool, str]]


def _single_point(given: dict[str, Any]) -> Rules:
    others = sorted(set(given) - {"GLOBAL", "FORCE_EVAL"})
    run_type = str(value_at(given, "GLOBAL/RUN_TYPE")).upper()
    stress = str(value_at(given, "FORCE_EVAL/STRESS_TENSOR")).upper()
    return [
        (bool(others), f"a label is a single point, which has no section {', '.join(others)}; remove it"),
        (run_type != "ENERGY_FORCE", "set GLOBAL/RUN_TYPE = ENERGY_FORCE; a label is a single point"),
        (stress != "ANALYTICAL", "set FORCE_EVAL/STRESS_TENSOR = ANALYTICAL; a label has a stress"),
    ]


def _printing(given: dict[str, Any]) -> Rules:
    forces, stress = (value_at(given, f"FORCE_EVAL/PRINT/{name}") for name in ("FORCES", "STRESS_TENSOR"))
    is_silent = str(value_at(given, "GLOBAL/PRINT_LEVEL", "LOW")).upper() == "SILENT"
    elsewhere = any("FILENAME" in section for section in (forces, stress) if isinstance(section, dict))
    digits = int(forces.get("NDIGITS", 0)) if isinstance(forces, dict) else 0
    return [
        (
            digits < FEWEST_DIGITS,
            f"set FORCE_EVAL/PRINT/FORCES with NDIGITS of {FEWEST_DIGITS} or more; forces are read off the output",
        ),
        (stress is None, "set FORCE_EVAL/PRINT/STRESS_TENSOR; the stress is read off the output"),
        (elsewhere, "remove FILENAME from FORCE_EVAL/PRINT; forces and stress are read off the main output"),
        (is_silent, "GLOBAL/PRINT_LEVEL = SILENT hides whether the self-consistency converged"),
    ]


def _method(given: dict[str, Any]) -> Rules:
    method = str(value_at(given, "FORCE_EVAL/METHOD")).upper()
    functional = value_at(given, "FORCE_EVAL/DFT/XC/XC_FUNCTIONAL")
    smearing = value_at(given, f"{SCF}/SMEAR")
    is_smeared = isinstance(smearing, dict) and str(smearing.get("_", "ON")).upper() not in ("OFF", "F", "FALSE")
    is_fermi = is_smeared and str(smearing.get("METHOD", "FERMI_DIRAC")).upper() == "FERMI_DIRAC"
    return [
        (method not in ("QS", "QUICKSTEP"), "set FORCE_EVAL/METHOD = QUICKSTEP; CP2K's default is a force field"),
        (
            any(value_at(given, f"FORCE_EVAL/DFT/MGRID/{name}") is None for name in ("CUTOFF", "REL_CUTOFF")),
            "set CUTOFF and REL_CUTOFF in FORCE_EVAL/DFT/MGRID, in Ry; the energy depends on both",
        ),
        (
            not isinstance(functional, dict) or not functional,
            "set FORCE_EVAL/DFT/XC/XC_FUNCTIONAL, a section; labels carry the functional's name",
        ),
        (
            value_at(given, "FORCE_EVAL/DFT/XC/HF") is not None,
            "FORCE_EVAL/DFT/XC/HF: labels carry the functional's name, and hybrids are none of the known",
        ),
        (
            is_smeared and not is_fermi,
            f"{SCF}/SMEAR/METHOD: only FERMI_DIRAC is tested; forces have to derive from the printed energy",
        ),
        (
            is_fermi and not ("ELECTRONIC_TEMPERATURE" in smearing and value_at(given, f"{SCF}/ADDED_MOS")),
            f"set {SCF}/ADDED_MOS and SMEAR/ELECTRONIC_TEMPERATURE; the energy depends on both",
        ),
    ]


def _convergence(given: dict[str, Any]) -> Rules:
    threshold = value_at(given, f"{SCF}/EPS_SCF")
    return [
        (
            threshold is None or not 0 < float(threshold) <= COARSEST_CONVERGENCE,
            f"set {SCF}/EPS_SCF above 0 and at most {COARSEST_CONVERGENCE:g}; 1e-7 is usual",
        ),
        (
            value_at(given, f"{SCF}/IGNORE_CONVERGENCE_FAILURE") is not None,
            f"remove {SCF}/IGNORE_CONVERGENCE_FAILURE; an energy that did not converge is no label",
        ),
        (int(value_at(given, f"{SCF}/MAX_SCF", 50)) < 1, f"{SCF}/MAX_SCF must be at least 1"),
    ]


def _structure(given: dict[str, Any]) -> Rules:
    """The plugin writes cell, coordinates and k-points, but where the parameters have some, those win."""
    cell = value_at(given, "FORCE_EVAL/SUBSYS/CELL", {})
    own = sorted({"COORD", "TOPOLOGY"} & set(value_at(given, "FORCE_EVAL/SUBSYS", {})))
    own += sorted(f"CELL/{name}" for name in set(cell) - {"CELL_REF", "PERIODIC"})
    kinds = kinds_of(given)
    incomplete = sorted(name for name, kind in kinds.items() if not {"BASIS_SET", "POTENTIAL"} <= set(kind))
    return [
        (bool(own), f"remove {', '.join(own)} from FORCE_EVAL/SUBSYS; each label has its own structure"),
        (str(cell.get("PERIODIC", "XYZ")).upper() != "XYZ", "CELL/PERIODIC must be XYZ; a label has a stress"),
        (
            value_at(given, "FORCE_EVAL/DFT/KPOINTS") is not None,
            "remove FORCE_EVAL/DFT/KPOINTS; the mesh is the input `kpoints`",
        ),
        (not kinds, "set FORCE_EVAL/SUBSYS/KIND, a list with one section for each element"),
        (bool(incomplete), f"set BASIS_SET and POTENTIAL of KIND {', '.join(incomplete)}"),
    ]

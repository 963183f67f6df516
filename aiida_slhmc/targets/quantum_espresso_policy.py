"""The label policy for Quantum ESPRESSO: what may be set, what a recovery may change, and when an output is a label.

Labels of one run must all come from the same potential energy surface: one label with another cutoff, smearing or
functional spoils the chain and the training set alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from aiida_slhmc.targets.label_policy import check_numbers

__all__ = (
    "RECOVERABLE_KEYS",
    "check_label",
    "check_parameters",
    "check_settings",
    "functional_name",
    "merge_parameters",
    "starts_from_files",
)

Parameters = dict[str, dict[str, Any]]

NAMELISTS = ("CONTROL", "SYSTEM", "ELECTRONS")
# keys of ELECTRONS that move the energy by no more than its convergence: the way to the ground state, not the state
RECOVERABLE_KEYS = frozenset(
    {
        "electron_maxstep",
        "mixing_mode",
        "mixing_beta",
        "mixing_ndim",
        "diagonalization",
        "diago_cg_maxiter",
        "diago_david_ndim",
        "diago_full_acc",
        "startingpot",
        "startingwfc",
    }
)
# Ry, of the whole cell: 1e-6 Ry is 14 µeV, a two-thousandth of kT at room temperature, but forces err by its root
COARSEST_CONVERGENCE = 1e-6
# settings of PwCalculation that leave the Hamiltonian alone
HARMLESS_SETTINGS = frozenset({"CMDLINE", "GAMMA_ONLY", "NO_BANDS", "PARENT_FOLDER_SYMLINK", "PARSER_OPTIONS"})

_SMOOTHING = ("ecfixed", "qcutz", "q2sigma")
_HYBRIDS = ("hse", "pbe0", "b3lyp", "b86bpbex", "bhahlyp", "gaup", "hf", "vdw-df-c6", "x3lyp")
_NAMES = {"lda": "lda", "pz": "lda", "pbe": "pbe", "pbesol": "pbesol", "rev-pbe": "revpbe", "rpbe": "rpbe"}


def check_parameters(parameters: Parameters) -> str | None:
    """Why these namelists cannot give consistent labels, or None if they can.

    :param parameters: ``{"CONTROL": {...}, "SYSTEM": {...}, "ELECTRONS": {...}}``, in capitals or not.
    """
    unknown = sorted(str(name) for name in parameters if str(name).upper() not in NAMELISTS)
    if unknown:
        return f"a label is a single point, which has no namelist {', '.join(unknown)}; remove it"
    if not all(isinstance(namelist, dict) for namelist in parameters.values()):
        return "each namelist must be a dictionary of its keys"
    given = _lower(parameters)
    checks: tuple[tuple[str, Callable[[dict[str, Any]], list[str]]], ...] = (
        ("CONTROL", _control),
        ("SYSTEM", _system),
        ("SYSTEM", _occupations),
        ("ELECTRONS", _electrons),
    )
    return "; ".join(message for name, check in checks for message in check(given[name])) or None


def check_settings(settings: dict[str, Any]) -> str | None:
    """Why these settings of PwCalculation cannot be used for labels, or None if they can."""
    given = {str(key).upper(): value for key, value in settings.items()}
    unknown = sorted(set(given) - HARMLESS_SETTINGS)
    if unknown:
        return f"settings may only be {', '.join(sorted(HARMLESS_SETTINGS))}, not {', '.join(unknown)}"
    if given.get("PARENT_FOLDER_SYMLINK"):
        return "PARENT_FOLDER_SYMLINK would let a label overwrite the density of an earlier one; remove it"
    return None


def functional_name(parameters: Parameters) -> str:
    """A name of the functional that the namelists ask for, as queries and data sets use it."""
    system = _lower(parameters)["SYSTEM"]
    asked = str(system.get("input_dft", "pseudopotentials")).lower()
    name = _NAMES.get(asked, asked)
    if str(system.get("vdw_corr", "none")).lower() != "none":
        name += f"-{str(system['vdw_corr']).lower()}"
    return name + ("+u" if system.get("lda_plus_u") else "")


def merge_parameters(base: Parameters, top: Parameters) -> Parameters:
    """*base* with *top* on it, key by key; namelists in capitals and keys in small letters, as the plugin wants them.

    A key of *top* that is None removes it.
    """
    merged = {name: dict(keys) for name, keys in _lower(base).items()}
    for name, keys in _lower(top).items():
        merged.setdefault(name, {}).update(keys)
    return {name: {key: value for key, value in keys.items() if value is not None} for name, keys in merged.items()}


def starts_from_files(parameters: Parameters) -> bool:
    """Whether pw.x looks for a density or orbitals of an earlier run."""
    electrons = _lower(parameters)["ELECTRONS"]
    return "file" in (electrons.get("startingpot"), electrons.get("startingwfc"))


def check_label(output: dict[str, Any], energy: ArrayLike, forces: ArrayLike, stress: ArrayLike, n: int) -> str | None:
    """Why the parsed output is not a label, or None if it is one.

    :param output: aiida-quantumespresso's ``output_parameters``.
    :param energy: eV; *forces* (n, 3) in eV/Å and *stress* (3, 3) in GPa of the last frame of its trajectory, None
        where they are missing.
    """
    convergence = output.get("convergence_info", {}).get("scf_conv", {})
    if convergence.get("convergence_achieved") is not True:
        return "the electronic self-consistency did not converge"
    problem = check_numbers(energy, forces, stress, n)
    if problem:
        return problem
    units = {"energy_units": "ev", "forces_units": "ev / angstrom", "stress_units": "gpascal"}
    wrong = sorted(key for key, unit in units.items() if str(output.get(key)).lower() != unit)
    return f"the output has {', '.join(f'{key} {output.get(key)}' for key in wrong)}" if wrong else None


def _lower(parameters: Parameters) -> Parameters:
    given: Parameters = {name: {} for name in NAMELISTS}
    for name, keys in parameters.items():
        given.setdefault(str(name).upper(), {}).update({str(key).lower(): value for key, value in keys.items()})
    return given


def _broken(rules: tuple[tuple[bool, str], ...]) -> list[str]:
    return [message for is_broken, message in rules if is_broken]


def _control(keys: dict[str, Any]) -> list[str]:
    return _broken(
        (
            (keys.get("calculation") != "scf", "set CONTROL.calculation = 'scf'; a label is a single point"),
            (keys.get("tprnfor") is not True, "set CONTROL.tprnfor = true; a label has forces"),
            (keys.get("tstress") is not True, "set CONTROL.tstress = true; a label has a stress"),
            (
                keys.get("restart_mode", "from_scratch") != "from_scratch",
                "remove CONTROL.restart_mode; a run that goes on from another has a history",
            ),
        )
    )


def _system(keys: dict[str, Any]) -> list[str]:
    functional = str(keys.get("input_dft", "")).lower()
    n_smoothing = sum(float(keys.get(name, 0)) != 0 for name in _SMOOTHING)
    return _broken(
        (
            (not float(keys.get("ecutwfc", 0)) > 0, "set SYSTEM.ecutwfc, in Ry; it depends on the pseudopotentials"),
            (
                not float(keys.get("ecutrho", 0)) > 0,
                "set SYSTEM.ecutrho, in Ry; the default, 4 ecutwfc, is too little for ultrasoft and PAW potentials",
            ),
            (
                not functional,
                "set SYSTEM.input_dft; left out, the functional would be whatever the pseudopotentials were made with",
            ),
            (
                functional in _HYBRIDS,
                f"SYSTEM.input_dft = '{functional}': the stress of hybrids was found wrong in pw.x 6.7",
            ),
            (
                keys.get("nosym") is not True,
                "set SYSTEM.nosym = true; else k-points and forces depend on the symmetry that a configuration has",
            ),
            (
                n_smoothing not in (0, len(_SMOOTHING)),
                "set SYSTEM.ecfixed, qcutz and q2sigma together, or none of them",
            ),
        )
    )


def _occupations(keys: dict[str, Any]) -> list[str]:
    """Rules on the occupations: the forces have to derive from the energy, and everything is said explicitly."""
    occupations = str(keys.get("occupations", "fixed")).lower()
    has_width = {"smearing", "degauss"} & set(keys)
    return _broken(
        (
            (
                occupations not in ("fixed", "smearing"),
                f"SYSTEM.occupations = '{occupations}' is not tested for labels; use 'fixed' or 'smearing'",
            ),
            (
                occupations == "smearing" and len(has_width) < 2,
                "set SYSTEM.smearing and degauss (Ry) with occupations = 'smearing'; the energy depends on both",
            ),
            (
                occupations != "smearing" and bool(has_width),
                "SYSTEM.smearing and degauss need occupations = 'smearing'",
            ),
        )
    )


def _electrons(keys: dict[str, Any]) -> list[str]:
    threshold = float(keys.get("conv_thr", 0))
    return _broken(
        (
            (
                "conv_thr" not in keys,
                "set ELECTRONS.conv_thr, in Ry for the whole cell; the default is too coarse for forces",
            ),
            (
                "conv_thr" in keys and not 0 < threshold <= COARSEST_CONVERGENCE,
                f"ELECTRONS.conv_thr must be above 0 and at most {COARSEST_CONVERGENCE:g} Ry; 1e-8 is usual",
            ),
            (
                keys.get("scf_must_converge", True) is not True,
                "remove ELECTRONS.scf_must_converge; an energy that did not converge is no label",
            ),
            (
                int(keys.get("electron_maxstep", 100)) < 1,
                "ELECTRONS.electron_maxstep must be at least 1; 100 is the default",
            ),
        )
    )

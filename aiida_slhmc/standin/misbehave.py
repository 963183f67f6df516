"""Failures on demand, told by environment variables, so that a workflow's handling of them can be tested.

``VASP_STANDIN_FAILURE`` names one of ``MODES``; ``VASP_STANDIN_FAILURE_FRACTION`` restricts it to that fraction of
configurations, always the same ones; ``VASP_STANDIN_SECONDS`` is the delay of ``slow``.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Callable, Mapping

import numpy as np
from ase import Atoms

from aiida_slhmc.standin.inputs import Incar, InputError

__all__ = ("DELAY", "FAILURE", "FRACTION", "MODES", "applying", "delay", "failure_of", "spoil", "stop_by_kill")

FAILURE = "VASP_STANDIN_FAILURE"
FRACTION = "VASP_STANDIN_FAILURE_FRACTION"
DELAY = "VASP_STANDIN_SECONDS"
MODES: dict[str, str] = {
    "not_converged": "never converges, uses all NELM iterations, and yet says that EDIFF is reached",
    "not_converged_normal": "the same, unless ALGO is Normal or All",
    "nan": "NaN in energies and forces of vasprun.xml",
    "overflow": "Fortran's stars in place of a force in vasprun.xml",
    "truncated": "vasprun.xml ends in the middle of the forces",
    "no_timing": "OUTCAR ends before the timing block",
    "killed": "killed by a signal while iterating: all files partial",
    "no_xml": "vasprun.xml is not there",
    "missing_forces": "no forces in vasprun.xml",
    "missing_stress": "no stress in vasprun.xml",
    "brmix": "VASP's message of a charge density gone wrong on stdout",
    "brmix_normal": "the same, unless ALGO is Normal or All",
    "zhegv": "stops while iterating with VASP's message of a failed diagonalisation, unless ALGO is All or Damped",
    "bad_wavecar": "stops on reading a WAVECAR, as VASP does on a damaged one; succeeds without one",
    "slow": f"sleeps {DELAY} seconds first, then succeeds",
}

# first letters of ALGO with which a mode does not fail, and the mode that it is with others
CURED: dict[str, tuple[str, str]] = {
    "not_converged_normal": ("NA", "not_converged"),
    "brmix_normal": ("NA", "brmix"),
    "zhegv": ("AD", "zhegv"),
}

Files = dict[str, str]


def failure_of(environment: Mapping[str, str], atoms: Atoms) -> str | None:
    """The mode that *environment* wants for *atoms*, or None.

    :raises InputError: if the mode is unknown or the fraction not a number from 0 to 1.
    """
    mode = environment.get(FAILURE, "")
    if not mode:
        return None
    if mode not in MODES:
        raise InputError(f"{FAILURE} = {mode} is none of {', '.join(MODES)}")
    fraction = real(environment, FRACTION, "1.0")
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f"{FRACTION} = {fraction} is not between 0 and 1")
    return mode if draw(atoms) < fraction else None


def real(environment: Mapping[str, str], name: str, default: str) -> float:
    """The number in the variable *name*."""
    try:
        return float(environment.get(name, default))
    except ValueError as error:
        raise InputError(f"{name} = {environment[name]} is not a number") from error


def delay(environment: Mapping[str, str]) -> float:
    """Seconds that ``slow`` sleeps."""
    return real(environment, DELAY, "10")


def draw(atoms: Atoms) -> float:
    """A number in [0, 1) that depends on the positions alone (to 1e-6 Å, so that reading and writing keep it)."""
    rounded = np.round(atoms.positions * 1e6).astype("<i8")
    return int.from_bytes(hashlib.sha256(rounded.tobytes()).digest()[:8], "big") / 2**64


def applying(mode: str | None, incar: Incar, reads_wavecar: bool) -> str | None:
    """What *mode* is with this INCAR and this start: another mode, or None where it does not fail.

    :raises InputError: for a WAVECAR that is to be damaged.
    """
    if mode == "bad_wavecar":
        if reads_wavecar:
            raise InputError("while reading WAVECAR, plane wave coefficients changed")
        return None
    algorithms, failing = CURED.get(mode or "", ("", mode))
    return None if incar.get("ALGO", "Normal").upper()[:1] in algorithms else failing


def replace_numbers(xml: str, pattern: str, value: str, count: int = 0) -> str:
    """Put *value* in place of every number inside the parts of *xml* that match *pattern*."""

    def rewrite(match: re.Match[str]) -> str:
        return re.sub(r"(?<=[\s>])-?\d\S*?(?=[\s<])", value, match.group(0), count=count)

    return re.sub(pattern, rewrite, xml, flags=re.DOTALL)


FORCES = r'  <varray name="forces" >.*?</varray>\n'
STRESS = r'  <varray name="stress" >.*?</varray>\n'


def edit_xml(edit: Callable[[str], str]) -> Callable[[Files], None]:
    """An editor of all files that changes vasprun.xml only."""

    def apply(files: Files) -> None:
        files["vasprun.xml"] = edit(files["vasprun.xml"])

    return apply


def without(pattern: str) -> Callable[[Files], None]:
    """An editor that cuts *pattern* out of vasprun.xml."""
    return edit_xml(lambda xml: re.sub(pattern, "", xml, flags=re.DOTALL))


def cut_in_forces(xml: str) -> str:
    """The part of *xml* up to the middle of the forces."""
    match = re.search(FORCES, xml, re.DOTALL)
    if match is None:
        raise ValueError("no forces to cut in vasprun.xml")
    return xml[: sum(match.span()) // 2]


def drop_timing(files: Files) -> None:
    """End OUTCAR where the timing block would begin."""
    files["OUTCAR"] = files["OUTCAR"].split(" General timing and accounting informations")[0]


def be_killed(files: Files) -> None:
    """Leave of every file what a killed VASP leaves: it has iterated, and not closed anything."""
    files["vasprun.xml"] = files["vasprun.xml"].split("  <structure>")[0]
    files["OUTCAR"] = files["OUTCAR"].split("  FORCE on cell")[0]
    files["OSZICAR"] = "".join(files["OSZICAR"].splitlines(keepends=True)[:-1])
    files["CONTCAR"] = ""
    files["stdout"] = "".join(files["stdout"].splitlines(keepends=True)[:-1])


def drop_xml(files: Files) -> None:
    """Crash as a VASP that has not come to write vasprun.xml."""
    be_killed(files)
    del files["vasprun.xml"]


def complain(files: Files) -> None:
    """Print VASP's message of a charge density gone wrong, in a run that looks complete otherwise."""
    files["stdout"] = " BRMIX: very serious problems\n  the old and the new charge density differ\n" + files["stdout"]


def fail_to_diagonalise(files: Files) -> None:
    """Stop in the middle of iterating, with VASP's message of a failed diagonalisation."""
    be_killed(files)
    files["stdout"] += " Error EDDDAV: Call to ZHEGV failed. Returncode =   8 2  16\n"


EDITORS: dict[str, Callable[[Files], None]] = {
    "nan": edit_xml(lambda xml: replace_numbers(xml, f"{FORCES}|  <energy>.*?</energy>", "NaN")),
    "overflow": edit_xml(lambda xml: replace_numbers(xml, FORCES, "****************", count=1)),
    "truncated": edit_xml(cut_in_forces),
    "no_timing": drop_timing,
    "killed": be_killed,
    "no_xml": drop_xml,
    "missing_forces": without(FORCES),
    "missing_stress": without(STRESS),
    "brmix": complain,
    "zhegv": fail_to_diagonalise,
}


def spoil(mode: str | None, files: Files) -> None:
    """Change the contents of *files* (by name) as *mode* wants."""
    if mode in EDITORS:
        EDITORS[mode](files)


def stop_by_kill() -> None:
    """End this process as the kernel ends one that ran out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)

"""Rules on INCAR tags: everything that would make labels inconsistent between cycles is refused at submission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiida_slhmc.targets.vasp_incar import Tags, flag, integer, number, read_tags

__all__ = ("check_parameters",)

Rule = tuple[Callable[[Tags], bool], str]

SINGLE_POINT: tuple[Rule, ...] = (
    (
        lambda t: number(t, "pstress", 0) != 0,
        "PSTRESS adds P·V to the energy, which would be counted twice; remove it",
    ),
    (
        lambda t: integer(t, "nsw", 0) > 0,
        "NSW > 0 moves the ions; a label is a single point: remove NSW or set it to 0",
    ),
    (lambda t: integer(t, "isif", 2) < 2, "ISIF < 2 gives no stress; set ISIF = 2"),
    (
        lambda t: flag(t, "lhfcalc") and "isif" not in t,
        "set ISIF = 2; with LHFCALC VASP's default gives no stress",
    ),
)
SELF_CONSISTENT: tuple[Rule, ...] = (
    (lambda t: integer(t, "icharg", 2) >= 10, "ICHARG >= 10 is not self-consistent; its energy is not a label"),
    (
        lambda t: flag(t, "ml_lmlff"),
        "ML_LMLFF replaces the functional by VASP's own force field; remove it",
    ),
    (lambda t: "ediff" not in t, "set EDIFF; VASP's default (1e-4 eV) is too coarse for a Metropolis test"),
    (
        lambda t: number(t, "ediff", 1e-6) > 1e-4,
        "EDIFF > 1e-4 eV is too coarse for a Metropolis test; 1e-6 is usual",
    ),
)
ONE_SURFACE: tuple[Rule, ...] = (
    (lambda t: "ismear" not in t or "sigma" not in t, "set ISMEAR and SIGMA; the energy depends on both"),
    (lambda t: "encut" not in t, "set ENCUT; VASP's default depends on the POTCARs and on PREC"),
)


def check_parameters(parameters: dict[str, Any]) -> str | None:
    """Why these INCAR tags cannot give consistent labels, or None if they can."""
    tags = read_tags(parameters)
    problems = []
    if len({str(key).lower() for key in parameters}) != len(parameters):
        problems.append("a tag is given twice, in capitals and in small letters")
    for is_broken, message in (*SINGLE_POINT, *SELF_CONSISTENT, *ONE_SURFACE):
        try:
            if is_broken(tags):
                problems.append(message)
        except ValueError as error:
            problems.append(str(error))
    return "; ".join(dict.fromkeys(problems)) or None

"""Rules on INCAR tags: what would make labels inconsistent between cycles, or VASP stop, is refused at submission.

A rule is a condition and the message for whoever breaks it, which says what to do. LREAL = Auto is allowed: VASP's
manual puts its error at a nearly constant shift of each atom, harmless as long as all calculations have it alike.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from parsevasp.constants import incar_tags

from aiida_slhmc.targets.vasp_incar import Tags, flag, functional_name, integer, number, numbers, read_tags, text

__all__ = ("check_known_tags", "check_parameters")

Rule = tuple[Callable[[Tags], bool], str]

# of VASP, by name or first letter; the others are not self-consistent, or no single point of density functional theory
_DENSITY_MIXING_ONLY = {"f", "fast", "v", "veryfast"}
_ALGORITHMS = {"n", "normal", "a", "all", "c", "conjugate", "d", "damped", *_DENSITY_MIXING_ONLY}
_POTENTIALS_WITHOUT_ENERGY = {"mbj", "mbjl", "lmbj"}

SINGLE_POINT: tuple[Rule, ...] = (
    (lambda t: number(t, "pstress", 0) != 0, "PSTRESS adds P·V to the energy, which would be counted twice; remove it"),
    (
        lambda t: integer(t, "nsw", 0) > 0,
        "NSW > 0 moves the ions; a label is a single point: remove NSW or set it to 0",
    ),
    (lambda t: integer(t, "ibrion", -1) != -1, "IBRION moves the ions; a label is a single point: remove IBRION"),
    (lambda t: "images" in t, "IMAGES makes several structures of one; remove it"),
    (lambda t: integer(t, "isif", 2) < 2, "ISIF < 2 gives no stress; set ISIF = 2"),
    (lambda t: integer(t, "isif", 2) > 8, "VASP knows no ISIF > 8; set ISIF = 2"),
    (lambda t: flag(t, "lhfcalc") and "isif" not in t, "set ISIF = 2; with LHFCALC VASP's default gives no stress"),
)

SELF_CONSISTENT: tuple[Rule, ...] = (
    (
        lambda t: text(t, "algo", "normal") not in _ALGORITHMS,
        "ALGO must be Normal, All, Conjugate, Damped, Fast or VeryFast: others give no self-consistent ground state",
    ),
    (lambda t: "ialgo" in t, "give ALGO instead of IALGO, which would also overrule a recovery's ALGO"),
    (
        lambda t: flag(t, "lhfcalc") and text(t, "algo") in _DENSITY_MIXING_ONLY,
        "VASP does not support ALGO = Fast or VeryFast with LHFCALC, and does not say so; set ALGO = All or Damped",
    ),
    (lambda t: integer(t, "icharg", 2) >= 10, "ICHARG >= 10 is not self-consistent; its energy is not a label"),
    (
        lambda t: integer(t, "icharg", 2) < 10 and integer(t, "icharg", 2) not in (0, 2),
        "remove ICHARG: 1 is set by itself where there is an earlier CHGCAR, which the first label has not",
    ),
    (
        lambda t: integer(t, "istart", 0) == 1,
        "remove ISTART: VASP starts from a WAVECAR that it finds, and the first label has none",
    ),
    (
        lambda t: integer(t, "istart", 0) > 1,
        "ISTART > 1 keeps the plane waves of an earlier cell, so the energy would depend on the chain; remove it",
    ),
    (lambda t: flag(t, "ml_lmlff"), "ML_LMLFF replaces the functional by VASP's own force field; remove it"),
    (lambda t: flag(t, "skip_scf"), "SKIP_SCF leaves out the self-consistency; remove it"),
    (lambda t: integer(t, "nelm", 60) < 4, "NELM < 4 never converges; 60 (VASP's default) or more is usual"),
    (lambda t: "ediff" not in t, "set EDIFF; VASP's default (1e-4 eV) is too coarse for a Metropolis test"),
    (
        lambda t: number(t, "ediff", 1e-6) > 1e-4,
        "EDIFF > 1e-4 eV is too coarse for a Metropolis test; 1e-6 is usual",
    ),
    (lambda t: number(t, "ediff", 1e-6) <= 0, "EDIFF must be positive; 1e-6 is usual"),
)

ONE_SURFACE: tuple[Rule, ...] = (
    (lambda t: "encut" not in t, "set ENCUT; VASP's default depends on the POTCARs and on PREC"),
    (lambda t: "enmax" in t, "ENMAX is another name of ENCUT; keep ENCUT only"),
    (lambda t: "ismear" not in t or "sigma" not in t, "set ISMEAR and SIGMA; the energy depends on both"),
    (
        lambda t: integer(t, "ismear", 0) < -2,
        "ISMEAR < -2: with tetrahedra forces are not the energy's derivatives; set ISMEAR = 0 or -1",
    ),
    (
        lambda t: integer(t, "ismear", 0) == -2,
        "ISMEAR = -2 takes occupations from an earlier WAVECAR; set ISMEAR = 0 or -1",
    ),
    (lambda t: number(t, "sigma", 0.05) <= 0, "SIGMA must be positive; 0.05 eV is usual for an insulator"),
    (
        lambda t: "kspacing" in t or "kgamma" in t,
        "KSPACING and KGAMMA make a k-point mesh that follows the cell; remove them and give kpoints",
    ),
    (
        lambda t: integer(t, "isym", 1) > 0,
        "set ISYM = 0 or -1: configurations have no symmetry, and VASP's default finds one and symmetrises forces",
    ),
)

FUNCTIONAL: tuple[Rule, ...] = (
    (
        lambda t: "metagga" in t and "gga" in t,
        "METAGGA and GGA name two functionals; remove one (as null, where it comes from the protocol)",
    ),
    (lambda t: "metagga" in t and not flag(t, "lasph"), "set LASPH = .TRUE., without which METAGGA's energies are off"),
    (
        lambda t: text(t, "metagga") in _POTENTIALS_WITHOUT_ENERGY,
        "METAGGA = MBJ and its kin are potentials without an energy; take another functional",
    ),
    (
        lambda t: flag(t, "lhfcalc") and not {"aexx", "hfscreen"} <= t.keys(),
        "with LHFCALC set AEXX and HFSCREEN (0.25 and 0.2 for HSE06), which name the hybrid",
    ),
    (
        lambda t: flag(t, "ldau") and not {"ldaul", "ldauu"} <= t.keys(),
        "with LDAU set LDAUL and LDAUU; the option hubbard_u does",
    ),
    (
        lambda t: bool({"ldaul", "ldauu", "ldauj"} & t.keys()) and not flag(t, "ldau"),
        "VASP ignores LDAUL, LDAUU and LDAUJ without LDAU = .TRUE.; the option hubbard_u sets all",
    ),
    (
        lambda t: (
            "magmom" in t and integer(t, "ispin", 1) == 1 and not (flag(t, "lsorbit") or flag(t, "lnoncollinear"))
        ),
        "MAGMOM needs ISPIN = 2; the option magnetic_moments sets both",
    ),
)


def check_parameters(parameters: dict[str, Any]) -> str | None:
    """Why these INCAR tags cannot give consistent labels, or None if they can; all reasons at once."""
    tags = read_tags(parameters)
    problems = [
        message for rule in (*SINGLE_POINT, *SELF_CONSISTENT, *ONE_SURFACE, *FUNCTIONAL) for message in _ask(rule, tags)
    ]
    if len({str(key).lower() for key in parameters}) != len(parameters):
        problems.append("a tag is given twice, in capitals and in small letters")
    problems += _unreadable(tags)
    return "; ".join(dict.fromkeys(problems)) or None


def check_known_tags(parameters: dict[str, Any], settings: dict[str, Any]) -> str | None:
    """Names that are no INCAR tags by aiida-vasp's list nor in ``settings.unsupported_parameters``, or None."""
    extra = settings.get("unsupported_parameters") or {}
    if not isinstance(extra, dict):
        return f"settings.unsupported_parameters must be a dictionary with the tags as keys, not {extra!r}"
    known = {*incar_tags, *(str(tag).lower() for tag in extra)}
    unknown = sorted(read_tags(parameters).keys() - known)
    if not unknown:
        return None
    return (
        f"aiida-vasp knows no INCAR tag {', '.join(_with_nearest(tag, known) for tag in unknown)}; a tag that is newer "
        "than its list goes into the option unsupported_tags (settings.unsupported_parameters)"
    )


def _ask(rule: Rule, tags: Tags) -> list[str]:
    is_broken, message = rule
    try:
        return [message] if is_broken(tags) else []
    except ValueError as error:
        return [str(error)]


def _unreadable(tags: Tags) -> list[str]:
    """What is wrong with the kind of values that are only read later."""
    problems = []
    readers: tuple[Callable[[], Any], ...] = (
        *(partial(flag, tags, tag) for tag in ("lwave", "lcharg")),
        *(partial(numbers, tags, tag) for tag in ("magmom", "ldaul", "ldauu", "ldauj") if tag in tags),
        partial(functional_name, tags),
    )
    for read in readers:
        try:
            read()
        except ValueError as error:
            problems.append(str(error))
    return problems


def _with_nearest(tag: str, known: set[str]) -> str:
    nearest = get_close_matches(tag, sorted(known), n=1)
    return f"{tag.upper()} (did you mean {nearest[0].upper()}?)" if nearest else tag.upper()

"""The label policy for VASP: what may be set, what a recovery may change, and when an output is a label.

Labels of one run must all come from the same potential energy surface: one label with another cutoff, smearing or
functional spoils the chain and the training set alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ("RECOVERABLE_TAGS", "check_label", "check_parameters", "functional_name", "tags_per_site")

# what moves the energy by no more than the electronic convergence: the way to the ground state, not the ground state
RECOVERABLE_TAGS = frozenset(
    {"algo", "nelm", "nelmdl", "amix", "bmix", "amin", "amix_mag", "bmix_mag", "icharg", "istart"}
)

# one value, or three, for each site in POSCAR's order
_TAGS_PER_SITE = frozenset({"magmom", "m_constr"})

_GGA_NAMES = {"pe": "pbe", "ps": "pbesol", "ca": "lda", "rp": "rpbe", "91": "pw91", "am": "am05"}


def check_parameters(parameters: dict[str, Any]) -> str | None:
    """Why these INCAR tags cannot give consistent labels, or None if they can."""
    tags = {str(key).lower(): value for key, value in parameters.items()}
    duplicated = len(tags) != len(parameters)
    rules = (
        (duplicated, "a tag is given twice, in capitals and in small letters"),
        (float(tags.get("pstress", 0)) != 0, "PSTRESS adds P·V to the energy, which would be counted twice; remove it"),
        (int(tags.get("nsw", 0)) > 0, "NSW > 0 moves the ions; a label is a single point: remove NSW or set it to 0"),
        (int(tags.get("icharg", 2)) >= 10, "ICHARG >= 10 is not self-consistent; its energy is not a label"),
        (bool(tags.get("ml_lmlff", False)), "ML_LMLFF replaces the functional by VASP's own force field; remove it"),
        ("ediff" not in tags, "set EDIFF; VASP's default (1e-4 eV) is too coarse for a Metropolis test"),
        (float(tags.get("ediff", 0)) > 1e-4, "EDIFF > 1e-4 eV is too coarse for a Metropolis test; 1e-6 is usual"),
        ("ismear" not in tags or "sigma" not in tags, "set ISMEAR and SIGMA; the energy depends on both"),
        ("encut" not in tags, "set ENCUT; VASP's default depends on the POTCARs and on PREC"),
        (int(tags.get("isif", 2)) < 2, "ISIF < 2 gives no stress; set ISIF = 2"),
        (
            bool(tags.get("lhfcalc", False)) and "isif" not in tags,
            "set ISIF = 2; with LHFCALC VASP's default gives no stress",
        ),
    )
    broken = [message for is_broken, message in rules if is_broken]
    return "; ".join(broken) or None


def functional_name(parameters: dict[str, Any]) -> str:
    """A name of the functional that the INCAR tags ask for, as queries and data sets use it.

    A screened or global hybrid with other than HSE06's numbers is named by its numbers, and a missing GGA tag leaves
    the choice to the POTCARs, which the name says.
    """
    tags = {str(key).lower(): value for key, value in parameters.items()}
    base = _GGA_NAMES.get(str(tags.get("gga", "")).lower(), str(tags.get("gga", "potcar")).lower())
    if tags.get("metagga"):
        base = str(tags["metagga"]).lower()
    if tags.get("lhfcalc"):
        exchange, screening = float(tags.get("aexx", 0.25)), float(tags.get("hfscreen", 0.0))
        if base in ("pbe", "potcar") and (exchange, screening) == (0.25, 0.2):
            return "hse06"
        base = f"{base}-hybrid-{exchange:g}-{screening:g}"
    if tags.get("ldau"):
        base += "+u"
    return base


def tags_per_site(parameters: dict[str, Any]) -> list[str]:
    """The given INCAR tags, in capitals, whose values would belong to other sites after a change of order."""
    return sorted(str(key).upper() for key in parameters if str(key).lower() in _TAGS_PER_SITE)


def check_label(misc: dict[str, Any], n_atoms: int) -> str | None:
    """Why the parsed output (aiida-vasp's ``misc``) is not a label, or None if it is one."""
    status = misc.get("run_status", {})
    if not status.get("finished", False):
        return "the calculation did not finish"
    if not status.get("electronic_converged", False) or _reached_nelm(status):
        return "the electronic self-consistency did not converge (NELM reached)"
    energy = misc.get("total_energies", {}).get("energy_free")
    forces, stress = misc.get("forces"), misc.get("stress")
    if energy is None or forces is None or stress is None:
        return "the free energy, the forces or the stress are missing"
    if np.shape(forces) != (n_atoms, 3) or np.shape(stress) != (3, 3):
        return f"forces or stress have the wrong shape: {np.shape(forces)}, {np.shape(stress)}"
    if not (np.isfinite(energy) and np.all(np.isfinite(forces)) and np.all(np.isfinite(stress))):
        return "the energy, the forces or the stress are not finite"
    return None


def _reached_nelm(status: dict[str, Any]) -> bool:
    """Whether the last electronic loop used all of NELM, even where VASP says that EDIFF is reached."""
    if status.get("contains_nelm_breach"):
        return True
    last = status.get("last_iteration_index")
    return bool(last and status.get("nelm") and last[-1] >= status["nelm"])

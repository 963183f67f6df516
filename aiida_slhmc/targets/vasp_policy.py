"""The label policy for VASP: what a recovery may change, and when an output is a label.

Labels of one run must all come from the same potential energy surface: one label with another cutoff, smearing or
functional spoils the chain and the training set alike. What may be set in the first place is in ``vasp_rules``.
"""

from __future__ import annotations

from typing import Any

from aiida_slhmc.targets.label_policy import check_numbers
from aiida_slhmc.targets.vasp_incar import Tags, read_tags

__all__ = ("RECOVERABLE_TAGS", "changed_tags", "check_label", "scf_iterations")

# what moves the energy by no more than the electronic convergence: the way to the ground state, not the ground state
_ALGORITHM = {"algo", "time", "nelm", "nelmin", "nelmdl"}
_MIXING = {"amix", "bmix", "amin", "amix_mag", "bmix_mag", "imix", "inimix", "maxmix", "mixpre", "wc", "lmixtau"}
_START = {"istart", "icharg", "iniwav"}
RECOVERABLE_TAGS = frozenset(_ALGORITHM | _MIXING | _START)


def changed_tags(asked: dict[str, Any], used: dict[str, Any]) -> Tags:
    """The tags of *used* that are not as in *asked*, in small letters; None for one that is no longer there."""
    before, after = read_tags(asked), read_tags(used)
    return {tag: after.get(tag) for tag in sorted({*before, *after}) if before.get(tag) != after.get(tag)}


def check_label(misc: dict[str, Any], n_atoms: int) -> str | None:
    """Why the parsed output (aiida-vasp's ``misc``) is not a label, or None if it is one."""
    status = misc.get("run_status", {})
    if not status.get("finished", False):
        return "the calculation did not finish"
    if not status.get("electronic_converged", False) or _reached_nelm(status):
        return "the electronic self-consistency did not converge (NELM reached)"
    energy = misc.get("total_energies", {}).get("energy_free")
    return check_numbers(energy, misc.get("forces"), misc.get("stress"), n_atoms)


def scf_iterations(misc: dict[str, Any]) -> int | None:
    """Electronic iterations of the one ionic step, where the output tells them."""
    last = misc.get("run_status", {}).get("last_iteration_index")
    return int(last[-1]) if last else None


def _reached_nelm(status: dict[str, Any]) -> bool:
    """Whether the last electronic loop used all of NELM, even where VASP says that EDIFF is reached."""
    if status.get("contains_nelm_breach"):
        return True
    last = status.get("last_iteration_index")
    return bool(last and status.get("nelm") and last[-1] >= status["nelm"])

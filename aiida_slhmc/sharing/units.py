"""Units of energies, forces and stress by ASE's names, as a file's owner declares them."""

from __future__ import annotations

import re
from typing import NamedTuple

from ase import units

__all__ = ("Units", "parse_unit", "read_units")

# names that everybody writes, for ASE's
SYNONYMS = {"angstrom": "Ang", "hartree": "Hartree", "ha": "Hartree", "rydberg": "Rydberg", "ry": "Ry", "a0": "Bohr"}


class Units(NamedTuple):
    """What one unit of a file's numbers is in eV, eV/Å and eV/Å³."""

    energy: float
    force: float
    stress: float


def read_units(declared: str, stress: str | None = None) -> Units:
    """Factors of a declaration such as ``eV/Angstrom``, ``Ha/Bohr`` or ``kcal/mol/Angstrom``: energy over length.

    :param declared: the unit of the forces; energies are in what comes before its last slash.
    :param stress: the unit of the stress, such as ``GPa``; by default energy over the cube of the length.
    :raises ValueError: for anything else.
    """
    energy, slash, length = declared.rpartition("/")
    if not slash:
        raise ValueError(f"units are those of the forces, such as eV/Angstrom or Ha/Bohr, not '{declared}'")
    in_energy, in_length = parse_unit(energy), parse_unit(length)
    return Units(in_energy, in_energy / in_length, parse_unit(stress) if stress else in_energy / in_length**3)


def parse_unit(text: str) -> float:
    """Value of a unit or of a product or quotient of units with powers, in ASE's units (eV and Å).

    :raises ValueError: for a name that ASE does not have.
    """
    value, sign = 1.0, 1
    for token in re.split(r"([*/])", text.replace(" ", "").replace("**", "^")):
        if token in ("*", "/"):
            sign = 1 if token == "*" else -1
            continue
        match = re.fullmatch(r"([A-Za-z]\w*?)(?:\^?([23]))?", token)
        if match is None:
            raise ValueError(f"'{text}' is no unit; write such as eV, Ha/Bohr, kcal/mol or eV/Angstrom^3")
        value *= _named(match.group(1)) ** (sign * int(match.group(2) or 1))
    return value


def _named(name: str) -> float:
    known = SYNONYMS.get(name.lower(), name)
    value = getattr(units, known, None)
    if not isinstance(value, float | int) or known.startswith("_"):
        raise ValueError(
            f"ASE has no unit '{name}'; it has eV, Hartree, Ry, kcal, kJ, mol, Angstrom, Bohr, GPa and others"
        )
    return float(value)

"""What a label needs, read off CP2K's main output.

There are two layouts of the table of forces, that of CP2K up to 2024 and that of later versions. Readers in other
packages know the older one only, and take the units for granted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from ase.units import Bohr, GPa, Hartree

__all__ = ("Cp2kOutput", "read_output", "says_not_converged")

PRESSURES = {"gpa": GPa, "kbar": 0.1 * GPa, "bar": 1e-4 * GPa}

_CONVERGED = re.compile(r"SCF run converged in\s+(\d+)")
_NOT_CONVERGED = re.compile(r"SCF run NOT converged|SCF loop FAILED to converge")
_ENERGY = re.compile(r"^ ENERGY\| Total FORCE_EVAL .* energy \[(?:a\.u\.|hartree)\]:?\s+(\S+)\s*$", re.MULTILINE)
_FORCES = re.compile(
    r"^\s*ATOMIC FORCES in \[a\.u\.\]$(.*?)^\s*SUM OF ATOMIC FORCES"
    r"|^\s*FORCES\| Atomic forces \[hartree/bohr\]$(.*?)^\s*FORCES\| Sum",
    re.MULTILINE | re.DOTALL,
)
_STRESS = re.compile(r"^ STRESS\| Analytical stress tensor \[(\w+)\]\s*\n.*\n(.*\n.*\n.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Cp2kOutput:
    """One single point: energy in eV, forces (n, 3) in eV/Å, stress (3, 3) in eV/Å³ and positive under tension.

    None stands for what was not printed. The energy is that of the force environment, which the forces derive from;
    with smearing it has the term -TS in it. Elements are None where the table of forces does not name them.
    """

    is_complete: bool
    is_converged: bool
    scf_iterations: int | None
    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None
    elements: list[str] | None = None


def read_output(text: str) -> Cp2kOutput:
    """The only single point in *text*.

    :raises ValueError: where something is there more than once, is cut short, or has an unknown unit.
    """
    energy = _only("energy", _ENERGY.findall(text))
    table = _only("table of forces", [old or new for old, new in _FORCES.findall(text)])
    tensor = _only("stress tensor", _STRESS.findall(text))
    elements, forces = (None, None) if table is None else _read_forces(table)
    converged = _CONVERGED.findall(text)
    return Cp2kOutput(
        is_complete="PROGRAM ENDED AT" in text,
        is_converged=bool(converged) and not says_not_converged(text),
        scf_iterations=int(converged[-1]) if converged else None,
        energy=None if energy is None else float(energy) * Hartree,
        forces=forces,
        stress=None if tensor is None else _read_stress(*tensor),
        elements=elements,
    )


def says_not_converged(text: str) -> bool:
    """Whether CP2K says so. Up to 2023.1 this is no more than a warning, and everything else is printed as usual."""
    # a warning is broken into lines framed with asterisks
    return _NOT_CONVERGED.search(re.sub(r"[\s*]+", " ", text)) is not None


def _only(what: str, found: list[str]) -> str | None:
    """The only one found, or None."""
    if len(found) > 1:
        raise ValueError(f"the output has more than one {what}; a label is a single point")
    return found[0] if found else None


def _read_forces(table: str) -> tuple[list[str] | None, np.ndarray]:
    """Elements, where the table has them, and forces in eV/Å.

    Rows are number, kind, element, x, y, z up to CP2K 2024, and number, x, y, z, norm after it.
    """
    rows = [line.replace("FORCES|", "").split() for line in table.splitlines()]
    rows = [row for row in rows if row and row[0].isdigit()]
    is_old = {len(row) for row in rows} == {6}
    if not is_old and {len(row) for row in rows} != {5}:
        raise ValueError("the table of forces has rows of another length than expected")
    if [int(row[0]) for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("the table of forces leaves out atoms")
    numbers = [row[3:] if is_old else row[1:4] for row in rows]
    return [row[2] for row in rows] if is_old else None, np.array(numbers, dtype=float) * Hartree / Bohr


def _read_stress(unit: str, rows: str) -> np.ndarray:
    """The stress in eV/Å³, positive under tension; CP2K prints it positive under compression."""
    if unit.lower() not in PRESSURES:
        raise ValueError(f"the stress is in {unit}; known are GPa, kbar and bar")
    words = [row.split() for row in rows.splitlines()]
    if [row[:2] for row in words] != [["STRESS|", axis] for axis in "xyz"] or {len(row) for row in words} != {5}:
        raise ValueError("the stress tensor has another layout than expected")
    return -PRESSURES[unit.lower()] * np.array([row[2:] for row in words], dtype=float)

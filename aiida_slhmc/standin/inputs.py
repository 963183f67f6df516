"""Readers of VASP's four input files, as strict as VASP itself.

ASE and pymatgen read these files too, but ``import ase.io.vasp`` takes 0.6 s and ``import pymatgen.io.vasp`` more,
and the stand-in starts once per label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

__all__ = ("Incar", "InputError", "Inputs", "Potcar", "read_inputs")


class InputError(Exception):
    """An input on which the stand-in stops, as VASP stops on a bad one."""


class Incar(dict[str, str]):
    """INCAR tags in upper case and their values as text; the first mention of a tag counts, as in VASP."""

    @classmethod
    def read(cls, path: Path) -> Incar:
        """Read the INCAR at *path*: comments, several tags per line and continued lines included."""
        incar = cls()
        text = re.sub(r"\\[ \t]*\n", " ", read_text(path))
        for line in text.splitlines():
            for statement in re.split(r"[#!]", line)[0].split(";"):
                tag, equals, value = statement.partition("=")
                if equals:
                    incar.setdefault(tag.strip().upper(), value.strip())
        return incar

    def flag(self, tag: str, default: bool) -> bool:
        """Value of a logical *tag*: ``.TRUE.``, ``T``, ``.F.`` and so on."""
        if tag not in self:
            return default
        match = re.match(r"\.?([TF])", self[tag].upper())
        if match is None:
            raise InputError(f"INCAR: {tag} = {self[tag]} is not a logical value")
        return match.group(1) == "T"

    def number(self, tag: str, default: float) -> float:
        """Value of a real *tag*; Fortran's 1D-6 is read too."""
        try:
            return float(self[tag].upper().replace("D", "E")) if tag in self else default
        except ValueError as error:
            raise InputError(f"INCAR: {tag} = {self[tag]} is not a number") from error

    def integer(self, tag: str, default: int) -> int:
        """Value of an integer *tag*."""
        try:
            return int(self[tag]) if tag in self else default
        except ValueError as error:
            raise InputError(f"INCAR: {tag} = {self[tag]} is not an integer") from error


@dataclass(frozen=True)
class Potcar:
    """What the stand-in needs of one data set in POTCAR: element, title, LEXCH and number of valence electrons."""

    element: str
    title: str
    exchange: str
    valence: float


@dataclass(frozen=True)
class Inputs:
    """The four input files of a folder, checked against each other."""

    incar: Incar
    atoms: Atoms
    groups: tuple[tuple[str, int], ...]  # POSCAR's species and their numbers of atoms, in its order
    potcars: tuple[Potcar, ...]


def read_text(path: Path) -> str:
    """Text of the file at *path*.

    :raises InputError: if there is no such file.
    """
    if not path.is_file():
        raise InputError(f"no {path.name} found")
    return path.read_text()


def read_poscar(path: Path) -> tuple[Atoms, tuple[tuple[str, int], ...]]:
    """Read a POSCAR with a line of species (VASP 5 and later) and return atoms and groups; velocities are ignored.

    The kinds of AiiDA (``Ti1``) and the data sets of VASP (``Ti_pv``) are taken for their element.
    """
    lines = read_text(path).splitlines()
    try:
        scale = float(lines[1].split()[0])
        cell = np.array([[float(x) for x in line.split()[:3]] for line in lines[2:5]])
        species = [re.match(r"[A-Z][a-z]?", word).group() for word in lines[5].split()]  # type: ignore[union-attr]
        counts = [int(word) for word in lines[6].split()[: len(species)]]
        start = 8 if lines[7].strip()[:1].upper() == "S" else 7  # "Selective dynamics"
        cartesian = lines[start].strip()[:1].upper() in ("C", "K")
        rows = [[float(x) for x in line.split()[:3]] for line in lines[start + 1 : start + 1 + sum(counts)]]
        if len(counts) != len(species) or len(rows) != sum(counts) or min(counts) < 1:
            raise ValueError("numbers of species, counts and coordinates do not fit")
        scale = scale if scale > 0 else (-scale / abs(np.linalg.det(cell))) ** (1 / 3)  # negative: the volume in Å³
        positions = np.array(rows) * scale if cartesian else np.array(rows) @ (cell * scale)
        symbols = [symbol for symbol, count in zip(species, counts, strict=True) for _ in range(count)]
        atoms = Atoms(symbols, positions=positions, cell=cell * scale, pbc=True)
    except (ValueError, IndexError, AttributeError, KeyError) as error:
        raise InputError(f"POSCAR cannot be read: {error}") from error
    return atoms, tuple(zip(species, counts, strict=True))


def read_potcar(path: Path) -> tuple[Potcar, ...]:
    """Read the headers of all data sets in a POTCAR, in their order."""
    headers = re.findall(r"parameters from PSCTR are:(.*?)END of PSCTR-controll parameters", read_text(path), re.DOTALL)
    if not headers:
        raise InputError("POTCAR holds no data set")
    return tuple(parse_header(header) for header in headers)


def parse_header(header: str) -> Potcar:
    """Read one data set's PSCTR block."""
    fields = {key: re.search(rf"{key}\s*=\s*([^;\n]+)", header) for key in ("VRHFIN", "TITEL", "LEXCH", "ZVAL")}
    values = {key: match.group(1) for key, match in fields.items() if match}
    if len(values) != len(fields):
        raise InputError(f"POTCAR lacks {', '.join(sorted(set(fields) - set(values)))}")
    element = values["VRHFIN"].split(":")[0].strip()
    return Potcar(element, values["TITEL"].strip(), values["LEXCH"].strip(), float(values["ZVAL"].split()[0]))


def check_kpoints(path: Path) -> None:
    """Check that KPOINTS is an automatic mesh or a complete explicit list: its k-points change nothing here."""
    lines = read_text(path).splitlines()
    try:
        count = int(lines[1].split()[0])
        mode = lines[2].strip()[:1].upper()
        if count == 0 and mode == "A":  # fully automatic: one length
            float(lines[3].split()[0])
        elif count == 0 and mode in ("G", "M"):
            divisions = [int(word) for word in lines[3].split()[:3]]
            if len(divisions) != 3 or min(divisions) < 1:
                raise ValueError(f"subdivisions {divisions}")
        else:
            rows = [[float(word) for word in line.split()[:4]] for line in lines[3 : 3 + count]]
            if count < 1 or len(rows) != count or any(len(row) != 4 for row in rows):
                raise ValueError(f"no list of {count} k-points with weights")
    except (ValueError, IndexError) as error:
        raise InputError(f"KPOINTS cannot be read: {error}") from error


def read_inputs(folder: Path) -> Inputs:
    """Read and check INCAR, POSCAR, POTCAR and, unless INCAR has KSPACING, KPOINTS in *folder*.

    VASP only warns when POTCAR's elements are not POSCAR's, and computes POTCAR's; the stand-in stops, because
    such a label would be of another substance.

    :raises InputError: if a file is missing, unreadable or contradicts another.
    """
    incar = Incar.read(folder / "INCAR")
    atoms, groups = read_poscar(folder / "POSCAR")
    potcars = read_potcar(folder / "POTCAR")
    if "KSPACING" not in incar or (folder / "KPOINTS").exists():
        check_kpoints(folder / "KPOINTS")
    expected = [symbol for symbol, _ in groups]
    found = [potcar.element for potcar in potcars]
    if found != expected:
        raise InputError(f"POTCAR holds {' '.join(found)} where POSCAR has {' '.join(expected)}")
    return Inputs(incar, atoms, groups, potcars)

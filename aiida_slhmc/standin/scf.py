"""A pretended self-consistency cycle: it converges like VASP's, and to the energy of the rigid-ion potential."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from aiida_slhmc.standin.inputs import Incar, InputError

__all__ = ("Cycle", "Energies", "converge", "final_energies", "reads_wavecar", "starts_warm")

COLD_ERROR = 10.0  # eV, before the first iteration
WARM_ERROR = 0.01  # eV, with orbitals or density of an earlier run
CONTRACTION = {"N": 3.6, "A": 4.0, "C": 4.0, "D": 3.6, "F": 4.4, "V": 5.2}  # per iteration, by the first letter of ALGO
LABELS = {"N": "DAV", "A": "CGA", "C": "CGA", "D": "DMP", "F": "RMM", "V": "RMM"}
DEFAULT_NELM = 60
DEFAULT_SIGMA = 0.2  # eV
ENTROPY = 0.01 / 0.05  # eV per atom and eV of SIGMA


@dataclass(frozen=True)
class Energies:
    """VASP's three energies in eV: ``e_fr_energy``, ``e_wo_entrp`` and ``e_0_energy``."""

    free: float
    without_entropy: float
    extrapolated: float

    def shifted(self, shift: float) -> Energies:
        """All three moved by *shift* (eV)."""
        return Energies(self.free + shift, self.without_entropy + shift, self.extrapolated + shift)


@dataclass(frozen=True)
class Cycle:
    """The iterations' errors in the energy (eV), whether the last is below EDIFF, and OSZICAR's name of the algorithm.

    The last error of a converged cycle is exactly zero: a converged label carries no pretended noise. Forces and
    stress carry none in any case.
    """

    errors: tuple[float, ...]
    converged: bool
    label: str


def reads_wavecar(folder: Path, incar: Incar) -> bool:
    """Whether VASP would start from an earlier run's WAVECAR in *folder*: unless ISTART = 0."""
    return _has(folder / "WAVECAR") and incar.integer("ISTART", 1) != 0


def starts_warm(folder: Path, incar: Incar) -> bool:
    """Whether VASP would start from an earlier run's WAVECAR or CHGCAR (ICHARG = 1) in *folder*."""
    return reads_wavecar(folder, incar) or (_has(folder / "CHGCAR") and incar.integer("ICHARG", 2) == 1)


def converge(incar: Incar, warm: bool, never: bool = False) -> Cycle:
    """Iterate to EDIFF, or to NELM if that comes first or the cycle is to converge *never*."""
    algo = incar.get("ALGO", "Normal").upper()[:1]
    if algo not in CONTRACTION:
        raise InputError(
            f"ALGO = {incar['ALGO']}: this stand-in knows Normal, All, Conjugate, Damped, Fast and VeryFast"
        )
    nelm, ediff = incar.integer("NELM", DEFAULT_NELM), incar.number("EDIFF", 1e-4)
    if nelm < 1 or ediff <= 0:
        raise InputError(f"NELM = {nelm} and EDIFF = {ediff} must be positive")
    start = WARM_ERROR if warm else COLD_ERROR
    needed = max(2, 1 + math.ceil(math.log(start / ediff) / math.log(CONTRACTION[algo])))
    if never:
        # it jumps between two energies, the usual picture of charge sloshing
        return Cycle(tuple(WARM_ERROR * (-1) ** i for i in range(nelm)), False, LABELS[algo])
    errors = [start * CONTRACTION[algo] ** -i for i in range(1, needed)] + [0.0]
    return Cycle(tuple(errors[:nelm]), needed <= nelm, LABELS[algo])


def final_energies(free: float, atoms: int, incar: Incar) -> Energies:
    """The energies around *free* (eV), the one whose derivatives are the forces, as smearing gives them.

    An oxide has no electronic entropy to speak of. The term -TS pretended here does not depend on positions; it is
    there so that whoever takes the wrong one of the three energies gets a wrong number.
    """
    order = incar.integer("ISMEAR", 1)
    if order < -1:  # tetrahedra: no entropy
        return Energies(free, free, free)
    without_entropy = free + ENTROPY * incar.number("SIGMA", DEFAULT_SIGMA) * atoms
    methfessel_paxton = max(order, 0)  # -1 (Fermi) and 0 (Gauss) take the mean
    extrapolated = ((methfessel_paxton + 1) * free + without_entropy) / (methfessel_paxton + 2)
    return Energies(free, without_entropy, extrapolated)


def _has(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0

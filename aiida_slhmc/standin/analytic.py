"""Analytic potentials in the place of the rigid-ion one, so that a sampler's averages can be compared with exact ones.

``VASP_STANDIN_POTENTIAL`` names a JSON file ``{"kind": …, …}``; give its absolute path, since VASP runs elsewhere.
AiiDA's caching knows that path and not what is in the file: give each potential a file of its own.

================  ======================================================================  ==========================
kind              energy V (eV)                                                           further keys (* required)
================  ======================================================================  ==========================
``ideal_gas``     energy                                                                  energy
``harmonic``      energy + ½ uᵀHu, u the displacements by minimum image                   positions*, hessian*,
                                                                                          cell, energy
``elastic``       energy + ½ k Σ (σ_i - 1)², σ the singular values of F = h h₀⁻¹          stiffness*,
                                                                                          reference_cell*, energy
================  ======================================================================  ==========================

``energy`` (eV) is 0 where it is not given. Atoms are in POSCAR's order. Rows of cells in the file are cell vectors
(Å), whereas in F = h h₀⁻¹ they are columns, so that F takes reference vectors to those of now: r = F r₀.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_slhmc.standin.inputs import InputError
from aiida_slhmc.standin.potential import Evaluation

__all__ = ("POTENTIAL", "AnalyticPotential", "read_potential")

POTENTIAL = "VASP_STANDIN_POTENTIAL"
CELL_TOLERANCE = 1e-8  # Å


@dataclass(frozen=True)
class AnalyticPotential:
    """A potential read from a file: its kind, the other keys, and the first digits of the file's SHA-256."""

    kind: str
    parameters: dict[str, Any]
    digest: str

    def __str__(self) -> str:
        return f"{self.kind}, sha256 {self.digest}"

    def evaluate(self, atoms: Atoms) -> Evaluation:
        """Energy (eV), forces (n_atoms, 3) in eV/Å and stress (3, 3) in eV/Å³, tension positive.

        :raises InputError: if a parameter is missing, unknown, of a wrong shape, or does not fit *atoms*.
        """
        function, required, optional = KINDS[self.kind]
        given = set(self.parameters)
        missing, unknown = sorted(required - given), sorted(given - required - optional)
        if missing or unknown:
            raise InputError(f"{self.kind}: missing keys {missing or 'none'}, unknown keys {unknown or 'none'}")
        result = function(self.parameters, atoms)
        return Evaluation(result.energy + scalar(self.parameters, "energy", 0.0), result.forces, result.stress)


def read_potential(environment: Mapping[str, str]) -> AnalyticPotential | None:
    """The potential that *environment* asks for, or None for the rigid-ion one.

    :raises InputError: if the file cannot be read or its kind is unknown.
    """
    name = environment.get(POTENTIAL, "")
    if not name:
        return None
    try:
        content = Path(name).read_bytes()
        parameters = json.loads(content)
    except (OSError, ValueError) as error:
        raise InputError(f"{POTENTIAL} = {name} cannot be read: {error}") from error
    if not isinstance(parameters, dict) or parameters.get("kind") not in list(KINDS):
        raise InputError(f'{POTENTIAL} = {name}: it needs a "kind", one of {", ".join(KINDS)}')
    kind = parameters.pop("kind")
    return AnalyticPotential(kind, parameters, hashlib.sha256(content).hexdigest()[:12])


def array(parameters: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The finite numbers of *key*, in this *shape*.

    :raises InputError: if they are none, or in another shape.
    """
    try:
        values = np.array(parameters[key], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{key} is not a table of numbers: {error}") from error
    if values.shape != shape:
        raise InputError(f"{key} has the shape {values.shape} instead of {shape}")
    if not np.all(np.isfinite(values)):
        raise InputError(f"{key} holds a number that is not finite")
    return values


def scalar(parameters: Mapping[str, Any], key: str, default: float) -> float:
    """The number of *key*."""
    return float(array(parameters, key, ())) if key in parameters else default


def ideal_gas(_: Mapping[str, Any], atoms: Atoms) -> Evaluation:
    """Nothing but the constant energy."""
    return Evaluation(0.0, np.zeros((len(atoms), 3)), np.zeros((3, 3)))


def harmonic(parameters: Mapping[str, Any], atoms: Atoms) -> Evaluation:
    """½ uᵀHu with forces -Hu; the stress is zero, because the potential is defined for one fixed cell only.

    u is taken modulo the cell, since VASP and whoever writes POSCAR may wrap positions.
    """
    n = len(atoms)
    minimum, hessian = array(parameters, "positions", (n, 3)), array(parameters, "hessian", (3 * n, 3 * n))
    if np.abs(hessian - hessian.T).max() > 1e-8 * np.abs(hessian).max():
        raise InputError("hessian is not symmetric")
    cell = atoms.cell.array
    if "cell" in parameters and np.abs(array(parameters, "cell", (3, 3)) - cell).max() > CELL_TOLERANCE:
        raise InputError(f"harmonic: POSCAR's cell is not the potential's (to {CELL_TOLERANCE} Å)")
    fractions = np.linalg.solve(cell.T, (atoms.positions - minimum).T).T
    displacements = (atoms.positions - minimum - np.round(fractions) @ cell).ravel()
    forces = -(hessian + hessian.T) @ displacements / 2  # exactly the gradient, whatever the last digits of H
    return Evaluation(float(-displacements @ forces / 2), forces.reshape(n, 3), np.zeros((3, 3)))


def elastic(parameters: Mapping[str, Any], atoms: Atoms) -> Evaluation:
    """½ k Σ (σ_i - 1)², no forces: particles that feel only the cell.

    A strain η takes F to (1 + η)F. With F = U Σ Wᵀ and dV/dF = k U (Σ - 1) Wᵀ, dV/dη = dV/dF Fᵀ = k U (Σ - 1) Σ Uᵀ,
    which is symmetric; the stress is that over the volume.
    """
    stiffness, reference = scalar(parameters, "stiffness", 0.0), array(parameters, "reference_cell", (3, 3))
    if abs(np.linalg.det(reference)) < CELL_TOLERANCE:
        raise InputError("reference_cell has no volume")
    deformation = np.linalg.solve(reference, atoms.cell.array).T  # rows: h = h₀ Fᵀ
    u, sigma, _ = np.linalg.svd(deformation)
    stress = stiffness * (u * (sigma - 1) * sigma) @ u.T / atoms.get_volume()
    return Evaluation(float(stiffness * np.sum((sigma - 1) ** 2) / 2), np.zeros((len(atoms), 3)), stress)


KINDS: dict[str, tuple[Callable[[Mapping[str, Any], Atoms], Evaluation], set[str], set[str]]] = {
    "ideal_gas": (ideal_gas, set(), {"energy"}),
    "harmonic": (harmonic, {"positions", "hessian"}, {"cell", "energy"}),
    "elastic": (elastic, {"stiffness", "reference_cell"}, {"energy"}),
}
"""By kind: the function without the constant ``energy``, its required keys and its optional ones."""

"""Symmetric logarithmic strain of a cell, and how energies and measures change with it.

Conventions: h = F h₀ with the cell vectors as the columns of h, F = exp(ε), ε symmetric. ASE's cells have the vectors
as rows, so here cell = cell₀ F (F is symmetric). Every function takes a leading batch of any shape: (..., 3, 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ("STRAIN_BASES", "deformation", "log_jacobian", "log_jacobian_gradient", "log_strain", "pull_back")

Array = NDArray[np.float64]

SYMMETRY_TOLERANCE = 1e-9


def _full_basis() -> Array:
    basis = [np.diag(row) for row in np.eye(3)]
    for i, j in ((1, 2), (0, 2), (0, 1)):
        shear = np.zeros((3, 3))
        shear[i, j] = shear[j, i] = np.sqrt(0.5)
        basis.append(shear)
    return np.array(basis)


# ε = Σ_a e_a B_a; each basis (n_cell, 3, 3) is orthonormal, tr B_a B_b = δ_ab, so that |π_ε|² = Σ_a π_a²
STRAIN_BASES: dict[str, Array] = {
    "isotropic": np.eye(3)[None] / np.sqrt(3.0),
    "orthorhombic": _full_basis()[:3],
    "full": _full_basis(),
}


def deformation(strain: Array) -> Array:
    """F = exp(ε), (..., 3, 3)."""
    values, vectors = np.linalg.eigh(strain)
    return _compose(vectors, np.exp(values)[..., None] * np.eye(3))


def log_strain(cells: Array, reference_cell: Array) -> Array:
    """ε = ln F of cells (..., 3, 3; rows are vectors, Å) with respect to *reference_cell* (3, 3).

    :raises ValueError: if a cell is the reference cell rotated, mirrored or collapsed, so that F is not symmetric and
        positive.
    """
    f = np.linalg.solve(reference_cell, cells)
    asymmetry = np.abs(f - np.swapaxes(f, -1, -2)).max()
    if asymmetry > SYMMETRY_TOLERANCE:
        raise ValueError(
            f"the cell is rotated with respect to the reference cell (antisymmetric strain {asymmetry:.2g}): "
            "take the reference of the run that the cell comes from"
        )
    values, vectors = np.linalg.eigh(0.5 * (f + np.swapaxes(f, -1, -2)))
    if values.min() <= 0:
        raise ValueError("the cell is mirrored or collapsed with respect to the reference cell")
    return _compose(vectors, np.log(values)[..., None] * np.eye(3))


def pull_back(strain: Array, gradient: Array) -> Array:
    """∂V/∂ε, symmetric, from *gradient* = ∂V/∂F at F = exp(ε); both (..., 3, 3).

    The adjoint of the matrix exponential's Fréchet derivative. In the basis of ε's eigenvectors, with eigenvalues λ, it
    multiplies element ij by (e^λi − e^λj)/(λi − λj) = e^((λi+λj)/2) sinhc((λi − λj)/2) (Daleckii and Krein; Higham,
    Functions of Matrices, section 3.2). Only the symmetric part acts on a symmetric ε.
    """
    values, vectors = np.linalg.eigh(strain)
    mean = 0.5 * (values[..., :, None] + values[..., None, :])
    half_gap = 0.5 * (values[..., :, None] - values[..., None, :])
    symmetric = 0.5 * (gradient + np.swapaxes(gradient, -1, -2))
    inner = np.swapaxes(vectors, -1, -2) @ symmetric @ vectors
    return _compose(vectors, np.exp(mean) * _sinhc(half_gap) * inner)


def log_jacobian(strain: Array) -> Array:
    """The Jacobian ln J(ε) = Σ_{i<j} ln [sinh(λi − λj)/(λi − λj)], (...): what is left of the invariant measure."""
    values = np.linalg.eigvalsh(strain)
    return np.sum([np.log(_sinhc(values[..., i] - values[..., j])) for i, j in ((0, 1), (0, 2), (1, 2))], axis=0)


def log_jacobian_gradient(strain: Array) -> Array:
    """∂ ln J/∂ε, (..., 3, 3); with the Langevin function L(x) = coth x − 1/x, its eigenvalues are Σ_j L(λi − λj)."""
    values, vectors = np.linalg.eigh(strain)
    sums = np.sum(_langevin(values[..., :, None] - values[..., None, :]), axis=-1)
    return _compose(vectors, sums[..., None] * np.eye(3))


def _compose(vectors: Array, inner: Array) -> Array:
    """Q M Qᵀ."""
    return vectors @ inner @ np.swapaxes(vectors, -1, -2)


def _sinhc(x: Array) -> Array:
    """sinh(x)/x, 1 at 0."""
    safe = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, np.sinh(safe) / safe)


def _langevin(x: Array) -> Array:
    """The Langevin function coth x − 1/x; the series where the difference would lose its digits."""
    small = np.abs(x) < 1e-2
    safe = np.where(small, 1.0, x)
    return np.where(small, x / 3 - x**3 / 45 + 2 * x**5 / 945, 1 / np.tanh(safe) - 1 / safe)

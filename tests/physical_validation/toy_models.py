"""Potentials for the validation, as targets and as the models that propose: ModelOutput of (positions, cells).

None depends on where the centre of mass is: with wells fixed in space the total momentum would change along a
trajectory, and momenta without a centre-of-mass part would not be an equilibrium distribution. (A MACE model, too,
depends on differences of positions only.)
"""

from dataclasses import dataclass

import numpy as np

from aiida_slhmc.kernel.ensembles import ModelOutput
from aiida_slhmc.kernel.units import thermal_energy


@dataclass(frozen=True)
class Sum:
    """The sum of several potentials."""

    parts: tuple

    def __call__(self, positions, cells):
        outputs = [part(positions, cells) for part in self.parts]
        return ModelOutput(*(sum(values) for values in zip(*outputs, strict=True)))


@dataclass(frozen=True)
class SoftSpheres:
    """A Σ (1 − d²/c²)² over pairs nearer than c (their nearest image by fractional coordinates); A = 0: ideal gas."""

    amplitude: float = 0.0  # eV
    cutoff: float = 2.5  # Å

    def __call__(self, positions, cells):
        first, second = np.triu_indices(positions.shape[-2], 1)
        fractional = positions @ np.linalg.inv(cells)
        between = fractional[..., first, :] - fractional[..., second, :]
        between = (between - np.round(between)) @ cells
        overlap = np.maximum(1 - np.sum(between**2, axis=-1) / self.cutoff**2, 0.0)
        pulls = (4 * self.amplitude / self.cutoff**2) * overlap[..., None] * between
        forces = np.zeros(positions.shape)
        for pair, (i, j) in enumerate(zip(first, second, strict=True)):
            forces[..., i, :] += pulls[..., pair, :]
            forces[..., j, :] -= pulls[..., pair, :]
        volumes = np.abs(np.linalg.det(cells))[..., None, None]
        stresses = -np.swapaxes(pulls, -1, -2) @ between / volumes
        return ModelOutput(self.amplitude * np.sum(overlap**2, axis=-1), forces, stresses)


@dataclass(frozen=True)
class ElasticCell:
    """½ K Σ (σᵢ − 1)² with σ the singular values of F = h h₀⁻¹: the atoms feel nothing of it."""

    stiffness: float  # eV
    reference_cell: np.ndarray  # (3, 3), vectors as rows

    def __call__(self, positions, cells):
        f = np.swapaxes(np.linalg.solve(self.reference_cell, cells), -1, -2)
        squares, frames = np.linalg.eigh(f @ np.swapaxes(f, -1, -2))
        sigma = np.sqrt(squares)
        virial = (frames * (self.stiffness * (sigma - 1) * sigma)[..., None, :]) @ np.swapaxes(frames, -1, -2)
        energies = 0.5 * self.stiffness * np.sum((sigma - 1) ** 2, axis=-1)
        return ModelOutput(energies, np.zeros(positions.shape), virial / np.abs(np.linalg.det(cells))[..., None, None])


@dataclass(frozen=True)
class AffineWells:
    """½ Σ kᵢ |uᵢ|², u the displacements from sites that sit around the centre of mass and move affinely with the cell.

    With the columns of B an orthonormal basis of the plane Σ mᵢuᵢ = 0, u = B q and K the diagonal matrix of
    stiffnesses, the distribution of q is exactly the Gaussian p(q) ∝ exp(−β qᵀ BᵀKB q / 2) at every cell, for any
    masses, since centre of mass and relative coordinates separate in the kinetic energy.

    In NPT the chain lives on the plane in x, u = F x − F a, so d³ᴺ⁻³x = (Ω/Ω₀)^−(N−1) d³ᴺ⁻³u: integrated over the
    atoms, Ω^(N+1) becomes Ω² in the law of the cell.
    """

    masses: np.ndarray  # (n_atoms,) in amu
    stiffness: np.ndarray  # (n_atoms,) in eV/Å²
    sites: np.ndarray  # (n_atoms, 3) in Å, in the reference cell
    reference_cell: np.ndarray  # (3, 3), vectors as rows

    def displacements(self, positions, cells):
        f = np.linalg.solve(self.reference_cell, cells)
        return self._relative(positions) - self._relative(self.sites) @ f

    def __call__(self, positions, cells):
        displaced = self.displacements(positions, cells)
        pulls = self.stiffness[:, None] * displaced
        volumes = np.abs(np.linalg.det(cells))[..., None, None]
        return ModelOutput(
            0.5 * np.sum(pulls * displaced, axis=(-2, -1)),
            self._fractions * pulls.sum(axis=-2, keepdims=True) - pulls,
            np.swapaxes(pulls, -1, -2) @ displaced / volumes,
        )

    def standardised(self, positions, cells, temperature):
        """Coordinates that are independent standard normals in this well's ensemble: (..., n_atoms − 1, 3)."""
        plane = np.linalg.svd(self.masses[None, :])[2][1:].T
        root = np.linalg.cholesky(plane.T @ (self.stiffness[:, None] * plane))
        displaced = self.displacements(positions, cells)
        return np.einsum("ab,...bx->...ax", root.T @ plane.T, displaced) / np.sqrt(thermal_energy(temperature))

    @property
    def _fractions(self):
        return (self.masses / self.masses.sum())[:, None]

    def _relative(self, positions):
        return positions - np.sum(self._fractions * positions, axis=-2, keepdims=True)

"""A Lennard-Jones crystal whose energy and force go continuously to zero at the cut-off, for many walkers at once.

The pair energy is the one of LAMMPS's ``pair_style lj/smooth/linear``,

    V(r) = φ(r) − φ(r_c) − (r − r_c) φ'(r_c) for r < r_c,  φ(r) = 4ε [(σ/r)¹² − (σ/r)⁶].

Only the nearest image of each pair is taken, so no width of a cell may be below 2 r_c; narrower cells are refused.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from aiida_slhmc.kernel.ensembles import ModelOutput


@dataclass(frozen=True)
class LjSmooth:
    """Energies (eV), forces (eV/Å) and stresses (eV/Å³) of walkers; ε in eV, σ and the cut-off r_c in Å."""

    epsilon: float
    sigma: float
    cutoff: float

    def __call__(self, positions, cells):
        """Of positions (n_walkers, n_atoms, 3) in cells (n_walkers, 3, 3)."""
        narrowest = widths(cells).min()
        if narrowest < 2 * self.cutoff:
            raise ValueError(f"a cell is {narrowest:.4f} Å wide, less than twice the cut-off")
        vectors = pair_vectors(positions, cells)
        squares = np.sum(vectors**2, axis=1)
        near = np.nonzero(squares < self.cutoff**2)
        energies, slopes_over_r = self._pair(np.sqrt(squares[near]))
        # the force on the first atom of a pair, along the vector to the second, is minus that on the second
        pulls = np.zeros_like(squares)
        pulls[near] = slopes_over_r
        pulls = pulls[:, None, :] * vectors
        forces = np.swapaxes(_contract(pulls, _incidence(positions.shape[-2])), 1, 2)
        virials = vectors @ np.swapaxes(pulls, 1, 2)
        energies = np.bincount(near[0], energies, minlength=len(positions))
        return ModelOutput(energies, -forces, virials / np.abs(np.linalg.det(cells))[:, None, None])

    def _pair(self, r):
        """V and V'/r."""
        energy_at_cutoff, slope_at_cutoff = self._lennard_jones(self.cutoff)
        energy, slope = self._lennard_jones(r)
        return energy - energy_at_cutoff - (r - self.cutoff) * slope_at_cutoff, (slope - slope_at_cutoff) / r

    def _lennard_jones(self, r):
        """φ and φ'."""
        square = (self.sigma / r) ** 2
        sixth = square * square * square
        return 4 * self.epsilon * sixth * (sixth - 1), 24 * self.epsilon * sixth * (1 - 2 * sixth) / r


def pair_vectors(positions, cells):
    """From the first to the second atom of each pair, nearest image: (n_walkers, 3, n_pairs), pairs last for speed."""
    fractional = np.swapaxes(positions @ np.linalg.inv(cells), 1, 2)
    apart = _contract(fractional, _incidence(positions.shape[-2]).T)
    apart -= np.rint(apart)
    return np.swapaxes(cells, 1, 2) @ apart


@cache
def _incidence(n_atoms):
    """−1 where an atom is the first of a pair, +1 where it is the second: (n_pairs, n_atoms)."""
    first, second = np.triu_indices(n_atoms, 1)
    return np.eye(n_atoms)[second] - np.eye(n_atoms)[first]


def _contract(values, matrix):
    """*values* (n_walkers, 3, n) times *matrix* (n, m), as one product of matrices."""
    return (values.reshape(-1, values.shape[-1]) @ matrix).reshape(*values.shape[:-1], -1)


def widths(cells):
    """Distances between opposite faces, (n_walkers, 3)."""
    return 1 / np.linalg.norm(np.linalg.inv(cells), axis=-2)


def shell_counts(positions, cells, edges):
    """Neighbours per atom in the shells between equidistant *edges* (Å), all images, in cells that are boxes.

    Along each axis the two nearest images count, which is enough up to the length of the box.

    :returns: (n_walkers, n_shells).
    """
    lengths = np.diagonal(cells, axis1=-2, axis2=-1)[:, :, None]
    nearest = np.abs(pair_vectors(positions, cells))
    x, y, z = np.moveaxis(np.stack([nearest**2, (lengths - nearest) ** 2]), 2, 0)
    squares = x[:, None, None] + y[None, :, None] + z[None, None, :]
    walkers = np.broadcast_to(np.arange(len(cells))[:, None], squares.shape)
    near = squares < edges[-1] ** 2
    n_shells = len(edges) - 1
    shells = np.floor((np.sqrt(squares[near]) - edges[0]) / (edges[1] - edges[0])).astype(int)
    inside = (shells >= 0) & (shells < n_shells)
    counts = np.bincount((walkers[near] * n_shells + shells)[inside], minlength=len(cells) * n_shells)
    return 2 * counts.reshape(len(cells), n_shells) / positions.shape[-2]


def fcc(lattice_constant, repeats=2):
    """Positions (4 n³, 3) and cell of a cubic FCC crystal."""
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    corners = np.stack(np.meshgrid(*3 * [np.arange(repeats)], indexing="ij"), axis=-1).reshape(-1, 1, 3)
    return lattice_constant * (corners + basis).reshape(-1, 3), lattice_constant * repeats * np.eye(3)

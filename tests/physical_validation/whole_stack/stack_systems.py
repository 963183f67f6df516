"""Targets that VASP's stand-in evaluates, written down here a second time, and exact draws from their ensembles.

Everything is in the order of the structure, whose sites are interleaved; only ``content`` (what the stand-in reads) is
in POSCAR's order. Cells have three different vectors in general directions: a transposed cell, swapped axes or a
rotated frame would show.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.spacegroup import crystal
from ase.units import kB
from scipy.spatial.transform import Rotation
from toy_models import ElasticCell

from aiida_slhmc.worker.potential import MacePotential

OFFSET = -41.5  # eV; a constant that must drop out


def poscar_order(numbers):
    """Which site of the structure is VASP's k-th: elements as they first appear. Not the package's."""
    elements = list(dict.fromkeys(numbers.tolist()))
    return np.concatenate([np.flatnonzero(numbers == element) for element in elements])


def sheared_rutile():
    """Ti O O Ti O O in a skewed setting of the rutile cell, strained by about 2 % and turned."""
    rutile = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.68, 4.68, 3.006, 90, 90, 90]
    )
    strain = np.array([[0.01, 0.02, -0.015], [0.02, -0.01, 0.01], [-0.015, 0.01, 0.015]])
    deformation = Rotation.from_euler("zyx", [35, -50, 20], degrees=True).as_matrix() @ (np.eye(3) + strain)
    cell = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ rutile.cell.array
    sites = [0, 2, 3, 1, 4, 5]
    return Atoms(rutile.numbers[sites], positions=(rutile.positions @ deformation.T)[sites], cell=cell @ deformation.T)


def relaxed_hessian(model, atoms, step=1e-3):
    """Positions of zero force near *atoms* (Newton) and the Hessian of *model* there, free of translations."""
    n = 3 * len(atoms)
    potential = MacePotential(model, atoms.numbers, compute_stress=False)
    positions, cell = atoms.positions.copy(), atoms.cell.array
    moves = step * np.eye(n).reshape(n, -1, 3)
    translations = np.tile(np.eye(3), (n // 3, 1)) / np.sqrt(n // 3)
    projector = np.eye(n) - translations @ translations.T
    for _ in range(4):
        images = np.concatenate([positions + moves, positions - moves, positions[None]])
        forces = potential(images, np.broadcast_to(cell, (2 * n + 1, 3, 3))).forces.reshape(-1, n)
        hessian = (forces[n : 2 * n] - forces[:n]) / (2 * step)
        hessian = projector @ (hessian + hessian.T) @ projector / 2
        positions = positions + (np.linalg.pinv(hessian, rcond=1e-8) @ forces[-1]).reshape(-1, 3)
    return positions, hessian


@dataclass(frozen=True)
class Harmonic:
    """½ uᵀHu + constant, u = r − r₀; H does not feel translations."""

    numbers: np.ndarray
    cell: np.ndarray  # (3, 3), vectors as rows
    minimum: np.ndarray  # (n_atoms, 3) in Å
    hessian: np.ndarray  # (3n, 3n) in eV/Å²

    @cached_property
    def modes(self):
        """Stiffnesses and directions (columns) of the 3n − 3 modes."""
        values, vectors = np.linalg.eigh(self.hessian)
        # signs are the library's choice, and differ from machine to machine: draws would, too
        vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), range(len(vectors))])
        return values[3:], vectors[:, 3:]

    def displacements(self, positions):
        return (positions - self.minimum).reshape(*positions.shape[:-2], -1)

    def energy(self, positions):
        """Without the constant."""
        displaced = self.displacements(positions)
        return 0.5 * np.einsum("...a,ab,...b->...", displaced, self.hessian, displaced)

    def standardised(self, positions, temperature):
        """Independent standard normals in this ensemble, (..., 3n − 3)."""
        stiffness, directions = self.modes
        return self.displacements(positions) @ directions * np.sqrt(stiffness / (kB * temperature))

    def draw(self, generator, temperature):
        """Positions from the exact Gaussian."""
        stiffness, directions = self.modes
        q = generator.standard_normal(len(stiffness)) * np.sqrt(kB * temperature / stiffness)
        return self.minimum + (directions @ q).reshape(-1, 3)

    def label(self, positions, cell):
        forces = -(self.displacements(positions) @ self.hessian).reshape(-1, 3)
        return {"energy": self.energy(positions) + OFFSET, "forces": forces, "stress": np.zeros((3, 3))}

    def content(self):
        order = poscar_order(self.numbers)
        axes = (3 * order[:, None] + np.arange(3)).ravel()
        return {
            "kind": "harmonic",
            "positions": self.minimum[order].tolist(),
            "hessian": self.hessian[np.ix_(axes, axes)].tolist(),
            "cell": self.cell.tolist(),
            "energy": OFFSET,
        }


class IdealGas:
    """Nothing but the constant."""

    def label(self, positions, cell):
        return {"energy": OFFSET, "forces": np.zeros(positions.shape), "stress": np.zeros((3, 3))}

    def content(self):
        return {"kind": "ideal_gas", "energy": OFFSET}


@dataclass(frozen=True)
class Elastic:
    """½ K Σ (σᵢ − 1)²: an ideal gas in an elastic cell."""

    stiffness: float  # eV
    reference_cell: np.ndarray  # (3, 3), vectors as rows

    def label(self, positions, cell):
        output = ElasticCell(self.stiffness, self.reference_cell)(positions, cell)
        return {"energy": float(output.energies) + OFFSET, "forces": output.forces, "stress": output.stresses}

    def content(self):
        reference = self.reference_cell.tolist()
        return {"kind": "elastic", "stiffness": self.stiffness, "reference_cell": reference, "energy": OFFSET}


# O Ti O, since with few atoms N + 1 differs much from N
GAS_NUMBERS = np.array([8, 22, 8])
GAS_MASSES = atomic_masses[GAS_NUMBERS]
GAS_CELL = 1.3 * np.array([[2.5, 1.6, 1.1], [-0.8, 2.9, 0.9], [0.3, -1.4, 2.8]])
GAS_VOLUME = float(np.linalg.det(GAS_CELL))


def draw_gas(generator, cell):
    """Positions anywhere in the cell."""
    return generator.random((len(GAS_NUMBERS), 3)) @ cell


def draw_deformations(generator, n, pressure, stiffness, n_steps=1500):
    """Symmetric F (n, 3, 3) of the gas in an elastic cell, by a Metropolis walk on all nine elements of h h₀⁻¹.

    Its weight is det^N det^(1−d) exp(−PΩ − ½ K Σ (σᵢ − 1)²), *pressure* being PΩ₀/k_BT and *stiffness* K/k_BT; what is
    left of F = R S without its rotation R is S. It uses nothing of the kernel's: no strain, no N + 1 and no J.
    """

    def log_weight(f):
        sigma = np.linalg.svd(f, compute_uv=False)
        volume = np.linalg.det(f)
        inside = np.where(volume > 0, volume, np.nan)
        log = (len(GAS_NUMBERS) - 2) * np.log(inside) - pressure * volume
        return np.nan_to_num(log - 0.5 * stiffness * np.sum((sigma - 1) ** 2, axis=-1), nan=-np.inf)

    f = np.broadcast_to(np.eye(3), (n, 3, 3))
    now = log_weight(f)
    for _ in range(n_steps):
        trial = f + generator.normal(0, 0.1, f.shape)
        new = log_weight(trial)
        accepted = np.log(generator.random(n)) < new - now
        f, now = np.where(accepted[:, None, None], trial, f), np.where(accepted, new, now)
    squares, frames = np.linalg.eigh(np.swapaxes(f, -1, -2) @ f)
    return (frames * np.sqrt(squares)[:, None, :]) @ np.swapaxes(frames, -1, -2)

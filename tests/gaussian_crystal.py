"""A smooth periodic pair potential with analytic forces and stress, for tests of the kernel."""

from itertools import product

import numpy as np

from aiida_slhmc.kernel.ensembles import ModelOutput

IMAGES = np.array(list(product((-1, 0, 1), repeat=3)), dtype=float)


class GaussianCrystal:
    """½ Σ aᵢ aⱼ exp(−d²/2s²) over pairs and 27 images, without a cut-off: every derivative exists everywhere.

    Only atoms inside one cell are meant; the images are not chosen anew when an atom leaves it.
    """

    def __init__(self, amplitudes, width=1.2):
        self.pairs = np.outer(amplitudes, amplitudes)[:, :, None]  # eV
        self.width = width  # Å

    def __call__(self, positions, cells):
        shifts = IMAGES @ cells
        between = positions[..., :, None, None, :] - positions[..., None, :, None, :] - shifts[..., None, None, :, :]
        weights = self.pairs * np.exp(-0.5 * np.sum(between**2, axis=-1) / self.width**2)
        atoms = np.arange(positions.shape[-2])
        weights[..., atoms, atoms, len(IMAGES) // 2] = 0.0  # an atom and itself
        pulls = weights[..., None] * between / self.width**2
        forces = pulls.sum(axis=(-3, -2))
        virial = -0.5 * np.einsum("...ijna,...ijnb->...ab", pulls, between)
        volumes = np.abs(np.linalg.det(cells))[..., None, None]
        return ModelOutput(0.5 * weights.sum(axis=(-3, -2, -1)), forces, virial / volumes)

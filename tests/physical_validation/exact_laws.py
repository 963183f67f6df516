"""What the chains are compared with: laws of the cell by quadrature, and by a Metropolis walk that knows no strain.

Units here: volumes in units of Ω₀, energies in units of k_BT.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import constants, stats
from scipy.integrate import cumulative_simpson


def ideal_gas_volume(n_atoms, pressure, temperature):
    """Ω ~ Gamma(N + 1, k_BT/P) in Å³, in SI units from GPa and K: no constant of the kernel's is used."""
    scale = constants.k * temperature / (pressure * constants.giga) / constants.angstrom**3
    return stats.gamma(n_atoms + 1, scale=scale)


@dataclass(frozen=True)
class Law:
    """A distribution on a grid: density and distribution function at *points*."""

    points: np.ndarray
    density: np.ndarray

    @property
    def distribution(self):
        sums = np.maximum.accumulate(cumulative_simpson(self.density, x=self.points, initial=0))
        return sums / sums[-1]

    def cdf(self, values):
        return np.interp(values, self.points, self.distribution)

    def mean(self):
        return np.trapezoid(self.points * self.density, self.points) / np.trapezoid(self.density, self.points)


@lru_cache(maxsize=32)
def strain_laws(mode, exponent, pressure, stiffness, jacobian=True):
    """Laws of Ω/Ω₀ and of the shear s = Σ (λᵢ − λ̄)² for the weight Ω^exponent exp(−PΩ − ½ K Σ(e^λᵢ − 1)²) in strain.

    The density in ε is that weight times J(ε), and depends on the eigenvalues λ alone. For `full` the volume element is

        d⁶ε = Π_{i<j} |λᵢ − λⱼ| dλ₁ dλ₂ dλ₃ dQ,

    with Q the frame of the eigenvectors: strains with two equal eigenvalues are rare, since a whole rotation of the
    frame then gives one and the same strain (the Vandermonde factor; for random matrices, Mehta, chapter 3). Together
    with J it is Π sinh|λᵢ − λⱼ|. For `orthorhombic` the frame is fixed and the element is dλ; no factor stands there.

    Polar coordinates (ρ, φ) in the plane of tr λ = const; the weight is symmetric in the λ, so one of the six sectors
    between the lines λᵢ = λⱼ is enough.

    :param pressure: P Ω₀ / k_BT; *stiffness*: K / k_BT.
    :param jacobian: False for the law of a kernel that has forgotten J.
    """
    trace = np.linspace(-3.0, 2.5, 1101)[:, None, None]
    radius = np.linspace(0.0, 3.0, 301)[None, :, None]
    nodes, weights = np.polynomial.legendre.leggauss(10)
    angle = np.pi / 3 + np.pi / 6 * nodes[None, None, :]
    if mode == "isotropic":
        radius = radius[:, :1]
    plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    values = [trace / 3 + radius * (np.cos(angle) * a + np.sin(angle) * b) for a, b in plane.T]
    density = np.exp(
        exponent * trace - pressure * np.exp(trace) - 0.5 * stiffness * sum(np.expm1(v) ** 2 for v in values)
    )
    if mode == "full":
        gaps = [np.abs(values[i] - values[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        density = density * np.prod([np.sinh(gap) if jacobian else gap for gap in gaps], axis=0)
    density = density @ weights
    volume = np.exp(trace[:, 0, 0])
    if mode == "isotropic":
        return Law(volume, density[:, 0] / volume), None
    over_radius = np.trapezoid(density * radius[..., 0], radius[0, :, 0], axis=1)
    # with s = ρ², ρ dρ = ds/2
    return Law(volume, over_radius / volume), Law(radius[0, :, 0] ** 2, density.sum(axis=0))


def direct_volumes(n_atoms, pressure, stiffness, *, n_walkers=1000, n_steps=1500, seed=0):
    """Ω by Metropolis on the nine elements of h: weight det(h)^N det(h)^(1−d) exp(−PΩ − ½ K Σ(σᵢ − 1)²), h₀ = 1.

    Independent of the kernel: no strain, no eigenvalues' measure, no rotation removed. σ are the singular values of h.

    :returns: (n_samples, n_walkers) after equilibration, every 25th step.
    """
    generator = np.random.default_rng(seed)
    cells = np.broadcast_to(np.eye(3), (n_walkers, 3, 3))
    logs, samples = _direct_log_weight(cells, n_atoms, pressure, stiffness), []
    for step in range(n_steps):
        trial = cells + generator.normal(0, 0.08, cells.shape)
        new = _direct_log_weight(trial, n_atoms, pressure, stiffness)
        accepted = np.log(generator.random(n_walkers)) < new - logs
        cells, logs = np.where(accepted[:, None, None], trial, cells), np.where(accepted, new, logs)
        if step >= 300 and step % 25 == 0:
            samples.append(np.linalg.det(cells))
    return np.array(samples)


def _direct_log_weight(cells, n_atoms, pressure, stiffness):
    volumes = np.linalg.det(cells)
    squares = np.linalg.eigvalsh(np.swapaxes(cells, -1, -2) @ cells)
    elastic = 0.5 * stiffness * np.sum((np.sqrt(np.maximum(squares, 0)) - 1) ** 2, axis=-1)
    logs = (n_atoms + 1 - 3) * np.log(np.maximum(volumes, 1e-300)) - pressure * volumes - elastic
    return np.where(volumes > 0, logs, -np.inf)

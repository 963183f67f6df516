"""Six ideal particles in a cubic box whose cell moves, proposed by soft spheres: laws of the cell that are known."""

import numpy as np
from sampler import Walk
from toy_models import ElasticCell, SoftSpheres, Sum

from aiida_slhmc.kernel.ensembles import Npt
from aiida_slhmc.kernel.strain import STRAIN_BASES, log_jacobian, log_jacobian_gradient, log_strain
from aiida_slhmc.kernel.units import EV_PER_CUBIC_ANGSTROM_IN_GPA, thermal_energy

TEMPERATURE = 300.0
KT = thermal_energy(TEMPERATURE)
N_ATOMS, N_WALKERS = 6, 256
CELL = 5.0 * np.eye(3)  # Å
VOLUME = 125.0  # Å³
MASSES = np.full(N_ATOMS, 4.0)


def ensemble(mode, pressure):
    """NPT at *pressure* in GPa; all trajectories below are about a quarter of the strain's period."""
    return Npt(MASSES, TEMPERATURE, CELL, pressure=pressure, cell_degrees_of_freedom=mode, cell_time_constant=22.0)


def gas_walk(pressure, **changes):
    """Target: an ideal gas. The model has a repulsion of 0.7 k_BT, so that most of ΔH is mismatch."""
    arguments = {"ensemble": ensemble("isotropic", pressure), "target": SoftSpheres(), "model": SoftSpheres(0.7 * KT)}
    return Walk(timestep=6.0, n_steps=6, **{**arguments, "seed": 2, **changes})


def elastic_walk(mode, stiffness, model_stiffer, **changes):
    """Target: ½ K Σ(σᵢ − 1)², K = *stiffness* k_BT, at PΩ₀ = 2 k_BT; the model is stiffer and repulsive."""
    pressure = 2 * KT / VOLUME * EV_PER_CUBIC_ANGSTROM_IN_GPA
    target = Sum((SoftSpheres(), ElasticCell(stiffness * KT, CELL)))
    model = Sum((SoftSpheres(0.6 * KT), ElasticCell(model_stiffer * stiffness * KT, CELL)))
    arguments = {"ensemble": ensemble(mode, pressure), "target": target, "model": model, "seed": 2}
    return Walk(timestep=6.0, n_steps=6, **{**arguments, **changes})


def start():
    """Atoms anywhere, which is the ideal gas's own distribution; the cell still has to find its size."""
    atoms = np.random.default_rng(0).random((N_WALKERS, N_ATOMS, 3))
    return atoms @ CELL, np.broadcast_to(CELL, (N_WALKERS, 3, 3))


def shear(cells):
    """Σ (λᵢ − λ̄)² of the strain's eigenvalues."""
    values = np.log(np.linalg.svd(np.linalg.solve(CELL, cells), compute_uv=False))
    return np.var(values, axis=-1) * 3


def with_other_exponent(change):
    """A wrong kernel: Ω^(N + 1 + *change*)."""

    def cell_energy(ensemble, cells):
        return ensemble.cell_energy(cells) - change * KT * np.log(np.linalg.det(cells) / VOLUME)

    return cell_energy


def without_jacobian(ensemble, cells):
    """A wrong kernel: ln J is missing from ΔH."""
    return ensemble.cell_energy(cells) + KT * log_jacobian(log_strain(cells, CELL))


def force_without_jacobian(ensemble, model):
    """Φ and forces of the proposal without those of ln J: less efficient, not wrong."""
    potential, basis = ensemble.potential(model), STRAIN_BASES["full"]

    def evaluate(coordinates):
        energy, forces = potential(coordinates)
        strain = np.einsum("...a,aij->...ij", coordinates[..., -6:], basis)
        forces[..., -6:] -= KT * np.einsum("...ij,aij->...a", log_jacobian_gradient(strain), basis)
        return energy, forces

    return evaluate

"""Reversibility of the leapfrog with a real MACE model: there, flip, and back to 1e-10 Å, in every ensemble."""

import numpy as np
import pytest
import torch
from fixtures import rutile_atoms
from integrators import explicit_euler, there_and_back

from aiida_slhmc.kernel.dynamics import Phase, leapfrog
from aiida_slhmc.kernel.ensembles import ModelOutput, Npt, Nvt
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.worker.checkpoint import default_dtype
from aiida_slhmc.worker.potential import MacePotential

pytestmark = pytest.mark.physical_validation

ENSEMBLES = ("NVT", "NPT isotropic", "NPT orthorhombic", "NPT full")
BOUND = 1e-10  # Å
N_STEPS, TIMESTEP, TEMPERATURE = 10, 1.0, 300.0
STATISTIC = "distance from the start, Å"


@pytest.fixture(scope="module")
def rutile():
    """Six atoms, off their sites."""
    return rutile_atoms(seed=0, amplitude=0.05)


@pytest.fixture(scope="module")
def model(foundation, rutile):
    with default_dtype(torch.float64):
        potential = MacePotential(foundation, rutile.numbers, compute_stress=True)
        potential.warm_up(rutile.positions[None], rutile.cell.array[None])
        yield potential


def ensemble_of(name, atoms):
    """NPT with a fast cell, so that it moves within the ten steps."""
    masses, cell = atoms.get_masses(), atoms.cell.array
    if name == "NVT":
        return Nvt(masses, TEMPERATURE, cell[None])
    mode = name.split()[1]
    return Npt(masses, TEMPERATURE, cell, pressure=1.0, cell_degrees_of_freedom=mode, cell_time_constant=50.0)


def distances(integrator, model, atoms, name):
    """How far from the start, in Å: after there and back, and at the far end; the larger of positions and cell."""
    ensemble = ensemble_of(name, atoms)
    coordinates = ensemble.coordinates(atoms.positions[None], atoms.cell.array[None])
    momenta = ensemble.draw_momenta(random_stream(0, 0, 0, Purpose.MOMENTA))[None]
    potential = ensemble.potential(model)
    start = Phase(coordinates, momenta, *potential(coordinates))
    there, back = there_and_back(integrator, start, ensemble.masses, TIMESTEP, N_STEPS, potential)
    first = ensemble.configuration(coordinates)
    ends = [ensemble.configuration(phase.coordinates) for phase in (back, there)]
    moved = [[np.abs(a - b).max() for a, b in zip(end, first, strict=True)] for end in ends]
    return max(moved[0]), moved[1]


@pytest.mark.parametrize("name", ENSEMBLES)
def test_leapfrog_with_mace_is_reversible(name, model, rutile, validation):
    distance, (excursion, cell_change) = distances(leapfrog, model, rutile, name)
    validation.claim(f"MACE, {name}", STATISTIC, distance, below=BOUND)
    assert excursion > 0.01
    assert (cell_change > 0.01) == (name != "NVT")


@pytest.mark.parametrize("name", ENSEMBLES)
def test_control_euler_is_not(name, model, rutile, validation):
    distance, _ = distances(explicit_euler, model, rutile, name)
    validation.control(f"MACE, {name}", STATISTIC, "explicit Euler", distance, above=1e4 * BOUND)


def test_control_forces_that_remember_are_not(model, rutile, validation):
    """Forces that lag one call behind, as a neighbour list or a charge density kept from before would make them."""
    kept = []

    def lagging(positions, cells):
        output = model(positions, cells)
        kept.append(output.forces)
        forces = output.forces + (0.01 * (kept[-2] - output.forces) if len(kept) > 1 else 0.0)
        return ModelOutput(output.energies, forces, output.stresses)

    distance, _ = distances(leapfrog, lagging, rutile, "NPT full")
    validation.control("MACE, NPT full", STATISTIC, "forces that lag behind", distance, above=1e4 * BOUND)


def test_control_single_precision_is_not(model, rutile, validation):
    """Coordinates and momenta rounded to float32 after every step."""

    def single(start, masses, timestep, n_steps, potential):
        for _ in range(n_steps):
            end = leapfrog(start, masses, timestep, 1, potential)
            start = Phase(*(part.astype(np.float32).astype(float) for part in end))
        return start

    distance, _ = distances(single, model, rutile, "NPT full")
    validation.control("MACE, NPT full", STATISTIC, "single precision", distance, above=1e2 * BOUND)

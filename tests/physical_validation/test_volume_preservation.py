"""The leapfrog preserves phase-space volume: |det ∂(q′, p′)/∂(q, p)| = 1 by finite differences, in every ensemble."""

import numpy as np
import pytest
from gaussian_crystal import GaussianCrystal
from integrators import explicit_euler, log_determinant, with_drag

from aiida_slhmc.kernel.dynamics import Phase, leapfrog
from aiida_slhmc.kernel.ensembles import Npt, Nvt

pytestmark = pytest.mark.physical_validation

ENSEMBLES = ("NVT", "NPT isotropic", "NPT orthorhombic", "NPT full")
MASSES = np.array([47.867, 15.999, 15.999])
CELL = np.array([[4.1, 0.0, 0.0], [0.7, 3.8, 0.0], [-0.4, 0.5, 4.4]])
MODEL = GaussianCrystal([1.2, 0.8, 0.7])
BOUND, TIMESTEP, N_STEPS = 1e-8, 5.0, 8


def make(name):
    if name == "NVT":
        return Nvt(MASSES, 600.0, CELL)
    mode = name.split()[1]
    return Npt(MASSES, 600.0, CELL, pressure=5.0, cell_degrees_of_freedom=mode, cell_time_constant=40.0)


@pytest.fixture(params=ENSEMBLES)
def case(request):
    """A strained cell with atoms anywhere, and momenta of 600 K."""
    ensemble, generator = make(request.param), np.random.default_rng(3)
    coordinates = np.zeros(len(ensemble.masses))
    coordinates[:9] = (generator.random((3, 3)) @ CELL).ravel()
    coordinates[9:] = generator.normal(0, 0.05, len(coordinates) - 9)
    potential = ensemble.potential(MODEL)
    start = Phase(coordinates, ensemble.draw_momenta(generator), *potential(coordinates))
    return request.param, start, ensemble.masses, potential


def test_volume(case, validation):
    """Controls: explicit Euler, and a drag of one in ten thousand, whose determinant is known."""
    name, start, masses, potential = case

    def size(integrator):
        return log_determinant(integrator, start, masses, TIMESTEP, N_STEPS, potential)

    system, statistic = f"phase space, {name}", "|ln det|"
    end = leapfrog(start, masses, TIMESTEP, N_STEPS, potential)
    assert np.abs(end.coordinates - start.coordinates)[:9].max() > 0.05
    validation.claim(system, statistic, abs(size(leapfrog)), below=BOUND)
    validation.control(system, statistic, "explicit Euler", abs(size(explicit_euler)), above=1e3 * BOUND)
    dragged = size(with_drag(0.9999))
    validation.control(system, statistic, "drag of 0.01 %", abs(dragged), above=1e3 * BOUND)
    assert dragged == pytest.approx(len(masses) * np.log(0.9999), abs=BOUND)

"""Einstein wells in NVT and in every cell mode of NPT, whose exact distribution is known."""

import numpy as np
from exact_laws import strain_laws
from sampler import Walk
from toy_models import AffineWells, ElasticCell, Sum

from aiida_slhmc.kernel.ensembles import Npt, Nvt
from aiida_slhmc.kernel.units import EV_PER_CUBIC_ANGSTROM_IN_GPA, thermal_energy

TEMPERATURE = 300.0
KT = thermal_energy(TEMPERATURE)
MASSES = np.array([47.867, 15.999, 15.999])
STIFFNESS = np.array([6.0, 4.0, 5.0])  # eV/Å²
CELL = np.array([[3.2, 0.0, 0.0], [0.4, 2.9, 0.0], [-0.3, 0.5, 3.1]])
SITES = np.array([[0.1, 0.2, 0.0], [1.4, 0.3, 1.6], [0.6, 1.7, 0.2]])
WELLS = AffineWells(MASSES, STIFFNESS, SITES, CELL)
ELASTIC = 25.0  # K / k_BT: strains of 0.2, far beyond a crystal's, so that J and the N + 1 matter
PRESSURE = 3.0  # PΩ₀ / k_BT
N_WALKERS = 192


def wells(stiffer=1.0):
    return AffineWells(MASSES, stiffer * STIFFNESS, SITES, CELL)


def nvt_walk(model_stiffer=1.2, **changes):
    arguments = {"ensemble": Nvt(MASSES, TEMPERATURE, CELL), "target": WELLS, "model": wells(model_stiffer), "seed": 1}
    return Walk(**{**arguments, **changes})


def npt_walk(mode, **changes):
    """The model is 20 % stiffer in the wells and 12 % softer in the cell."""
    ensemble = Npt(
        MASSES,
        TEMPERATURE,
        CELL,
        pressure=PRESSURE * KT / np.linalg.det(CELL) * EV_PER_CUBIC_ANGSTROM_IN_GPA,
        cell_degrees_of_freedom=mode,
        cell_time_constant=35.0,
    )
    target = Sum((WELLS, ElasticCell(ELASTIC * KT, CELL)))
    model = Sum((wells(1.2), ElasticCell(0.88 * ELASTIC * KT, CELL)))
    arguments = {"ensemble": ensemble, "target": target, "model": model, "seed": 1}
    return Walk(timestep=5.0, n_steps=7, **{**arguments, **changes})


def start():
    """All walkers at the bottom of the wells."""
    return np.broadcast_to(SITES, (N_WALKERS, 3, 3)), np.broadcast_to(CELL, (N_WALKERS, 3, 3))


def npt_volume_law(mode):
    """Ω² exp(−β(PΩ + V_el)) in strain: the wells' N − 1 relative coordinates have taken Ω^(N−1) of Ω^(N+1)."""
    return strain_laws(mode, 2, PRESSURE, ELASTIC)[0]

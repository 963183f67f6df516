"""The units against ASE's tables of the same CODATA edition."""

import pytest
from ase.units import create_units

from aiida_slhmc.kernel.units import (
    AMU_ANGSTROM2_PER_FS2_IN_EV,
    BOLTZMANN_EV_PER_K,
    EV_PER_CUBIC_ANGSTROM_IN_GPA,
    thermal_energy,
)

CODATA = create_units("2018")


def test_boltzmann_constant():
    assert pytest.approx(CODATA["kB"], rel=1e-14) == BOLTZMANN_EV_PER_K


def test_mass_times_velocity_squared():
    """ASE's unit of mass is the amu, its fs is in Å sqrt(amu/eV): amu (Å/fs)² = 1/fs² eV."""
    assert pytest.approx(1 / CODATA["fs"] ** 2, rel=1e-13) == AMU_ANGSTROM2_PER_FS2_IN_EV


def test_pressure():
    assert pytest.approx(1 / CODATA["GPa"], rel=1e-13) == EV_PER_CUBIC_ANGSTROM_IN_GPA


def test_thermal_energy_at_300_kelvin():
    """25.85 meV; a unit of energy or temperature mixed up would show here."""
    assert thermal_energy(300.0) == pytest.approx(0.0258520, abs=1e-7)

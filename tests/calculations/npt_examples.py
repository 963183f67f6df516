"""An NPT run of six atoms on a triclinic cell, and its energies written out once more, without the package's code."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from fixtures import configuration, label_of, rutile_atoms
from scipy.linalg import expm, logm

from aiida_slhmc.data.configuration import ConfigurationData

PRESSURE, TIME_CONSTANT, TEMPERATURE = 5.0, 80.0, 300.0
# a light cell, so that a short trajectory moves it, and a pressure that is felt
NPT_KERNEL = {
    "temperature": TEMPERATURE,
    "seed": 5,
    "device": "cpu",
    "ensemble": "npt",
    "pressure": PRESSURE,
    "cell_degrees_of_freedom": "full",
    "cell_time_constant": TIME_CONSTANT,
}
BOLTZMANN = 8.617333262145179e-5  # eV/K
GPA = 1 / 160.2176634  # eV/Å³, exact since 2019


def reference_atoms() -> Atoms:
    """Rutile in a cell with no right angle."""
    atoms = rutile_atoms()
    shear = np.array([[0.01, 0.02, 0.0], [-0.01, 0.0, 0.03], [0.02, -0.02, -0.01]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + shear), scale_atoms=True)
    return atoms


def strained_atoms(seed: int) -> Atoms:
    """The reference strained in all six ways, with the atoms off their sites."""
    generator = np.random.default_rng(seed)
    strain = generator.normal(0, 0.01, (3, 3))
    atoms = reference_atoms()
    atoms.set_cell(atoms.cell.array @ expm(0.5 * (strain + strain.T)), scale_atoms=True)
    atoms.positions += generator.normal(0, 0.03, (len(atoms), 3))
    return atoms


def labelled_state(atoms: Atoms) -> ConfigurationData:
    """A stored state with the stand-in's label."""
    return configuration(atoms, label_of(atoms)).store()


def cell_energy(
    cell: Any, reference_cell: Any, exponent: int, *, pressure: float = PRESSURE * GPA, jacobian: bool = True
) -> float:
    """PΩ − k_B T · exponent · ln(Ω/Ω₀) − k_B T ln J, with J from the eigenvalues of ln(h₀⁻¹ h); all in eV and Å."""
    values = np.linalg.eigvalsh(logm(np.linalg.inv(reference_cell) @ cell).real)
    gaps = [values[i] - values[j] for i, j in ((0, 1), (0, 2), (1, 2))]
    log_jacobian = sum(np.log(np.sinh(gap) / gap) for gap in gaps) if jacobian else 0.0
    volume, reference_volume = abs(np.linalg.det(cell)), abs(np.linalg.det(reference_cell))
    thermal = BOLTZMANN * TEMPERATURE
    return float(pressure * volume - thermal * (exponent * np.log(volume / reference_volume) + log_jacobian))

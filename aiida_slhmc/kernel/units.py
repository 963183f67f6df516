"""Units of the sampler: eV, Å, fs, amu, K; pressure is given in GPa. Momenta are in amu Å/fs."""

from __future__ import annotations

__all__ = ("AMU_ANGSTROM2_PER_FS2_IN_EV", "BOLTZMANN_EV_PER_K", "EV_PER_CUBIC_ANGSTROM_IN_GPA", "thermal_energy")

# CODATA 2018: k_B / e
BOLTZMANN_EV_PER_K = 8.617333262145179e-5
# CODATA 2018: 1 amu (Å/fs)² = 1.66053906660e-27 kg × 1e10 m²/s² / e
AMU_ANGSTROM2_PER_FS2_IN_EV = 1.66053906660e-27 * 1e10 / 1.602176634e-19
# CODATA 2018: 1 eV/Å³ in Pa, / 1e9
EV_PER_CUBIC_ANGSTROM_IN_GPA = 1.602176634e-19 * 1e30 / 1e9


def thermal_energy(temperature: float) -> float:
    """k_B T in eV for *temperature* in K."""
    return BOLTZMANN_EV_PER_K * temperature

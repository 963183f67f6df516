"""Molecular dynamics with massive Nosé–Hoover chains against exact laws, in NVT and in every cell mode of NPT.

Harmonic crystal: amplitudes of the normal modes and the temperature of all 3N degrees of freedom. Cells: the ideal gas
and the toys of `cell_toys.py`, now with no Metropolis test. Walkers are independent, and begin far from equilibrium.
Levels in evidence.py.
"""

import numpy as np
import pytest
from cell_toys import KT, N_ATOMS, TEMPERATURE, VOLUME, elastic_walk, ensemble, force_without_jacobian, shear, start
from evidence import CONTROL, LARGEST_CORRELATION, LEVEL, correlation, ks
from exact_laws import ideal_gas_volume, strain_laws
from md_runs import Dynamics, HarmonicCrystal, OneChain, WithoutThermostat
from scipy import stats
from toy_models import SoftSpheres

from aiida_slhmc.kernel.dynamics import kinetic_energy
from aiida_slhmc.kernel.ensembles import Nvt

pytestmark = pytest.mark.physical_validation

CRYSTAL = HarmonicCrystal(8, seed=3)
MASSES = np.array([47.867] * 3 + [15.999] * 5)
N_WALKERS = 128
NVT = "MD, harmonic crystal, NVT"


def crystal_run(n_samples=8, thinning=150, temperature=TEMPERATURE, **changes):
    """From the bottom of the wells, with the momenta of half the temperature."""
    cells = np.broadcast_to(10.0 * np.eye(3), (N_WALKERS, 3, 3))
    arguments = {"model": CRYSTAL, "timestep": 2.0, "time_constant": 15.0, "scale_of_momenta": np.sqrt(0.5)}
    dynamics = Dynamics(ensemble=Nvt(MASSES, temperature, cells), seed=5, **{**arguments, **changes})
    return dynamics.run(np.broadcast_to(CRYSTAL.sites, (N_WALKERS, 8, 3)), cells, 400, n_samples, thinning)


def twice_kinetic(samples):
    """2K/k_BT: χ² of 3N in equilibrium."""
    return 2 * kinetic_energy(samples.momenta, np.repeat(MASSES, 3)) / KT


def crystal_p_values(samples):
    return {
        "amplitudes of the modes, KS p": ks(CRYSTAL.standardised(samples.positions, TEMPERATURE), "norm"),
        "kinetic energy, KS p": ks(twice_kinetic(samples), stats.chi2(3 * len(MASSES)).cdf),
    }


class TestHarmonicCrystal:
    @pytest.fixture(scope="class")
    def samples(self):
        return crystal_run()

    def test_distribution(self, samples, validation):
        for statistic, p in crystal_p_values(samples).items():
            validation.claim(NVT, statistic, p, above=LEVEL)

    def test_variance_of_every_mode(self, samples, validation):
        """χ² of each of the 21 modes by itself, as independent samples; the smallest p value, times 21."""
        amplitudes = CRYSTAL.standardised(samples.positions, TEMPERATURE)[::2]
        squares = np.sum(amplitudes**2, axis=(0, 1)).ravel()
        law = stats.chi2(amplitudes.shape[0] * amplitudes.shape[1])
        p = 2 * np.minimum(law.cdf(squares), law.sf(squares))
        validation.claim(NVT, "variance of each mode, p × 21", 21 * p.min(), above=LEVEL)

    def test_temperature_is_of_3n(self, samples, validation):
        """Control: as if the momentum of the centre of mass were conserved."""
        statistic = "kinetic energy, KS p"
        p = ks(twice_kinetic(samples), stats.chi2(3 * len(MASSES) - 3).cdf)
        validation.control(NVT, statistic, "compared with 3N − 3", p, below=CONTROL)

    def test_the_test_is_not_idle(self, samples):
        """Samples are nearly independent, the time step is a small part of the fastest period, H′ does not drift."""
        assert CRYSTAL.fastest_period(MASSES) > 20 * 2.0
        modes = CRYSTAL.standardised(samples.positions, TEMPERATURE)
        assert abs(correlation(modes.reshape(len(modes), -1), 1)) < LARGEST_CORRELATION
        assert abs(correlation(twice_kinetic(samples), 1)) < LARGEST_CORRELATION
        changes = samples.conserved - samples.conserved[0]
        assert abs(changes[-200:].mean()) < 0.02 * KT * 3 * len(MASSES)

    @pytest.mark.parametrize(
        ("spoilt", "changes"),
        [
            ("no thermostat", {"thermostat": WithoutThermostat}),
            ("one chain for all coordinates", {"thermostat": OneChain}),
            ("25 % too hot", {"temperature": 1.25 * TEMPERATURE}),
        ],
    )
    def test_control(self, spoilt, changes, validation):
        """One chain has the right total kinetic energy, but in the wrong modes."""
        statistic = "amplitudes of the modes, KS p"
        p = crystal_p_values(crystal_run(**changes))[statistic]
        validation.control(NVT, statistic, spoilt, p, below=CONTROL)


def cell_run(mode, stiffness, n_samples=6, *, pressure=None, thinning=100, **changes):
    """Six particles in the cell of the toys; *stiffness* in k_BT, None for the ideal gas alone at *pressure* in GPa."""
    if stiffness is None:
        arguments = {"ensemble": ensemble(mode, pressure), "model": SoftSpheres()}
    else:
        walk = elastic_walk(mode, stiffness, 1.0)
        arguments = {"ensemble": walk.ensemble, "model": walk.target}
    arguments |= {"timestep": 2.0, "time_constant": 8.0}
    dynamics = Dynamics(seed=6, **{**arguments, **changes})
    return dynamics.run(*start(), 300, n_samples, thinning)


PRESSURE = 0.24  # GPa: (N + 1) k_BT / P is 121 Å³


def exponent_n(ensemble, model):
    """A wrong kernel: Ω^N, by the force −k_BT ∂ tr ε/∂e of the isotropic strain."""
    potential = ensemble.potential(model)

    def evaluate(coordinates):
        energy, forces = potential(coordinates)
        forces[..., -1] -= np.sqrt(3) * KT
        return energy + np.sqrt(3) * KT * coordinates[..., -1], forces

    return evaluate


class TestIdealGas:
    NAME = f"MD, ideal gas, {PRESSURE} GPa"

    @pytest.fixture(scope="class")
    def samples(self):
        return cell_run("isotropic", None, pressure=PRESSURE)

    def test_volume(self, samples, validation):
        """Controls on the same run: it is not the Gamma law of N in place of N + 1, nor of N + 2."""
        statistic = "volume, KS p"
        p = ks(samples.volumes, ideal_gas_volume(N_ATOMS, PRESSURE, TEMPERATURE).cdf)
        validation.claim(self.NAME, statistic, p, above=LEVEL)
        for change, spoilt in ((-1, "compared with Gamma(N)"), (1, "compared with Gamma(N + 2)")):
            p = ks(samples.volumes, ideal_gas_volume(N_ATOMS + change, PRESSURE, TEMPERATURE).cdf)
            validation.control(self.NAME, statistic, spoilt, p, below=CONTROL)

    def test_the_test_is_not_idle(self, samples):
        assert abs(correlation(samples.volumes, 1)) < LARGEST_CORRELATION

    def test_control_exponent(self, validation):
        samples = cell_run("isotropic", None, pressure=PRESSURE, potential=exponent_n)
        p = ks(samples.volumes, ideal_gas_volume(N_ATOMS, PRESSURE, TEMPERATURE).cdf)
        validation.control(self.NAME, "volume, KS p", "kernel with N for N + 1", p, below=CONTROL)
        assert ks(samples.volumes, ideal_gas_volume(N_ATOMS - 1, PRESSURE, TEMPERATURE).cdf) > LEVEL


# cell mode and K / k_BT
CASES = {"orthorhombic": 30.0, "full": 5.0}


def elastic_p_values(samples, mode):
    volume, shear_law = strain_laws(mode, N_ATOMS + 1, 2.0, CASES[mode])
    return {
        "volume, KS p": ks(samples.volumes / VOLUME, volume.cdf),
        "shear, KS p": ks(shear(samples.cells), shear_law.cdf),
    }


class TestElasticCell:
    @pytest.fixture(scope="class", params=CASES)
    def run(self, request):
        return request.param, cell_run(request.param, CASES[request.param])

    def test_against_quadrature(self, run, validation):
        mode, samples = run
        for statistic, p in elastic_p_values(samples, mode).items():
            validation.claim(f"MD, toy {mode}", statistic, p, above=LEVEL)
        other = strain_laws(mode, N_ATOMS, 2.0, CASES[mode])[0]
        p = ks(samples.volumes / VOLUME, other.cdf)
        validation.control(f"MD, toy {mode}", "volume, KS p", "compared with N for N + 1", p, below=CONTROL)

    def test_the_test_is_not_idle(self, run):
        _, samples = run
        for series in (samples.volumes, shear(samples.cells)):
            assert abs(correlation(series, 1)) < LARGEST_CORRELATION

    def test_control_without_jacobian(self, validation):
        """In molecular dynamics the force alone decides what is sampled."""
        samples = cell_run("full", CASES["full"], potential=force_without_jacobian)
        p = elastic_p_values(samples, "full")["shear, KS p"]
        validation.control("MD, toy full", "shear, KS p", "J dropped from the force", p, below=CONTROL)
        law = strain_laws("full", N_ATOMS + 1, 2.0, CASES["full"], jacobian=False)[1]
        assert ks(shear(samples.cells), law.cdf) > LEVEL

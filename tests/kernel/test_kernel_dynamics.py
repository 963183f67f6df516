"""Momenta and the leapfrog integrator; every test of a property also rejects an integrator that lacks it.

Statistical tests: fixed seeds, p > 1e-3 asked for where the claim is true (with other seeds one in a thousand would
fail), p < 1e-6 for the controls.
"""

import ase
import numpy as np
import pytest
from ase.units import create_units
from integrators import explicit_euler, log_determinant, symplectic_euler, there_and_back, with_drag
from scipy import stats
from systems import ATOMIC_MASSES, MASSES, anharmonic, phase

from aiida_slhmc.kernel.dynamics import Phase, draw_momenta, jittered_steps, kinetic_energy, leapfrog
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV, thermal_energy

LEVEL, CONTROL = 1e-3, 1e-6
TEMPERATURE = 300.0


@pytest.fixture(scope="module")
def momenta():
    """4000 draws for four atoms."""
    generator = np.random.default_rng(11)
    return np.stack([draw_momenta(generator, ATOMIC_MASSES, TEMPERATURE) for _ in range(4000)])


class TestMomenta:
    def test_total_momentum_is_zero(self, momenta):
        assert np.abs(momenta.sum(axis=1)).max() < 1e-14

    def test_kinetic_energy_is_chi_squared_with_3n_minus_3_degrees(self, momenta):
        """Control: the same sample is not that of 3N degrees of freedom, nor of another temperature."""
        doubled = 2 * kinetic_energy(momenta.reshape(-1, 12), MASSES) / thermal_energy(TEMPERATURE)
        assert stats.kstest(doubled, stats.chi2(9).cdf).pvalue > LEVEL
        assert stats.kstest(doubled, stats.chi2(12).cdf).pvalue < CONTROL
        assert stats.kstest(doubled * TEMPERATURE / 330, stats.chi2(9).cdf).pvalue < CONTROL

    @pytest.mark.parametrize("atom", range(4))
    def test_components_are_gaussian(self, momenta, atom):
        """Variance m k_B T (1 − m/M) after the projection. Control: without the last factor the heavy atom fails."""
        mass = ATOMIC_MASSES[atom]
        free = np.sqrt(mass * thermal_energy(TEMPERATURE) / AMU_ANGSTROM2_PER_FS2_IN_EV)
        scale = free * np.sqrt(1 - mass / ATOMIC_MASSES.sum())
        assert stats.kstest(momenta[:, atom].ravel() / scale, "norm").pvalue > LEVEL
        if atom == 0:
            assert stats.kstest(momenta[:, atom].ravel() / free, "norm").pvalue < CONTROL

    def test_relative_velocity_has_the_reduced_mass(self, momenta):
        """The projection must not touch velocities relative to each other. Control: subtracting the mean momentum.

        That is the other way to make the total momentum vanish, and not the Maxwell distribution for unlike masses.
        """
        reduced = ATOMIC_MASSES[0] * ATOMIC_MASSES[3] / (ATOMIC_MASSES[0] + ATOMIC_MASSES[3])
        scale = np.sqrt(thermal_energy(TEMPERATURE) / reduced / AMU_ANGSTROM2_PER_FS2_IN_EV)
        velocity = momenta / ATOMIC_MASSES[:, None]
        assert stats.kstest((velocity[:, 3] - velocity[:, 0]).ravel() / scale, "norm").pvalue > LEVEL
        sigma = np.sqrt(ATOMIC_MASSES * thermal_energy(TEMPERATURE) / AMU_ANGSTROM2_PER_FS2_IN_EV)
        wrong = np.random.default_rng(11).standard_normal((4000, 4, 3)) * sigma[:, None]
        wrong = (wrong - wrong.mean(axis=1, keepdims=True)) / ATOMIC_MASSES[:, None]
        assert stats.kstest((wrong[:, 3] - wrong[:, 0]).ravel() / scale, "norm").pvalue < CONTROL

    def test_one_atom_is_at_rest(self):
        np.testing.assert_allclose(draw_momenta(np.random.default_rng(0), np.array([4.0]), 300.0), 0, atol=1e-15)


def test_kinetic_energy_is_ases(momenta):
    """ASE's default units are of an older CODATA edition, equal to 1e-7; the conversion of fs is exact in 2018's."""
    femtosecond = create_units("2018")["fs"]
    atoms = ase.Atoms("TiO2H", positions=np.zeros((4, 3)), masses=ATOMIC_MASSES)
    atoms.set_velocities(momenta[0] / ATOMIC_MASSES[:, None] / femtosecond)
    assert kinetic_energy(momenta[0].ravel(), MASSES) == pytest.approx(atoms.get_kinetic_energy(), rel=1e-12)


def harmonic(stiffness):
    def potential(coordinates):
        return 0.5 * stiffness * np.sum(coordinates**2, axis=-1), -stiffness * coordinates

    return potential


def order_of_convergence(integrator):
    """Slope of log error against log Δt after a fixed time, for a harmonic oscillator with the known solution."""
    stiffness, mass, duration = 5.0, 16.0, 64.0
    omega = np.sqrt(stiffness / (mass * AMU_ANGSTROM2_PER_FS2_IN_EV))
    x0, p0 = np.array([0.1, -0.2, 0.05]), np.array([0.02, 0.01, -0.03])
    start = Phase(x0, p0, *harmonic(stiffness)(x0))
    exact = x0 * np.cos(omega * duration) + p0 / (mass * omega) * np.sin(omega * duration)
    exact_p = p0 * np.cos(omega * duration) - mass * omega * x0 * np.sin(omega * duration)
    errors = []
    for n_steps in (64, 128, 256):
        end = integrator(start, np.full(3, mass), duration / n_steps, n_steps, harmonic(stiffness))
        errors.append(np.hypot(np.abs(end.coordinates - exact).max(), np.abs(end.momenta - exact_p).max()))
    return np.diff(np.log(errors)) / np.log(0.5)


class TestLeapfrog:
    def test_second_order_to_the_analytic_solution(self):
        """Control: symplectic Euler is of first order. A wrong unit of force or mass would not converge at all."""
        np.testing.assert_allclose(order_of_convergence(leapfrog), 2, atol=0.02)
        assert np.all(order_of_convergence(symplectic_euler) < 1.3)

    def test_batch_is_bitwise_the_walkers_one_by_one(self):
        """Would fail if walkers of a batch were mixed, or summed in another order."""
        start = phase(1, batch=(5,))
        end = leapfrog(start, MASSES, 1.0, 30, anharmonic)
        kinetic = kinetic_energy(end.momenta, MASSES)
        assert kinetic.shape == (5,)
        for k in range(5):
            alone = leapfrog(Phase(*(part[k] for part in start)), MASSES, 1.0, 30, anharmonic)
            for batched, single in zip(end, alone, strict=True):
                np.testing.assert_array_equal(batched[k], single)
            assert kinetic[k] == kinetic_energy(alone.momenta, MASSES)

    def test_end_carries_its_own_energy_and_forces(self):
        """Control built in: the start's energy is another one."""
        start = phase(2)
        end = leapfrog(start, MASSES, 1.0, 10, anharmonic)
        energy, forces = anharmonic(end.coordinates)
        assert end.energy == energy != start.energy
        np.testing.assert_array_equal(end.forces, forces)

    def test_one_force_evaluation_per_step_and_start_untouched(self):
        calls = []
        start = phase(3)
        copies = [np.copy(part) for part in start]

        def counted(coordinates):
            calls.append(coordinates)
            return anharmonic(coordinates)

        leapfrog(start, MASSES, 1.0, 7, counted)
        assert len(calls) == 7
        for part, copy in zip(start, copies, strict=True):
            np.testing.assert_array_equal(part, copy)

    def test_reversible(self):
        """50 steps, flip, 50 steps: back to 1e-12 Å. Controls: both Euler integrators miss by a million times that."""
        assert return_distance(leapfrog) < 1e-12
        assert return_distance(explicit_euler) > 1e-6
        assert return_distance(symplectic_euler) > 1e-6

    def test_volume_preserving(self):
        """|det ∂(r', p')/∂(r, p)| = 1 by central differences, two atoms. Controls: explicit Euler, and a drag."""
        assert abs(volume(leapfrog)) < 1e-7
        assert abs(volume(explicit_euler)) > 1e-4
        assert volume(with_drag(0.9999)) == pytest.approx(6 * np.log(0.9999), abs=1e-7)

    def test_energy_error_does_not_drift(self):
        """Bounded over 20000 steps, as for a symplectic map. Control: explicit Euler gains energy within 100."""
        start = phase(4)
        total = start.energy + kinetic_energy(start.momenta, MASSES)
        errors = []
        for _ in range(200):
            start = leapfrog(start, MASSES, 0.5, 100, anharmonic)
            errors.append(start.energy + kinetic_energy(start.momenta, MASSES) - total)
        assert np.abs(errors).max() < 5e-3
        end = explicit_euler(phase(4), MASSES, 0.5, 100, anharmonic)
        assert end.energy + kinetic_energy(end.momenta, MASSES) - total > 5e-3


def return_distance(integrator):
    start = phase(5)
    back = there_and_back(integrator, start, MASSES, 1.0, 50, anharmonic)[1]
    return np.abs(back.coordinates - start.coordinates).max()


def volume(integrator):
    return log_determinant(integrator, phase(6, n_atoms=2), MASSES[:6], 3.0, 5, anharmonic)


class TestJitter:
    def test_uniform_between_the_bounds(self):
        """20 % of 10 steps: 8 to 12, each as often (chi-squared). Control: a rounded Gaussian is told from it."""
        generator = np.random.default_rng(3)
        counts = np.bincount([jittered_steps(generator, 10, 0.2) for _ in range(5000)], minlength=13)
        assert counts[:8].sum() == 0
        assert len(counts) == 13
        assert stats.chisquare(counts[8:]).pvalue > LEVEL
        gaussian = np.clip(np.round(generator.normal(10, 1, 5000)), 8, 12).astype(int)
        assert stats.chisquare(np.bincount(gaussian)[8:]).pvalue < CONTROL

    def test_no_jitter_is_the_number_itself(self):
        assert {jittered_steps(np.random.default_rng(seed), 17, 0.0) for seed in range(20)} == {17}

    def test_never_less_than_one_step(self):
        assert {jittered_steps(np.random.default_rng(seed), 1, 0.9) for seed in range(50)} == {1, 2}

    @pytest.mark.parametrize(("n_steps", "jitter"), [(0, 0.2), (-3, 0.2), (10, 1.0), (10, -0.1), (10, float("nan"))])
    def test_refuses_what_makes_no_sense(self, n_steps, jitter):
        with pytest.raises(ValueError, match="n_steps >= 1 and 0 <= jitter < 1"):
            jittered_steps(np.random.default_rng(0), n_steps, jitter)

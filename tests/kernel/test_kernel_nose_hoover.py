"""Massive Nosé–Hoover chains: the equations of motion, against ASE's thermostat, reversibility, what is conserved."""

import numpy as np
import pytest
from ase.md.nose_hoover_chain import NoseHooverChainThermostat
from ase.units import kB
from gaussian_crystal import GaussianCrystal
from systems import ATOMIC_MASSES, MASSES, MODES, anharmonic, npt, npt_coordinates, phase

from aiida_slhmc.kernel.dynamics import Phase, kinetic_energy
from aiida_slhmc.kernel.nose_hoover import Chains, NoseHoover, kinetic_temperature
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV, BOLTZMANN_EV_PER_K, thermal_energy

TEMPERATURE = 300.0
# ASE's unit of time in fs: its momenta, squared and divided by the mass, are in eV
ASE_TIME = np.sqrt(AMU_ANGSTROM2_PER_FS2_IN_EV)


def chains_of(masses=MASSES, **changes):
    return NoseHoover(masses, **{"temperature": TEMPERATURE, "time_constant": 15.0, "length": 4, **changes})


def start_of(thermostat, seed=0, batch=()):
    generator = np.random.default_rng(seed)
    begin = phase(seed, batch=batch)
    momenta = thermostat.draw_momenta(generator, batch)
    return begin._replace(momenta=momenta), thermostat.draw_chains(generator, batch)


def run(thermostat, begin, chains, timestep, n_steps, potential=anharmonic):
    for _ in range(n_steps):
        begin, chains = thermostat.step(begin, chains, timestep, potential)
    return begin, chains


def harmonic(coordinates):
    """One oscillator of 5 eV/Å²."""
    return 2.5 * np.sum(coordinates**2, axis=-1), -5.0 * coordinates


def ase_chain(mass, time_constant, length):
    """ASE's chain for one degree of freedom, in its own units: a third of an atom has 3/3 of them."""
    return NoseHooverChainThermostat(
        num_atoms_global=1 / 3,
        masses=np.array([[mass]]),
        temperature_K=TEMPERATURE * BOLTZMANN_EV_PER_K / kB,
        tdamp=time_constant / ASE_TIME,
        tchain=length,
    )


@pytest.mark.parametrize("length", [1, 2, 4])
class TestAgainstAse:
    """One coordinate is what both describe; ASE's has one chain for all coordinates that it is given."""

    def test_thermostat_alone(self, length):
        ours, theirs = chains_of(np.array([16.0]), length=length), ase_chain(16.0, 15.0, length)
        begin, chains = start_of(ours)[0].momenta[:1], ours.draw_chains(np.random.default_rng(1))
        thermal = thermal_energy(TEMPERATURE)
        theirs._p_eta[:] = thermal * 15.0**2 * chains.velocities[:, 0] / ASE_TIME
        momentum, other = begin, np.array([begin]) * ASE_TIME
        for _ in range(100):
            momentum, chains = ours.thermostat(momentum, chains, 0.5)
            other = theirs.integrate_nhc(other, 0.5 / ASE_TIME)
            assert momentum[0] == pytest.approx(other[0, 0] / ASE_TIME, rel=1e-10)
        np.testing.assert_allclose(chains.positions[:, 0], theirs._eta, rtol=1e-10)
        assert ours.chain_energy(chains) == pytest.approx(theirs.get_thermostat_energy(), rel=1e-10)
        assert abs(momentum[0] / begin[0] - 1) > 0.05

    def test_oscillator_step_for_step(self, length):
        """Fails where an operator has another place or weight. Control: with another τ the two part."""
        ours = chains_of(np.array([16.0]), length=length)
        distances = []
        for time_constant in (15.0, 15.1):
            theirs = ase_chain(16.0, time_constant, length)
            point = Phase(np.array([0.1]), np.array([0.02]), *harmonic(np.array([0.1])))
            chains = Chains(np.zeros((length, 1)), np.zeros((length, 1)))
            q, p, largest = np.array([[0.1]]), np.array([[0.02 * ASE_TIME]]), 0.0
            for _ in range(300):
                point, chains = ours.step(point, chains, 1.0, harmonic)
                p = theirs.integrate_nhc(p, 0.5 / ASE_TIME) - 5.0 * q * 0.5 / ASE_TIME
                q = q + p / 16.0 / ASE_TIME
                p = theirs.integrate_nhc(p - 5.0 * q * 0.5 / ASE_TIME, 0.5 / ASE_TIME)
                largest = max(largest, abs(point.coordinates[0] - q[0, 0]), abs(point.momenta[0] - p[0, 0] / ASE_TIME))
            distances.append(largest)
        assert distances[0] < 1e-10
        assert distances[1] > 1e-5


def test_each_coordinate_has_a_chain_of_its_own():
    """Fails where a chain feels the momentum of another coordinate."""
    thermostat = chains_of()
    momenta, chains = start_of(thermostat)[0].momenta, thermostat.draw_chains(np.random.default_rng(2))
    together = thermostat.thermostat(momenta, chains, 2.0)
    for i, mass in enumerate(MASSES):
        alone = chains_of(np.array([mass])).thermostat(
            momenta[i : i + 1], Chains(*(part[:, i : i + 1] for part in chains)), 2.0
        )
        assert together[0][i] == pytest.approx(alone[0][0], rel=1e-13)
        np.testing.assert_allclose(together[1].velocities[:, i], alone[1].velocities[:, 0], rtol=1e-12)


def test_walkers_of_a_batch_do_not_feel_each_other():
    thermostat = chains_of()
    begin, chains = start_of(thermostat, batch=(2, 3))
    end, last = run(thermostat, begin, chains, 1.0, 5)
    one = Phase(*(part[1, 2] for part in begin)), Chains(*(part[:, 1, 2] for part in chains))
    alone, alone_last = run(thermostat, *one, 1.0, 5)
    np.testing.assert_allclose(end.coordinates[1, 2], alone.coordinates, rtol=1e-13)
    energies = thermostat.conserved_energy(end, last)
    assert energies.shape == (2, 3)
    assert energies[1, 2] == pytest.approx(thermostat.conserved_energy(alone, alone_last), rel=1e-13)


def test_nothing_is_changed_in_place():
    """Fails where a state that a run has kept moves on with it."""
    thermostat = chains_of()
    begin, chains = start_of(thermostat)
    kept = [part.copy() for part in (*begin, *chains)]
    thermostat.step(begin, chains, 1.0, anharmonic)
    for part, copy in zip((*begin, *chains), kept, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_reversible():
    """Flip momenta and chain velocities, run again, and the start is reached. Control: the chains not flipped."""
    thermostat = chains_of()
    begin, chains = start_of(thermostat)
    end, last = run(thermostat, begin, chains, 1.0, 50)
    assert np.abs(end.coordinates - begin.coordinates).max() > 0.01
    flipped = end._replace(momenta=-end.momenta)
    back, _ = run(thermostat, flipped, Chains(last.positions, -last.velocities), 1.0, 50)
    wrong, _ = run(thermostat, flipped, last, 1.0, 50)
    assert np.abs(back.coordinates - begin.coordinates).max() < 1e-10
    assert np.abs(wrong.coordinates - begin.coordinates).max() > 1e-3


def extended_energies(thermostat, begin, chains, timestep, n_steps, potential):
    """H′ and H along the run."""
    values = []
    for _ in range(n_steps):
        begin, chains = thermostat.step(begin, chains, timestep, potential)
        h = begin.energy + kinetic_energy(begin.momenta, thermostat.masses)
        values.append((float(thermostat.conserved_energy(begin, chains)), float(h)))
    return np.array(values)


def test_conserved_energy():
    """Its error is of second order in the time step. Control: H alone is not conserved, at any time step."""
    thermostat = chains_of()
    begin, chains = start_of(thermostat)
    spreads = [
        np.std(extended_energies(thermostat, begin, chains, 1.0 / n, 200 * n, anharmonic), axis=0) for n in (1, 2)
    ]
    assert spreads[0][0] / spreads[1][0] == pytest.approx(4, rel=0.1)
    assert spreads[0][1] / spreads[1][1] == pytest.approx(1, rel=0.1)
    assert spreads[0][0] < 0.05 * spreads[0][1]


@pytest.mark.parametrize("mode", MODES)
def test_conserved_energy_with_a_cell(mode):
    """Fails where the strain's thermostat has another mass than its kinetic energy, or Φ another force."""
    ensemble = npt(mode, cell_time_constant=60.0)
    potential = ensemble.potential(GaussianCrystal(np.array([1.5, 1.0, 1.2, 0.8])))
    thermostat = chains_of(ensemble.masses)
    generator = np.random.default_rng(3)
    coordinates = npt_coordinates(ensemble, 3, strain=0.02)
    begin = Phase(coordinates, thermostat.draw_momenta(generator), *potential(coordinates))
    chains = thermostat.draw_chains(generator)
    spreads = [
        np.std(extended_energies(thermostat, begin, chains, 0.5 / n, 100 * n, potential), axis=0) for n in (1, 2)
    ]
    assert spreads[0][0] / spreads[1][0] == pytest.approx(4, rel=0.15)
    assert spreads[0][1] > 3 * spreads[0][0]


def test_equal_chunks_are_bitwise_one_run():
    """Fails where a run that was cut and goes on is another."""
    thermostat = chains_of()
    begin, chains = start_of(thermostat)
    whole = run(thermostat, begin, chains, 1.0, 20)
    parts = run(thermostat, *run(thermostat, begin, chains, 1.0, 7), 1.0, 13)
    for one, other in zip((*whole[0], *whole[1]), (*parts[0], *parts[1]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_draws_are_the_stationary_ones():
    """Means of squares in units of their expectation, 12000 values each: the error is 1.3 %."""
    thermostat = chains_of()
    generator = np.random.default_rng(4)
    momenta, chains = thermostat.draw_momenta(generator, (1000,)), thermostat.draw_chains(generator, (1000,))
    assert np.mean(kinetic_temperature(momenta, MASSES)) == pytest.approx(TEMPERATURE, rel=0.04)
    thermal = thermal_energy(TEMPERATURE) / AMU_ANGSTROM2_PER_FS2_IN_EV
    np.testing.assert_allclose(np.mean(momenta**2, axis=0), MASSES * thermal, rtol=0.2)
    np.testing.assert_allclose(np.mean(chains.velocities**2, axis=(1, 2)) * 15.0**2, 1, rtol=0.06)
    assert not chains.positions.any()


def test_kinetic_temperature():
    """Of 3N degrees of freedom: one coordinate with k_B T/2 each."""
    momenta = np.sqrt(MASSES * thermal_energy(250.0) / AMU_ANGSTROM2_PER_FS2_IN_EV)
    assert kinetic_temperature(momenta, MASSES) == pytest.approx(250.0, rel=1e-12)
    assert len(MASSES) == 3 * len(ATOMIC_MASSES)


def test_total_momentum_is_not_conserved():
    """As the module says; with the leapfrog alone it is, for a potential that depends on differences only."""
    thermostat = chains_of()

    def pairs(coordinates):
        r = coordinates.reshape(-1, 3)
        between = r[:, None] - r
        return 0.25 * np.sum(between**2), -np.sum(between, axis=1).ravel()

    begin, chains = start_of(thermostat)
    begin = begin._replace(energy=pairs(begin.coordinates)[0], forces=pairs(begin.coordinates)[1])
    end, _ = run(thermostat, begin, chains, 1.0, 50, pairs)
    still = Chains(np.zeros_like(chains.positions), np.zeros_like(chains.velocities))
    slow = chains_of(time_constant=1e9)
    free, _ = run(slow, begin, still, 1.0, 50, pairs)
    total = [part.momenta.reshape(-1, 3).sum(axis=0) for part in (begin, end, free)]
    np.testing.assert_allclose(total[2], total[0], atol=1e-12)
    assert np.abs(total[1] - total[0]).max() > 1e-3

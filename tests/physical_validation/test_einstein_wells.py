"""Harmonic wells whose target is stiffer or softer than the model that proposes: the chain samples the target's.

Kolmogorov–Smirnov on thinned chains, against the exact distribution, of

- the standardised coordinates (a standard normal each) and
- the target's energy (2βV_T has the chi-squared distribution of the 3N − 3 coordinates),

and Creutz's identity within its error. Seeds are fixed; each of the three asks for p > 1e-3, so for a correct sampler
and random seeds one such test in a thousand would fail. Every negative control spoils one thing and asserts that the
same statistics reject the chain at p < 1e-6.
"""

from dataclasses import replace

import numpy as np
import pytest
from sampler import EinsteinWells, Walk
from scipy import stats

from aiida_slhmc.kernel.diagnostics import creutz
from aiida_slhmc.kernel.dynamics import draw_momenta, leapfrog
from aiida_slhmc.kernel.metropolis import energy_change
from aiida_slhmc.kernel.units import thermal_energy

pytestmark = pytest.mark.physical_validation

LEVEL, CONTROL = 1e-3, 1e-6
TEMPERATURE = 300.0
MASSES = np.array([47.867, 15.999, 15.999])
STIFFNESS = np.array([6.0, 4.0, 5.0])
TARGET = EinsteinWells(MASSES, STIFFNESS)
STIFF, SOFT = EinsteinWells(MASSES, 1.2 * STIFFNESS), EinsteinWells(MASSES, 0.75 * STIFFNESS)
BURN_IN, N_CYCLES, N_WALKERS, THINNING = 30, 510, 32, 8


def thinned(array):
    return array[BURN_IN::THINNING].reshape(-1, *array.shape[2:])


def p_values(displacements):
    """Of the coordinates and of the energy, for configurations (n, n_atoms, 3)."""
    coordinates = TARGET.standardised(displacements, TEMPERATURE)
    energies = TARGET(displacements)[0]
    n_coordinates = coordinates[0].size
    return {
        "coordinates": stats.kstest(coordinates.ravel(), "norm").pvalue,
        "energy": stats.kstest(2 * energies / thermal_energy(TEMPERATURE), stats.chi2(n_coordinates).cdf).pvalue,
    }


def creutz_p_value(chain):
    value, error = creutz(thinned(chain.delta_h), TEMPERATURE)
    return 2 * stats.norm.sf(abs(value - 1) / error)


def walk(**changes):
    """A walk with the stiff model, or with what *changes* put in its place."""
    return replace(Walk(masses=MASSES, target=TARGET, model=STIFF, seed=1), **changes).run(N_WALKERS, N_CYCLES)


@pytest.fixture(scope="module", params=[STIFF, SOFT], ids=["stiff", "soft"])
def chain(request):
    return walk(model=request.param)


@pytest.fixture(scope="module")
def stiff_chain():
    return walk()


class TestCorrectSampler:
    def test_distribution_is_the_targets(self, chain):
        assert min(p_values(thinned(chain.displacements)).values()) > LEVEL

    def test_creutz(self, chain):
        assert creutz_p_value(chain) > LEVEL

    def test_the_test_is_not_idle(self, chain):
        """Proposals are accepted and rejected, and what is compared is thinned enough to be taken as independent."""
        assert 0.5 < chain.accepted[BURN_IN:].mean() < 0.95
        energies = TARGET(chain.displacements[BURN_IN:])[0]
        deviations = energies - energies.mean()
        correlation = np.mean(deviations[:-THINNING] * deviations[THINNING:]) / np.mean(deviations**2)
        assert correlation < 0.08

    def test_centre_of_mass_stays(self, chain):
        """What the exact distribution above assumes."""
        assert np.abs(np.einsum("a,...ax->...x", MASSES, chain.displacements)).max() < 1e-11

    def test_same_seed_same_chain(self):
        """Bitwise, from nothing but the seed."""
        walks = [Walk(masses=MASSES, target=TARGET, model=STIFF, seed=seed).run(3, 10) for seed in (4, 4, 5)]
        np.testing.assert_array_equal(walks[0].displacements, walks[1].displacements)
        assert not np.array_equal(walks[0].displacements, walks[2].displacements)


class TestNegativeControls:
    """Each would pass only if the tests above could not fail."""

    def test_model_energy_in_place_of_the_target(self):
        chain = walk(target=STIFF)
        assert max(p_values(thinned(chain.displacements)).values()) < CONTROL

    def test_kinetic_term_dropped(self):
        chain = walk(change=lambda target, model, kinetic: energy_change(target, model, (0.0, 0.0)))
        assert max(p_values(thinned(chain.displacements)).values()) < CONTROL

    def test_rejected_states_not_repeated(self, stiff_chain):
        """The list of accepted states is not the chain."""
        moved = [stiff_chain.displacements[BURN_IN:, k][stiff_chain.accepted[BURN_IN:, k]] for k in range(N_WALKERS)]
        accepted = np.concatenate([states[:: THINNING // 2] for states in moved])
        assert min(p_values(accepted).values()) < CONTROL

    def test_momenta_at_the_wrong_temperature(self):
        chain = walk(momenta=lambda generator, masses, temperature: draw_momenta(generator, masses, 1.2 * temperature))
        assert min(p_values(thinned(chain.displacements)).values()) < CONTROL

    def test_length_that_depends_on_the_state(self):
        """Short trajectories from high energies, long ones from low: the way back is not of the same length."""
        chain = walk(lengths=lambda generator, energies, n_steps, jitter: np.where(energies > 0.08, 3, 8))
        assert min(p_values(thinned(chain.displacements)).values()) < CONTROL

    def test_integrator_that_shrinks_volume(self):
        """A drag of 3 % per trajectory: Creutz's identity sees it, and so does the distribution."""

        def drag(*arguments):
            end = leapfrog(*arguments)
            return end._replace(momenta=0.97 * end.momenta)

        chain = walk(integrator=drag)
        assert creutz_p_value(chain) < CONTROL
        assert min(p_values(thinned(chain.displacements)).values()) < CONTROL

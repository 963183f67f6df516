"""Refusing proposals whose integration error is beyond the bound leaves the chain exact: here every fifth is refused.

The harmonic wells of test_einstein_wells.py in NVT, with a long time step and a bound of an eighth of k_BT in place of
one that only a diverging trajectory exceeds. The control refuses ΔH_M above the bound alone: the way there is then
allowed where the way back is not.
"""

import math

import numpy as np
import pytest
from evidence import CONTROL, LARGEST_CORRELATION, LEVEL, correlation, creutz_p, ks
from scipy import stats
from wells import KT, MASSES, TEMPERATURE, WELLS, nvt_walk, start

from aiida_slhmc.kernel.metropolis import energy_change
from aiida_slhmc.worker.divergence import over_the_bound

pytestmark = pytest.mark.physical_validation

SYSTEM = "wells, NVT, a fifth of the proposals refused"
BOUND = 0.125 * KT
# refusals come in runs, where a walker is high up its wells: the energies forget more slowly than elsewhere
BURN_IN, THINNING, N_SAMPLES = 100, 40, 10


def run(refuses):
    """The chain after the burn-in; an infinite ΔH is refused, with its random number drawn as usual."""

    def change(*pairs):
        plain = energy_change(*pairs)
        return plain._replace(total=math.inf) if refuses(plain.integration) else plain

    chain = nvt_walk(timestep=8.0, n_steps=5, change=change).run(*start(), BURN_IN + N_SAMPLES * THINNING)
    return chain.thinned(BURN_IN, 1)


def as_the_worker_does(error):
    return bool(over_the_bound(np.array([error]), BOUND))


def energies(chain):
    return 2 * WELLS(chain.positions, chain.cells).energies / KT


def p_values(chain):
    thinned = chain.thinned(0, THINNING)
    return {
        "coordinates, KS p": ks(WELLS.standardised(thinned.positions, thinned.cells, TEMPERATURE), "norm"),
        "energy, KS p": ks(energies(thinned), stats.chi2(3 * len(MASSES) - 3).cdf),
    }


@pytest.fixture(scope="module")
def chain():
    return run(as_the_worker_does)


def test_distribution_is_the_targets(chain, validation):
    for statistic, p in p_values(chain).items():
        validation.claim(SYSTEM, statistic, p, above=LEVEL)


def test_creutz_of_those_that_are_left(chain, validation):
    """The set of refused trajectories is its own mirror image, so that the identity holds outside of it."""
    left = chain.thinned(0, THINNING).delta_h
    validation.claim(SYSTEM, "Creutz p", creutz_p(left[np.isfinite(left)], TEMPERATURE), above=LEVEL)


def test_the_test_is_not_idle(chain):
    """A fifth is refused, others are accepted, and the samples are thinned enough to be taken as independent."""
    assert 0.15 < np.mean(np.isinf(chain.delta_h)) < 0.25
    assert 0.4 < chain.accepted.mean() < 0.85
    assert correlation(energies(chain), THINNING) < LARGEST_CORRELATION


def test_control_refusing_one_sign_only(validation):
    found = p_values(run(lambda error: error > BOUND))
    for statistic, p in found.items():
        validation.control(SYSTEM, statistic, "only ΔH_M > bound refused", p, below=CONTROL)

"""Harmonic wells whose target is stiffer or softer than the model that proposes: the chain samples the target's.

In NVT and in each cell mode of NPT, by Kolmogorov–Smirnov on thinned chains against the exact distributions of

- the standardised coordinates (a standard normal each, at any cell),
- the wells' energy (2βV has the chi-squared distribution of the 3N − 3 coordinates),
- in NPT, the volume (by quadrature, see exact_laws.py),

and Creutz's identity within its error; levels in evidence.py.
"""

import numpy as np
import pytest
from evidence import CONTROL, LARGEST_CORRELATION, LEVEL, correlation, creutz_p, ks
from integrators import with_drag
from scipy import stats
from wells import CELL, KT, MASSES, N_WALKERS, TEMPERATURE, WELLS, npt_volume_law, npt_walk, nvt_walk, start, wells

from aiida_slhmc.kernel.metropolis import energy_change

pytestmark = pytest.mark.physical_validation

MODES = ("isotropic", "orthorhombic", "full")
BURN_IN, THINNING = 25, 10


def run(walk, n_samples=12):
    """The thinned chain of *n_samples* per walker, and the whole one after the burn-in."""
    chain = walk.run(*start(), BURN_IN + n_samples * THINNING)
    return chain.thinned(BURN_IN, THINNING), chain.thinned(BURN_IN, 1)


def p_values(chain):
    """Of the coordinates and of the energy."""
    energies = WELLS(chain.positions, chain.cells).energies
    return {
        "coordinates, KS p": ks(WELLS.standardised(chain.positions, chain.cells, TEMPERATURE), "norm"),
        "energy, KS p": ks(2 * energies / KT, stats.chi2(3 * len(MASSES) - 3).cdf),
    }


def npt_p_values(chain, mode):
    return {**p_values(chain), "volume, KS p": ks(chain.volumes / np.linalg.det(CELL), npt_volume_law(mode).cdf)}


@pytest.fixture(scope="module", params=[1.2, 0.75], ids=["stiff", "soft"])
def nvt_chains(request):
    """With a model that is stiffer or softer than the target."""
    return request.param, *run(nvt_walk(request.param))


@pytest.fixture(scope="module", params=MODES)
def npt_chains(request):
    return request.param, *run(npt_walk(request.param))


def not_idle(chain, series):
    """Proposals are accepted and rejected, and what is compared is thinned enough to be taken as independent."""
    assert 0.4 < chain.accepted.mean() < 0.95
    assert correlation(series, THINNING) < LARGEST_CORRELATION


class TestNvt:
    def test_distribution_is_the_targets(self, nvt_chains, validation):
        stiffer, thinned, _ = nvt_chains
        for statistic, p in p_values(thinned).items():
            validation.claim(f"wells, NVT, model × {stiffer}", statistic, p, above=LEVEL)

    def test_creutz(self, nvt_chains, validation):
        stiffer, thinned, _ = nvt_chains
        p = creutz_p(thinned.delta_h, TEMPERATURE)
        validation.claim(f"wells, NVT, model × {stiffer}", "Creutz p", p, above=LEVEL)

    def test_the_test_is_not_idle(self, nvt_chains):
        _, _, chain = nvt_chains
        not_idle(chain, WELLS(chain.positions, chain.cells).energies)

    def test_centre_of_mass_stays(self, nvt_chains):
        """What the exact distribution above assumes."""
        _, _, chain = nvt_chains
        centres = np.einsum("a,...ax->...x", MASSES, chain.positions) / MASSES.sum()
        assert np.ptp(centres, axis=(0, 1)).max() < 1e-12

    def test_same_seed_same_chain(self):
        """Bitwise, from nothing but the seed."""
        chains = [nvt_walk(seed=seed).run(*(part[:3] for part in start()), 10) for seed in (4, 4, 5)]
        np.testing.assert_array_equal(chains[0].positions, chains[1].positions)
        assert not np.array_equal(chains[0].positions, chains[2].positions)


class TestNvtControls:
    """Each would pass only if the tests above could not fail."""

    SYSTEM = "wells, NVT, model × 1.2"

    def reject(self, validation, spoilt, chain, statistics=("coordinates, KS p", "energy, KS p")):
        found = {**p_values(chain), "Creutz p": creutz_p(chain.delta_h, TEMPERATURE)}
        for statistic in statistics:
            validation.control(self.SYSTEM, statistic, spoilt, found[statistic], below=CONTROL)

    def test_model_energy_in_place_of_the_target(self, validation):
        self.reject(validation, "V_M for V_T", run(nvt_walk(target=wells(1.2)))[0])

    def test_kinetic_term_dropped(self, validation):
        def change(target, model, kinetic, cell):
            return energy_change(target, model, (0.0, 0.0), cell)

        self.reject(validation, "kinetic term dropped", run(nvt_walk(change=change))[0])

    def test_rejected_states_not_repeated(self, validation):
        """The list of accepted states is not the chain."""
        chain = run(nvt_walk(0.75), 16)[1]
        moved = [chain.positions[:, k][chain.accepted[:, k]][:: THINNING // 2] for k in range(N_WALKERS)]
        accepted = np.concatenate(moved)
        energies = WELLS(accepted, CELL).energies
        p = ks(2 * energies / KT, stats.chi2(6).cdf)
        validation.control("wells, NVT, model × 0.75", "energy, KS p", "only accepted states", p, below=CONTROL)

    def test_momenta_at_the_wrong_temperature(self, validation):
        def hot(ensemble, generator):
            return np.sqrt(1.2) * ensemble.draw_momenta(generator)

        self.reject(validation, "momenta at 1.2 T", run(nvt_walk(draw=hot))[0])

    def test_length_that_depends_on_the_state(self, validation):
        """Short trajectories from high energies, long ones from low: the way back is not of the same length."""

        def lengths(generator, energies, n_steps, jitter):
            return np.where(energies > 0.08, 3, 8)

        self.reject(validation, "length depends on the state", run(nvt_walk(lengths=lengths))[0], ("energy, KS p",))

    def test_integrator_that_shrinks_volume(self, validation):
        chain = run(nvt_walk(integrator=with_drag(0.95)))[0]
        self.reject(validation, "drag of 5 %", chain, ("energy, KS p", "Creutz p"))


class TestNpt:
    def test_distribution_is_the_targets(self, npt_chains, validation):
        mode, thinned, _ = npt_chains
        for statistic, p in npt_p_values(thinned, mode).items():
            validation.claim(f"wells, NPT {mode}", statistic, p, above=LEVEL)

    def test_creutz(self, npt_chains, validation):
        mode, thinned, _ = npt_chains
        validation.claim(f"wells, NPT {mode}", "Creutz p", creutz_p(thinned.delta_h, TEMPERATURE), above=LEVEL)

    def test_the_test_is_not_idle(self, npt_chains):
        _, _, chain = npt_chains
        not_idle(chain, WELLS(chain.positions, chain.cells).energies)
        not_idle(chain, chain.volumes)

    @pytest.mark.parametrize("mode", MODES)
    def test_control_drag(self, mode, validation):
        chain = run(npt_walk(mode, integrator=with_drag(0.93)), 6)[0]
        system, spoilt = f"wells, NPT {mode}", "drag of 7 %"
        validation.control(system, "Creutz p", spoilt, creutz_p(chain.delta_h, TEMPERATURE), below=CONTROL)
        validation.control(system, "energy, KS p", spoilt, npt_p_values(chain, mode)["energy, KS p"], below=CONTROL)

    @pytest.mark.parametrize("mode", MODES)
    def test_control_model_energy(self, mode, validation):
        """The cell's part of the mismatch is smaller; the ideal gas and the toys of the cell see to that."""
        chain = run(npt_walk(mode, target=npt_walk(mode).model), 6)[0]
        p = npt_p_values(chain, mode)["energy, KS p"]
        validation.control(f"wells, NPT {mode}", "energy, KS p", "V_M for V_T", p, below=CONTROL)

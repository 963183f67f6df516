"""Cells with three and six degrees of freedom: the toys of the theory (section 2) against quadrature and a direct walk.

N = 6 ideal particles with the elastic energy ½ K Σ(σᵢ − 1)² of the cell and PΩ₀ = 2 k_BT; σ are the singular values of
h in units of h₀. K = 30 k_BT is the theory's; with K = 5 k_BT the strains are larger and J is more visible. Statistics:
the volume, and the shear Σ(λᵢ − λ̄)², which J widens first. Levels in evidence.py.
"""

import numpy as np
import pytest
from cell_toys import (
    N_ATOMS,
    TEMPERATURE,
    VOLUME,
    elastic_walk,
    force_without_jacobian,
    shear,
    start,
    with_other_exponent,
    without_jacobian,
)
from evidence import CONTROL, LARGEST_CORRELATION, LEVEL, correlation, creutz_p, ks, mean_p
from exact_laws import direct_volumes, strain_laws
from integrators import with_drag
from scipy import stats

pytestmark = pytest.mark.physical_validation

BURN_IN, THINNING = 24, 12
# cell mode, K / k_BT and how much stiffer the model is
CASES = {
    "orthorhombic": ("orthorhombic", 30.0, 1.25),
    "full": ("full", 30.0, 1.25),
    "full, soft": ("full", 5.0, 1.1),
}


def run(case, n_samples, **changes):
    chain = elastic_walk(*CASES[case], **changes).run(*start(), BURN_IN + n_samples * THINNING)
    return chain.thinned(BURN_IN, THINNING), chain.thinned(BURN_IN, 1)


def system(case):
    return f"toy {case}, K = {CASES[case][1]:.0f} k_BT"


def p_values(chain, case):
    mode, stiffness, _ = CASES[case]
    volume, shear_law = strain_laws(mode, N_ATOMS + 1, 2.0, stiffness)
    return {
        "volume, KS p": ks(chain.volumes / VOLUME, volume.cdf),
        "shear, KS p": ks(shear(chain.cells), shear_law.cdf),
    }


@pytest.fixture(scope="module", params=CASES)
def chains(request):
    return request.param, *run(request.param, 16 if request.param == "full, soft" else 12)


@pytest.fixture(scope="module")
def direct():
    return direct_volumes(N_ATOMS, 2.0, 30.0)


class TestCorrectSampler:
    def test_against_quadrature(self, chains, validation):
        case, thinned, _ = chains
        for statistic, p in p_values(thinned, case).items():
            validation.claim(system(case), statistic, p, above=LEVEL)

    def test_creutz(self, chains, validation):
        case, thinned, _ = chains
        validation.claim(system(case), "Creutz p", creutz_p(thinned.delta_h, TEMPERATURE), above=LEVEL)

    def test_the_test_is_not_idle(self, chains):
        _, _, chain = chains
        assert 0.4 < chain.accepted.mean() < 0.95
        assert correlation(chain.volumes, THINNING) < LARGEST_CORRELATION
        assert correlation(shear(chain.cells), THINNING) < LARGEST_CORRELATION

    @pytest.mark.parametrize("chains", ["full"], indirect=True)
    def test_against_the_direct_walk(self, chains, direct, validation):
        """Two samples, no quadrature, no strain in one of them."""
        case, thinned, chain = chains
        two_samples = stats.ks_2samp(np.ravel(thinned.volumes) / VOLUME, np.ravel(direct[::2])).pvalue
        validation.claim(system(case), "volume, KS p with the direct walk", two_samples, above=LEVEL)
        statistic = "⟨Ω⟩ − direct walk's, t-test p"
        means = [volumes.mean(axis=0) for volumes in (chain.volumes / VOLUME, direct)]
        validation.claim(system(case), statistic, stats.ttest_ind(*means, equal_var=False).pvalue, above=LEVEL)
        other = strain_laws("full", N_ATOMS, 2.0, 30.0)[0].mean()
        p = mean_p(chain.volumes / VOLUME, other)
        validation.control(system(case), statistic, "compared with N for N + 1", p, below=CONTROL)


def test_direct_walk_against_quadrature(direct, validation):
    """The two exact answers agree, and with the theory's ⟨Ω⟩ = 1.217. Controls: quadrature without J, and with Ω^N."""
    name = "quadrature, full, K = 30 k_BT"
    law = strain_laws("full", N_ATOMS + 1, 2.0, 30.0)[0]
    assert law.mean() == pytest.approx(1.2174, abs=1e-4)
    validation.claim(name, "⟨Ω⟩ of the direct walk, t-test p", mean_p(direct, law.mean()), above=LEVEL)
    validation.claim(name, "volume of the direct walk, KS p", ks(direct[::2], law.cdf), above=LEVEL)
    other = strain_laws("full", N_ATOMS, 2.0, 30.0)[0]
    p = ks(direct[::2], other.cdf)
    validation.control(name, "volume of the direct walk, KS p", "Ω^N for Ω^(N + 1)", p, below=CONTROL)


class TestJacobian:
    def test_left_out_of_the_proposals_force_only(self, validation):
        """Less efficient, but exact."""
        chain = run("full, soft", 10, potential=force_without_jacobian)[0]
        for statistic, p in p_values(chain, "full, soft").items():
            validation.claim(system("full, soft"), f"{statistic}, J not in the force", p, above=LEVEL)
        p = creutz_p(chain.delta_h, TEMPERATURE)
        validation.claim(system("full, soft"), "Creutz p, J not in the force", p, above=LEVEL)

    def test_control_left_out_of_delta_h(self, validation):
        """The chain is then that of the law without J. (The volume feels it, too, but would need longer chains.)"""
        chain = run("full, soft", 16, cell_energy=without_jacobian)[0]
        p = p_values(chain, "full, soft")["shear, KS p"]
        validation.control(system("full, soft"), "shear, KS p", "J dropped from ΔH", p, below=CONTROL)
        law = strain_laws("full", N_ATOMS + 1, 2.0, 5.0, jacobian=False)[1]
        assert ks(shear(chain.cells), law.cdf) > LEVEL


@pytest.mark.parametrize("case", ["orthorhombic", "full"])
def test_control_exponent(case, validation):
    chain = run(case, 6, cell_energy=with_other_exponent(-1))[0]
    p = p_values(chain, case)["volume, KS p"]
    validation.control(system(case), "volume, KS p", "kernel with N for N + 1", p, below=CONTROL)


@pytest.mark.parametrize("case", ["orthorhombic", "full"])
def test_control_model_energy(case, validation):
    """Seen in the shear; the volume is held by pressure and entropy more than by the elastic energy."""
    chain = run(case, 12, target=elastic_walk(*CASES[case]).model)[0]
    p = p_values(chain, case)["shear, KS p"]
    validation.control(system(case), "shear, KS p", "V_M for V_T", p, below=CONTROL)


@pytest.mark.parametrize("case", CASES)
def test_control_drag(case, validation):
    chain = run(case, 5, integrator=with_drag(0.93))[0]
    p = creutz_p(chain.delta_h, TEMPERATURE)
    validation.control(system(case), "Creutz p", "drag of 7 %", p, below=CONTROL)

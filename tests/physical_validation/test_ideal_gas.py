"""Ideal gas in isotropic NPT: Ω ~ Gamma(N + 1, k_BT/P), with P in GPa and the law from SI constants.

The model that proposes is a gas of soft spheres, so that the test is one of the target. Levels in evidence.py.
"""

import numpy as np
import pytest
from cell_toys import N_ATOMS, TEMPERATURE, VOLUME, gas_walk, start, with_other_exponent
from evidence import CONTROL, LARGEST_CORRELATION, LEVEL, correlation, creutz_p, ks, mean_p
from exact_laws import ideal_gas_volume
from integrators import with_drag
from toy_models import SoftSpheres

from aiida_slhmc.kernel.dynamics import kinetic_energy
from aiida_slhmc.kernel.ensembles import ModelOutput

pytestmark = pytest.mark.physical_validation

# (N + 1) k_BT / P is 121 Å³ and 242 Å³
PRESSURES = (0.24, 0.12)
BURN_IN, THINNING = 30, 9


def run(walk, n_samples=12):
    chain = walk.run(*start(), BURN_IN + n_samples * THINNING)
    return chain.thinned(BURN_IN, THINNING), chain.thinned(BURN_IN, 1)


def system(pressure):
    return f"ideal gas, {pressure} GPa"


def law(pressure, n_atoms=N_ATOMS):
    return ideal_gas_volume(n_atoms, pressure, TEMPERATURE)


@pytest.fixture(scope="module", params=PRESSURES)
def chains(request):
    return request.param, *run(gas_walk(request.param))


class TestCorrectSampler:
    def test_volume(self, chains, validation):
        """Controls on the same chain: it is not the Gamma law of N in place of N + 1, nor of N + 2."""
        pressure, thinned, _ = chains
        statistic, name = "volume, KS p", system(pressure)
        validation.claim(name, statistic, ks(thinned.volumes, law(pressure).cdf), above=LEVEL)
        for change, spoilt in ((-1, "compared with Gamma(N)"), (1, "compared with Gamma(N + 2)")):
            p = ks(thinned.volumes, law(pressure, N_ATOMS + change).cdf)
            validation.control(name, statistic, spoilt, p, below=CONTROL)

    def test_mean_volume_follows_the_pressure(self, chains, validation):
        """⟨Ω⟩ = (N + 1) k_BT/P at both pressures. Control: a pressure that is 5 % off, as by a wrong unit."""
        pressure, _, chain = chains
        statistic, name = "mean volume, t-test p", system(pressure)
        validation.claim(name, statistic, mean_p(chain.volumes, law(pressure).mean()), above=LEVEL)
        p = mean_p(chain.volumes, law(1.05 * pressure).mean())
        validation.control(name, statistic, "pressure 5 % off", p, below=CONTROL)

    def test_creutz(self, chains, validation):
        pressure, thinned, _ = chains
        validation.claim(system(pressure), "Creutz p", creutz_p(thinned.delta_h, TEMPERATURE), above=LEVEL)

    def test_the_test_is_not_idle(self, chains):
        """The acceptance is well below one, so the mismatch matters, and thinned volumes are nearly independent."""
        _, _, chain = chains
        assert 0.4 < chain.accepted.mean() < 0.9
        assert correlation(chain.volumes, THINNING) < LARGEST_CORRELATION


def pressure_counted_twice(positions, cells):
    """The target's energy with PΩ in it, as VASP reports it where PSTRESS is set."""
    output = SoftSpheres()(positions, cells)
    extra = PRESSURES[0] / 160.21766 * np.linalg.det(cells)
    return ModelOutput(output.energies + extra, output.forces, output.stresses)


def atoms_kinetic_only(ensemble, momenta):
    return kinetic_energy(momenta[..., :-1], ensemble.masses[:-1])


CONTROLS = {
    "kernel with N for N + 1": {"cell_energy": with_other_exponent(-1)},
    "kernel with N + 2 for N + 1": {"cell_energy": with_other_exponent(1)},
    "V_M for V_T": {"target": gas_walk(PRESSURES[0]).model},
    "cell's kinetic term dropped": {"kinetic": atoms_kinetic_only},
    "PΩ counted twice": {"target": pressure_counted_twice},
    "drag of 7 %": {"integrator": with_drag(0.93)},
}


@pytest.mark.parametrize("spoilt", CONTROLS)
def test_control(spoilt, validation):
    chain = run(gas_walk(PRESSURES[0], **CONTROLS[spoilt]), 6)[0]
    name = system(PRESSURES[0])
    if spoilt.startswith("drag"):
        p = creutz_p(chain.delta_h, TEMPERATURE)
        validation.control(name, "Creutz p", spoilt, p, below=CONTROL)
    else:
        p = ks(chain.volumes, law(PRESSURES[0]).cdf)
        validation.control(name, "volume, KS p", spoilt, p, below=CONTROL)


def test_start_is_not_already_the_answer():
    """All walkers start at one volume, which no law here is."""
    assert ks(np.full(200, VOLUME), law(PRESSURES[0]).cdf) < CONTROL

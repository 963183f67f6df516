"""An ideal gas in isotropic NPT: the volume's law, the pressure's unit and sign, the cell's rows."""

import numpy as np
import pytest
from ase import units
from evidence import CONTROL, LEVEL, correlation, creutz_p, ks, mean_p
from exact_laws import ideal_gas_volume
from scipy import stats
from stack_checks import EV_PER_CUBIC_ANGSTROM, N_WALKERS, check_labels, check_model, largest, scale_p
from stack_systems import GAS_CELL, GAS_NUMBERS, GAS_VOLUME, IdealGas, draw_gas

pytestmark = [pytest.mark.physical_validation, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]


class TestIdealGas:
    """Isotropic NPT at 300 K; the model interacts weakly, so that ΔK, its stress and the mismatch all count."""

    SYSTEM = "whole stack: O Ti O, NPT isotropic, ideal gas"
    TEMPERATURE = 300.0
    PRESSURE = (len(GAS_NUMBERS) + 1) * units.kB * TEMPERATURE / GAS_VOLUME * EV_PER_CUBIC_ANGSTROM  # ⟨Ω⟩ = Ω₀
    N_CYCLES = 4

    @pytest.fixture(scope="class")
    def law(self):
        return ideal_gas_volume(len(GAS_NUMBERS), self.PRESSURE, self.TEMPERATURE)

    @pytest.fixture(scope="class")
    def chain(self, stack, weak_node, law):
        generator = np.random.default_rng(2)
        cells = [np.cbrt(volume / GAS_VOLUME) * GAS_CELL for volume in law.rvs(N_WALKERS, random_state=generator)]
        return stack.run(
            IdealGas(),
            GAS_NUMBERS,
            [(draw_gas(generator, cell), cell) for cell in cells],
            weak_node,
            n_cycles=self.N_CYCLES,
            kernel={
                "temperature": self.TEMPERATURE,
                "seed": 2,
                "ensemble": "npt",
                "pressure": self.PRESSURE,
                "cell_degrees_of_freedom": "isotropic",
                # with it, a trajectory is a quarter of the volume's period
                "cell_time_constant": 16.5,
                # two atoms that sit on each other are no accident in a gas
                "max_integration_error": 100.0,
            },
            trajectory={"n_steps": 12, "timestep": 2.0},
            reference=GAS_CELL,
        )

    def test_volume(self, validation, chain, law):
        name = "Ω, KS p"
        validation.claim(self.SYSTEM, name, ks(chain.volumes, law.cdf), above=LEVEL)
        scale = law.kwds["scale"]
        for spoilt, factor in (
            ("P in eV/Å³ taken for GPa", EV_PER_CUBIC_ANGSTROM),
            ("P in GPa taken for eV/Å³", 1 / EV_PER_CUBIC_ANGSTROM),
        ):
            wrong = stats.gamma(len(GAS_NUMBERS) + 1, scale=scale * factor)
            validation.control(self.SYSTEM, name, spoilt, ks(chain.volumes, wrong.cdf), below=CONTROL)

    def test_scale(self, validation, chain, law):
        """2βPΩ is χ² distributed with 2(N + 1) degrees of freedom."""
        name, reduced = "⟨2βPΩ⟩ = 2(N + 1), p", 2 * chain.volumes / law.kwds["scale"]
        validation.claim(self.SYSTEM, name, scale_p(reduced, 8), above=LEVEL)
        validation.control(self.SYSTEM, name, "N instead of N + 1", scale_p(reduced, 6), below=LEVEL)
        validation.control(self.SYSTEM, name, "N + 2 instead of N + 1", scale_p(reduced, 10), below=1e-2)

    def test_volume_of_the_walkers(self, validation, chain, law):
        p = mean_p(chain.volumes, law.mean())
        validation.claim(self.SYSTEM, "⟨Ω⟩ of the walkers, t-test p", p, above=LEVEL)

    def test_creutz(self, validation, chain):
        validation.claim(self.SYSTEM, "Creutz p", creutz_p(chain.delta_h, self.TEMPERATURE), above=LEVEL)

    def test_sign_of_the_pressure(self, validation, chain):
        """Trajectory and decision have the same PΩ, or ΔH would be of the size of PΔΩ."""
        kt = units.kB * self.TEMPERATURE
        ends = np.array([[np.linalg.det(label["cell"]) for label in labels] for labels in chain.labels])
        starts = np.concatenate([[[np.linalg.det(start["cell"]) for start in chain.starts]], chain.volumes[:-1]])
        flipped = chain.delta_h - 2 * self.PRESSURE / EV_PER_CUBIC_ANGSTROM * (ends - starts)
        name = "|ΔH|, median, in k_BT"
        validation.claim(self.SYSTEM, name, np.median(np.abs(chain.delta_h)) / kt, below=0.5)
        validation.control(self.SYSTEM, name, "sign of PΩ", np.median(np.abs(flipped)) / kt, above=2.0)

    def test_not_idle(self, validation, chain):
        """The model's part in ΔH is more than the integrator's, and the volume forgets itself from cycle to cycle."""
        validation.claim(self.SYSTEM, "acceptance", chain.accepted.mean(), above=0.3)
        validation.claim(self.SYSTEM, "acceptance", chain.accepted.mean(), below=0.99)
        lag = abs(correlation(np.log(chain.volumes), 1))
        validation.claim(self.SYSTEM, "correlation of ln Ω, 1 cycle", lag, below=0.25)

    def test_cells(self, validation, chain):
        """Each label's cell is the reference's, scaled; not transposed."""
        name, worst, best = "cell, largest error (Å)", 0.0, np.inf
        for job, label in chain.ends():
            scaled = np.cbrt(np.linalg.det(label["cell"]) / GAS_VOLUME) * GAS_CELL
            worst = max(worst, largest(label["cell"], scaled), largest(job["cells"], label["cell"]))
            best = min(best, largest(label["cell"].T, scaled))
        validation.claim(self.SYSTEM, name, worst, below=1e-10)
        validation.control(self.SYSTEM, name, "transposed", best, above=0.1)

    def test_labels(self, validation, chain):
        for key in ("energy", "forces", "stress"):
            check_labels(validation, self.SYSTEM, chain, IdealGas(), key)

    def test_model(self, validation, chain, weak_model):
        check_model(validation, self.SYSTEM, chain, weak_model, GAS_NUMBERS)

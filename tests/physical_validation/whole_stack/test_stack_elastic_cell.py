"""An elastic cell in NPT with all six strains; above all, the sign, unit and axes of the stress."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from evidence import LEVEL, creutz_p, ks
from exact_laws import strain_laws
from stack_checks import DIGITS, EV_PER_CUBIC_ANGSTROM, N_WALKERS, check_labels, check_model, largest
from stack_systems import GAS_CELL, GAS_NUMBERS, GAS_VOLUME, Elastic, draw_deformations, draw_gas

pytestmark = [pytest.mark.physical_validation, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]


class TestElasticCell:
    """Full NPT: a gas in an elastic cell of which the model knows nothing. Few cycles; above all, the stress."""

    SYSTEM = "whole stack: O Ti O, NPT full, elastic cell"
    TEMPERATURE = 300.0
    KT = units.kB * TEMPERATURE
    ELASTIC, REDUCED_PRESSURE = 8.0, 3.0  # K and PΩ₀ in k_BT
    N_CYCLES = 3

    @pytest.fixture(scope="class")
    def target(self):
        return Elastic(self.ELASTIC * self.KT, GAS_CELL)

    @pytest.fixture(scope="class")
    def chain(self, stack, weak_node, target):
        generator = np.random.default_rng(3)
        deformations = draw_deformations(generator, N_WALKERS, self.REDUCED_PRESSURE, self.ELASTIC)
        return stack.run(
            target,
            GAS_NUMBERS,
            [(draw_gas(generator, GAS_CELL @ f), GAS_CELL @ f) for f in deformations],
            weak_node,
            n_cycles=self.N_CYCLES,
            kernel={
                "temperature": self.TEMPERATURE,
                "seed": 3,
                "ensemble": "npt",
                "pressure": self.REDUCED_PRESSURE * self.KT / GAS_VOLUME * EV_PER_CUBIC_ANGSTROM,
                "cell_degrees_of_freedom": "full",
                "cell_time_constant": 30.0,
                "max_integration_error": 100.0,
            },
            trajectory={"n_steps": 6, "timestep": 2.0},
            reference=GAS_CELL,
        )

    def test_volume(self, validation, chain):
        """Of the last cycle, where the walkers are independent: within a walker, successive volumes are not."""
        name, volumes = "Ω of the last cycle, KS p", chain.volumes[-1] / GAS_VOLUME
        exponent = len(GAS_NUMBERS) + 1
        law = strain_laws("full", exponent, self.REDUCED_PRESSURE, self.ELASTIC)[0]
        validation.claim(self.SYSTEM, name, ks(volumes, law.cdf), above=LEVEL)
        wrong = strain_laws("full", exponent, self.REDUCED_PRESSURE / EV_PER_CUBIC_ANGSTROM, self.ELASTIC)[0]
        validation.control(self.SYSTEM, name, "P in eV/Å³ taken for GPa", ks(volumes, wrong.cdf), below=1e-2)

    def test_creutz_and_acceptance(self, validation, chain):
        validation.claim(self.SYSTEM, "Creutz p", creutz_p(chain.delta_h, self.TEMPERATURE), above=LEVEL)
        validation.claim(self.SYSTEM, "acceptance", chain.accepted.mean(), above=0.3)
        validation.claim(self.SYSTEM, "acceptance", chain.accepted.mean(), below=0.97)

    def test_labels(self, validation, chain, target):
        for key in ("energy", "forces", "stress"):
            check_labels(validation, self.SYSTEM, chain, target, key)

    def test_label_controls(self, validation, chain, target):
        """What a wrong sign, unit or frame would do to the same comparison, in the label where it does least."""
        spoilt = {
            "sign": lambda cell: SimpleNamespace(cell=cell, factor=-1.0),
            "kB taken for GPa": lambda cell: SimpleNamespace(cell=cell, factor=10.0),
            "cell transposed": lambda cell: SimpleNamespace(cell=cell.T, factor=1.0),
            "axes swapped": lambda cell: SimpleNamespace(cell=cell[:, [1, 2, 0]], factor=1.0),
        }
        for what, change in spoilt.items():
            least = np.inf
            for _, label in chain.ends():
                wrong = change(label["cell"])
                expected = wrong.factor * target.label(label["positions"], wrong.cell)["stress"]
                least = min(least, largest(label["stress"], expected))
            name = f"stress of {len(list(chain.ends()))} labels, largest error"
            validation.control(self.SYSTEM, name, what, least, above=1e3 * DIGITS)

    def test_stress_is_the_derivative(self, validation, chain, target):
        """Of the labels' own energy law by strain, in eV/Å³: no formula for a stress is needed to say so."""
        worst, step = 0.0, 1e-5
        for _, label in chain.ends():
            cell, volume = label["cell"], np.linalg.det(label["cell"])
            for i, j in np.ndindex(3, 3):
                strain = np.zeros((3, 3))
                strain[i, j] = step
                up, down = (
                    target.label(label["positions"], cell @ (np.eye(3) + s).T)["energy"] for s in (strain, -strain)
                )
                worst = max(worst, largest(label["stress"][i, j], (up - down) / (2 * step * volume)))
        validation.claim(self.SYSTEM, "stress against ∂V/∂η / Ω, largest error", worst, below=1e-7)

    def test_model(self, validation, chain, weak_model):
        check_model(validation, self.SYSTEM, chain, weak_model, GAS_NUMBERS)

"""A harmonic crystal in NVT, with another stiffness than the model's."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.data import atomic_masses
from evidence import CONTROL, LEVEL, correlation, creutz_p, ks, mean_p
from scipy import stats
from stack_checks import N_WALKERS, check_labels, check_model, largest, scale_p
from stack_systems import OFFSET, Harmonic, poscar_order, relaxed_hessian, sheared_rutile

from aiida_slhmc.worker.checkpoint import default_dtype

pytestmark = [pytest.mark.physical_validation, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]


class TestHarmonicCrystal:
    """NVT at 100 K, where the proposing model's own anharmonicity leaves two thirds of the proposals accepted."""

    SYSTEM = "whole stack: Ti₂O₄, NVT, harmonic"
    TEMPERATURE = 100.0
    STIFFER = 1.25  # the target against the model
    N_CYCLES, THINNING = 6, 2

    @pytest.fixture(scope="class")
    def target(self, foundation):
        atoms = sheared_rutile()
        with default_dtype(torch.float64):
            minimum, hessian = relaxed_hessian(foundation, atoms)
        return Harmonic(atoms.numbers, atoms.cell.array, minimum, self.STIFFER * hessian)

    @pytest.fixture(scope="class")
    def chain(self, stack, foundation_node, target):
        generator = np.random.default_rng(1)
        starts = [(target.draw(generator, self.TEMPERATURE), target.cell) for _ in range(N_WALKERS)]
        return stack.run(
            target,
            target.numbers,
            starts,
            foundation_node,
            n_cycles=self.N_CYCLES,
            kernel={"temperature": self.TEMPERATURE, "seed": 1},
            # a quarter of the middle modes' period: coordinates and energies forget most of what they were
            trajectory={"n_steps": 10, "timestep": 2.0},
        )

    @pytest.fixture(scope="class")
    def thinned(self, chain):
        """Every second cycle, (n, 6, 3): correlation that is left makes the claims harder to pass, not easier."""
        # the controls on it are spoilt so much that a third fewer samples reject them just as well
        return chain.states("positions")[1 :: self.THINNING].reshape(-1, 6, 3)

    def reduced(self, energies):
        """2βV, χ² distributed with 15 degrees of freedom."""
        return 2 * energies / (units.kB * self.TEMPERATURE)

    def test_system_can_tell(self, target):
        """Modes are stable; POSCAR's order is another one; the cell is far from any standard setting."""
        assert target.modes[0].min() > 1
        assert poscar_order(target.numbers).tolist() == [0, 3, 1, 2, 4, 5]
        assert np.abs(target.cell).min() > 0.5
        assert np.linalg.det(target.cell) > 0

    def test_coordinates(self, validation, target, thinned):
        p = ks(target.standardised(thinned, self.TEMPERATURE), "norm")
        validation.claim(self.SYSTEM, "coordinates, KS p", p, above=LEVEL)
        p = ks(target.standardised(thinned, 0.25 * self.TEMPERATURE), "norm")
        validation.control(self.SYSTEM, "coordinates, KS p", "T / 4", p, below=CONTROL)

    def test_energy(self, validation, target, thinned):
        law = stats.chi2(15)
        reduced = self.reduced(target.energy(thinned))
        name = "2βV, KS p"
        validation.claim(self.SYSTEM, name, ks(reduced, law.cdf), above=LEVEL)
        validation.control(self.SYSTEM, name, "H × 2", ks(2 * reduced, law.cdf), below=CONTROL)

    def test_scale(self, validation, chain, target):
        """What 20 to 25 % can be told by with as many labels as this takes minutes, and 50 % beyond doubt."""
        positions = chain.states("positions")
        swapped = target.minimum + (positions - target.minimum)[..., poscar_order(target.numbers), :]
        reduced = self.reduced(target.energy(positions))
        name = "⟨2βV⟩ = 15, p"
        validation.claim(self.SYSTEM, name, scale_p(reduced, 15), above=LEVEL)
        for spoilt, values, level in (
            ("T × 1.2", reduced / 1.2, 1e-2),
            ("the model's Hessian", reduced / self.STIFFER, LEVEL),
            ("H × 1.5", 1.5 * reduced, 1e-4),
            ("H × 2", 2 * reduced, CONTROL),
            ("displacements in POSCAR's order", self.reduced(target.energy(swapped)), 1e-4),
        ):
            validation.control(self.SYSTEM, name, spoilt, scale_p(values, 15), below=level)

    def test_energy_of_all_cycles(self, validation, chain):
        """No thinning: the walkers' means are independent, whatever the correlation within a walker."""
        p = mean_p(self.reduced(chain.states("energy") - OFFSET), 15.0)
        validation.claim(self.SYSTEM, "⟨2βV⟩ of the walkers, t-test p", p, above=LEVEL)

    def test_creutz(self, validation, chain):
        validation.claim(self.SYSTEM, "Creutz p", creutz_p(chain.delta_h, self.TEMPERATURE), above=LEVEL)

    def test_not_idle(self, validation, chain, target):
        validation.claim(self.SYSTEM, "acceptance", chain.accepted.mean(), above=0.3)
        validation.claim(self.SYSTEM, "acceptance", chain.accepted.mean(), below=0.97)
        energies = chain.states("energy")
        validation.claim(self.SYSTEM, "correlation of V, 2 cycles", correlation(energies, 2), below=0.7)
        coordinates = target.standardised(chain.states("positions"), self.TEMPERATURE)
        products = np.mean(coordinates[: -self.THINNING] * coordinates[self.THINNING :])
        validation.claim(self.SYSTEM, "correlation of coordinates, 2 cycles", abs(products), below=0.25)

    def test_momenta(self, validation, chain, target):
        """Kinetic energy from the stored momenta by ASE's units (of CODATA 2014), and at the start against its law."""
        masses = atomic_masses[target.numbers]
        worst = 0.0
        for job, _ in chain.ends():
            atoms = Atoms(target.numbers, momenta=job["momenta"] / units.fs, masses=masses)
            worst = max(worst, largest(job["kinetic_energies"][1], atoms.get_kinetic_energy()))
        validation.claim(self.SYSTEM, "kinetic energy, largest error", worst, below=1e-7)
        start = np.array([job["kinetic_energies"][0] for job, _ in chain.ends()])
        name, law = "2βK at the start, KS p", stats.chi2(15)
        validation.claim(self.SYSTEM, name, ks(self.reduced(start), law.cdf), above=LEVEL)
        p = ks(self.reduced(start), stats.chi2(18).cdf)
        validation.control(self.SYSTEM, name, "centre of mass not removed", p, below=1e-3)

    def test_labels(self, validation, chain, target):
        check_labels(validation, self.SYSTEM, chain, target, "energy")
        check_labels(validation, self.SYSTEM, chain, target, "forces")
        order = poscar_order(target.numbers)
        best = min(
            largest(label["forces"][order], target.label(label["positions"], label["cell"])["forces"])
            for _, label in chain.ends()
        )
        validation.control(
            self.SYSTEM, f"forces of {len(list(chain.ends()))} labels, largest error", "POSCAR's order", best, above=0.1
        )

    def test_model(self, validation, chain, foundation, target):
        check_model(validation, self.SYSTEM, chain, foundation, target.numbers)

"""The samplers' exact laws once more, through the whole stack: AiiDA, MACE's job, POSCAR, vasprun.xml, the decision.

A harmonic crystal in NVT, an ideal gas in isotropic NPT and an elastic cell in full NPT, each evaluated by the stand-in
for VASP and written down independently in ``stack_systems``. Sites are interleaved, so that POSCAR's order is another
one, and cells are triclinic in general directions. Walkers start with exact draws from the target's ensemble: no cycle
is spent on a burn-in, and each walker has the exact law at every cycle if the stack is right.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.data import atomic_masses
from evidence import CONTROL, LEVEL, correlation, creutz_p, ks, mean_p
from exact_laws import ideal_gas_volume, strain_laws
from mace.calculators import MACECalculator
from scipy import stats
from stack_systems import (
    GAS_CELL,
    GAS_NUMBERS,
    GAS_VOLUME,
    OFFSET,
    Elastic,
    Harmonic,
    IdealGas,
    draw_deformations,
    draw_gas,
    poscar_order,
    relaxed_hessian,
    sheared_rutile,
)

from aiida_slhmc.worker.checkpoint import default_dtype

pytestmark = [pytest.mark.physical_validation, pytest.mark.slow, pytest.mark.timeout(1800)]

N_WALKERS = 16
EV_PER_CUBIC_ANGSTROM = 1 / units.GPa  # in GPa
DIGITS = 1e-8  # eV, eV/Å and eV/Å³: labels against the formulas, and MACE against MACE


def largest(found, expected):
    return float(np.abs(np.asarray(found) - expected).max())


def scale_p(samples, degrees):
    """P value of the mean of *samples* (n_cycles, n_walkers) that are χ² distributed with these *degrees*.

    It uses all cycles: the mean's variance is that of independent samples times g = 1 + 2 Σ (1 − t/n) ρ_t, with ρ_t the
    measured correlation of t cycles. With as many samples as this takes minutes, no statistic sees a scale better.
    """
    n = len(samples)
    inflation = max(1.0, 1 + 2 * sum((1 - t / n) * correlation(samples, t) for t in range(1, n)))
    error = np.sqrt(2 * inflation / (degrees * samples.size))
    return float(2 * stats.norm.sf(abs(samples.mean() / degrees - 1) / error))


def check_labels(validation, system, chain, target, key):
    """*key* of every label against the formula at the label's own configuration."""
    pairs = [(label[key], target.label(label["positions"], label["cell"])[key]) for _, label in chain.ends()]
    worst = max(largest(*pair) for pair in pairs)
    validation.claim(system, f"{key} of {len(pairs)} labels, largest error", worst, below=DIGITS)


def check_model(validation, system, chain, model, numbers):
    """Energies, forces and, in NPT, stresses that the job gives at the end points, against MACE's own calculator."""
    with default_dtype(torch.float64):
        calculator = MACECalculator(models=[model], device="cpu", default_dtype="float64")
        worst = 0.0
        for job, label in chain.ends():
            atoms = Atoms(numbers, positions=label["positions"], cell=label["cell"], pbc=True, calculator=calculator)
            worst = max(worst, largest(job["energies"][1], atoms.get_potential_energy()))
            worst = max(worst, largest(job["forces"], atoms.get_forces()))
            if "stresses" in job:
                worst = max(worst, largest(job["stresses"], atoms.get_stress(voigt=False)))
    validation.claim(system, "model at the end points, largest difference", worst, below=DIGITS)


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
            ("H × 1.5", 1.5 * reduced, CONTROL),
            ("displacements in POSCAR's order", self.reduced(target.energy(swapped)), CONTROL),
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

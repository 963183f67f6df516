"""The ensembles: their coordinates, and the forces against finite differences of Φ."""

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from gaussian_crystal import GaussianCrystal
from scipy import stats
from systems import ATOMIC_MASSES, MASSES, MODES, TRICLINIC, npt, npt_coordinates

from aiida_slhmc.kernel.ensembles import ModelOutput, Npt, Nvt, make_ensemble
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.kernel.strain import deformation
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV, EV_PER_CUBIC_ANGSTROM_IN_GPA, thermal_energy

MODEL = GaussianCrystal([1.0, 0.7, 0.6, 0.4])
SHAPES = [(), (5,), (2, 3)]


def numeric_forces(ensemble, coordinates, step=1e-4):
    """−∂Φ/∂q by central differences, from energies alone: V of the model plus the ensemble's cell energy."""

    def energy(q):
        positions, cells = ensemble.configuration(q)
        return MODEL(positions, cells).energies + ensemble.cell_energy(cells)

    units = step * np.eye(len(coordinates))
    return np.array([energy(coordinates - unit) - energy(coordinates + unit) for unit in units]) / (2 * step)


class TestForces:
    @pytest.mark.parametrize("pressure", [0.0, 20.0])
    @pytest.mark.parametrize("mode", MODES)
    def test_are_minus_the_gradient(self, mode, pressure):
        """Control: at another pressure only the strain's forces differ, and they do."""
        ensemble = npt(mode, pressure=pressure)
        for seed in range(3):
            q = npt_coordinates(ensemble, seed)
            energy, forces = ensemble.potential(MODEL)(q)
            numeric = numeric_forces(ensemble, q)
            np.testing.assert_allclose(forces, numeric, atol=2e-7)
            other = numeric_forces(npt(mode, pressure=pressure + 1.0), q)
            np.testing.assert_allclose(other[:12], numeric[:12], atol=1e-7)
            assert np.abs(other[12:] - numeric[12:]).max() > 0.1
            positions, cells = ensemble.configuration(q)
            assert energy == pytest.approx(MODEL(positions, cells).energies + ensemble.cell_energy(cells), rel=1e-13)

    @pytest.mark.parametrize("make", [lambda: np.zeros(6), lambda: np.array([0.1, 0.1, 0.1, 0, 0, 0])])
    def test_at_an_isotropic_strain(self, make):
        """All eigenvalues equal, as at the start of every run."""
        ensemble = npt("full")
        q = npt_coordinates(ensemble, 1)
        q[12:] = make()
        np.testing.assert_allclose(ensemble.potential(MODEL)(q)[1], numeric_forces(ensemble, q), atol=2e-7)

    def test_nvt_forces_are_the_models(self):
        positions = npt_coordinates(npt("full"), 3, (2,))[:, :12].reshape(2, 4, 3)
        output = MODEL(positions, TRICLINIC)
        energy, forces = Nvt(ATOMIC_MASSES, 300.0, TRICLINIC).energy_and_forces(positions.reshape(2, 12), output)
        np.testing.assert_array_equal(energy, output.energies)
        np.testing.assert_array_equal(forces.reshape(2, 4, 3), output.forces)

    def test_stress_missing(self):
        ensemble = npt("isotropic")
        with pytest.raises(ValueError, match="needs the model's stresses"):
            ensemble.energy_and_forces(npt_coordinates(ensemble, 0), ModelOutput(np.zeros(()), np.zeros((4, 3))))


@pytest.mark.parametrize("pressure", [0.0, 0.05])
@pytest.mark.parametrize("calculator", [EMT, lambda: LennardJones(sigma=2.3, epsilon=0.4, rc=6.0, smooth=True)])
def test_forces_are_those_of_ases_frechet_cell_filter(calculator, pressure):
    """ASE's filter has the coordinates and V + PΩ; at a vanishing temperature so has Φ. Pressure in eV/Å³ here."""
    reference = bulk("Cu", cubic=True)
    generator = np.random.default_rng(2)
    reference.set_cell(reference.cell.array + generator.normal(0, 0.1, (3, 3)), scale_atoms=True)
    reference.calc = calculator()
    cell = reference.cell.array.copy()
    ase_filter = FrechetCellFilter(reference, scalar_pressure=pressure, exp_cell_factor=1.0)
    strain = generator.normal(0, 0.05, (3, 3))
    f = deformation(0.5 * (strain + strain.T))
    reference.set_cell(cell @ f, scale_atoms=True)
    reference.positions += generator.normal(0, 0.05, (4, 3))
    expected = ase_filter.get_forces()
    ensemble = cold_npt(reference, cell, pressure)
    output = ModelOutput(reference.get_potential_energy(), reference.get_forces(), reference.get_stress(voigt=False))
    q = ensemble.coordinates(reference.positions, reference.cell.array)
    energy, forces = ensemble.energy_and_forces(q, output)
    assert energy == pytest.approx(reference.get_potential_energy() + pressure * reference.get_volume(), abs=1e-9)
    np.testing.assert_allclose(forces[:12].reshape(4, 3), expected[:4], atol=1e-9)
    in_basis = np.einsum("ij,aij->a", expected[4:], ensemble.basis)
    np.testing.assert_allclose(forces[12:], in_basis, atol=1e-8)
    assert np.abs(in_basis).max() > 0.1


def cold_npt(atoms: ase.Atoms, cell, pressure):
    return Npt(
        atoms.get_masses(),
        1e-12,
        cell,
        pressure=pressure * EV_PER_CUBIC_ANGSTROM_IN_GPA,
        cell_degrees_of_freedom="full",
        cell_time_constant=100.0,
    )


class TestCoordinates:
    @pytest.mark.parametrize("batch", SHAPES)
    @pytest.mark.parametrize("mode", MODES)
    def test_round_trip(self, mode, batch):
        ensemble = npt(mode)
        q = npt_coordinates(ensemble, 4, batch)
        positions, cells = ensemble.configuration(q)
        assert positions.shape == (*batch, 4, 3)
        np.testing.assert_allclose(ensemble.coordinates(positions, cells), q, atol=1e-13)

    def test_positions_follow_the_cell(self):
        """At fixed x the fractional coordinates stay, and the volume grows with the trace of the strain."""
        ensemble = npt("full")
        q = npt_coordinates(ensemble, 5)
        positions, cell = ensemble.configuration(q)
        fractional = np.linalg.solve(TRICLINIC.T, q[:12].reshape(4, 3).T).T
        np.testing.assert_allclose(positions, fractional @ cell, atol=1e-13)
        assert np.linalg.det(cell) == pytest.approx(np.linalg.det(TRICLINIC) * np.exp(q[12:15].sum()), rel=1e-13)

    def test_unreachable_cells_are_refused(self):
        """Shear in a run of diagonal strains, and a diagonal strain in an isotropic one."""
        positions, sheared = npt("full").configuration(npt_coordinates(npt("full"), 6))
        with pytest.raises(ValueError, match="do not allow"):
            npt("orthorhombic").coordinates(positions, sheared)
        with pytest.raises(ValueError, match="do not allow"):
            npt("isotropic").coordinates(positions, TRICLINIC @ np.diag([1.01, 1.0, 1.0]))

    def test_rotated_cells_are_refused(self):
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        with pytest.raises(ValueError, match="rotated"):
            npt("full").coordinates(np.zeros((4, 3)), TRICLINIC @ rotation)

    @pytest.mark.parametrize("mode", MODES)
    def test_batch_is_the_walkers_one_by_one(self, mode):
        """Bitwise for the energies and forces. Would fail if walkers of a batch were mixed."""
        ensemble = npt(mode)
        q = npt_coordinates(ensemble, 7, (6,))
        energies, forces = ensemble.potential(MODEL)(q)
        positions, cells = ensemble.configuration(q)
        for k in range(6):
            energy, force = ensemble.potential(MODEL)(q[k])
            np.testing.assert_allclose(forces[k], force, rtol=1e-13, atol=1e-13)
            assert energies[k] == pytest.approx(energy, rel=1e-14)
            np.testing.assert_allclose(ensemble.coordinates(positions, cells)[k], q[k], atol=1e-13)


class TestCellEnergy:
    def test_by_hand(self):
        """P Ω − k_BT (N + 1) ln(Ω/Ω₀) for an isotropic cell twice as large, with 1 eV/Å³ = 160.21766 GPa."""
        cell = 2 ** (1 / 3) * TRICLINIC
        volume = np.linalg.det(TRICLINIC)
        expected = 3.0 / 160.2176634 * 2 * volume - thermal_energy(300.0) * 5 * np.log(2)
        for mode in MODES:
            assert npt(mode).cell_energy(cell) == pytest.approx(expected, rel=1e-9)

    def test_only_the_full_cell_has_a_jacobian(self):
        cell = TRICLINIC @ deformation(np.diag([0.3, -0.3, 0.1]))
        gaps = np.array([0.6, 0.2, 0.4])
        jacobian = thermal_energy(300.0) * np.sum(np.log(np.sinh(gaps) / gaps))
        difference = npt("orthorhombic").cell_energy(cell) - npt("full").cell_energy(cell)
        assert difference == pytest.approx(jacobian, rel=1e-9)

    def test_left_handed_reference_cell(self):
        """Its volume is positive all the same."""
        mirrored = TRICLINIC[[1, 0, 2]]
        ensembles = [Npt(ATOMIC_MASSES, 300.0, cell, **cell_of("full")) for cell in (TRICLINIC, mirrored)]
        f = deformation(np.diag([0.1, 0.0, 0.05]))
        assert ensembles[1].cell_energy(mirrored @ f) == pytest.approx(ensembles[0].cell_energy(TRICLINIC @ f))

    def test_zero_in_nvt(self):
        cells = np.broadcast_to(TRICLINIC, (5, 3, 3))
        np.testing.assert_array_equal(Nvt(ATOMIC_MASSES, 300.0, cells).cell_energy(cells), np.zeros(5))


def cell_of(mode):
    return {"pressure": 1.0, "cell_degrees_of_freedom": mode, "cell_time_constant": 100.0}


class TestMomenta:
    @pytest.mark.parametrize("mode", MODES)
    def test_strains_are_gaussian_with_the_cells_mass(self, mode):
        """π_a ~ N(0, W k_BT), W = 3N k_BT τ². KS at 1e-3; control: the atoms' 3N − 3 in place of 3N, p < 1e-6."""
        ensemble, generator = npt(mode), np.random.default_rng(8)
        draws = np.stack([ensemble.draw_momenta(generator) for _ in range(8000)])
        mass = 3 * 4 * thermal_energy(300.0) * 100.0**2 / AMU_ANGSTROM2_PER_FS2_IN_EV
        np.testing.assert_allclose(ensemble.masses, np.concatenate([MASSES, np.full(len(ensemble.basis), mass)]))
        scale = np.sqrt(mass * thermal_energy(300.0) / AMU_ANGSTROM2_PER_FS2_IN_EV)
        assert stats.kstest(draws[:, 12:].ravel() / scale, "norm").pvalue > 1e-3
        assert stats.kstest(draws[:, 12:].ravel() / scale / np.sqrt(9 / 12), "norm").pvalue < 1e-6
        assert np.abs(draws[:, :12].reshape(-1, 4, 3).sum(axis=1)).max() < 1e-13

    def test_atoms_are_those_of_nvt(self):
        """The same stream gives the atoms the same momenta in both ensembles."""
        streams = [np.random.default_rng(9) for _ in range(2)]
        nvt = Nvt(ATOMIC_MASSES, 300.0, TRICLINIC).draw_momenta(streams[0])
        np.testing.assert_array_equal(npt("full").draw_momenta(streams[1])[:12], nvt)


class TestMakeEnsemble:
    def test_nvt(self):
        ensemble = make_ensemble(KernelParameters(temperature=300.0, seed=0), ATOMIC_MASSES, TRICLINIC, None)
        assert isinstance(ensemble, Nvt)
        assert ensemble.temperature == 300.0

    def test_npt_takes_every_parameter(self):
        parameters = KernelParameters(temperature=300.0, seed=0, ensemble="npt", **cell_of("full"))
        made = make_ensemble(parameters, ATOMIC_MASSES, TRICLINIC, TRICLINIC)
        expected = npt("full", pressure=1.0)
        q = npt_coordinates(expected, 10)
        for one, other in zip(made.potential(MODEL)(q), expected.potential(MODEL)(q), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(made.masses, expected.masses)

    def test_npt_without_a_reference_cell(self):
        parameters = KernelParameters(temperature=300.0, seed=0, ensemble="npt")
        with pytest.raises(ValueError, match="needs a reference cell"):
            make_ensemble(parameters, ATOMIC_MASSES, TRICLINIC, None)

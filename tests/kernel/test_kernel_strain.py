"""Strain, its exponential and the measure, against SciPy's matrix functions and finite differences.

SciPy uses Padé approximants, not eigenvectors, so nearly equal eigenvalues are no special case there: where the two
agree, neither divides by a small gap.
"""

from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import expm, expm_frechet, logm
from systems import MODES, TRICLINIC

from aiida_slhmc.kernel.strain import (
    STRAIN_BASES,
    deformation,
    log_jacobian,
    log_jacobian_gradient,
    log_strain,
    pull_back,
)

GAPS = [0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3, 1e-2, 0.3]


def with_eigenvalues(values, seed=0):
    """A strain with these eigenvalues in a random frame."""
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return frame @ np.diag(values) @ frame.T


def strain_of_gap(gap, seed=0):
    return with_eigenvalues([0.12, 0.12 + gap, -0.05], seed)


def all_close_strain(gap, seed=0):
    return with_eigenvalues([0.07 - gap, 0.07, 0.07 + 0.5 * gap], seed)


STRAINS = [make(gap, k) for k, gap in enumerate(GAPS) for make in (strain_of_gap, all_close_strain)]
STRAINS += [np.zeros((3, 3)), 0.2 * np.eye(3), np.diag([0.1, 0.1, -0.3]), with_eigenvalues([1.5, -1.0, 0.4])]


@pytest.fixture(scope="module")
def gradients():
    """One matrix per strain, not symmetric."""
    return np.random.default_rng(5).normal(size=(len(STRAINS), 3, 3))


@pytest.mark.parametrize("mode", MODES)
def test_basis_is_orthonormal_and_symmetric(mode):
    basis = STRAIN_BASES[mode]
    np.testing.assert_allclose(np.einsum("aij,bij->ab", basis, basis), np.eye(len(basis)), atol=1e-15)
    np.testing.assert_array_equal(basis, np.swapaxes(basis, -1, -2))
    assert len(basis) == {"isotropic": 1, "orthorhombic": 3, "full": 6}[mode]


def test_deformation_is_the_matrix_exponential():
    for strain in STRAINS:
        np.testing.assert_allclose(deformation(strain), expm(strain), atol=1e-14)


def test_log_strain_is_the_matrix_logarithm():
    """On a triclinic reference cell, whose vectors are rows here: cell = cell₀ F."""
    for strain in STRAINS:
        result = log_strain(TRICLINIC @ expm(strain), TRICLINIC)
        np.testing.assert_allclose(result, strain, atol=1e-13)
        np.testing.assert_allclose(result, logm(expm(strain)), atol=1e-13)


def test_pull_back_is_the_adjoint_of_scipys_frechet_derivative(gradients):
    """⟨G, L(ε, B)⟩ for every B of the basis. Control: the chain rule for commuting matrices, G exp(ε), is another."""
    basis, worst = STRAIN_BASES["full"], 0.0
    for strain, gradient in zip(STRAINS, gradients, strict=True):
        result = np.einsum("ij,aij->a", pull_back(strain, gradient), basis)
        expected = [np.sum(gradient * expm_frechet(strain, b, compute_expm=False)) for b in basis]
        np.testing.assert_allclose(result, expected, atol=2e-14 * np.exp(np.abs(strain).max()))
        commuting = 0.5 * (gradient @ expm(strain) + (gradient @ expm(strain)).T)
        worst = max(worst, np.abs(np.einsum("ij,aij->a", commuting, basis) - expected).max())
    assert worst > 0.01


def test_pull_back_against_finite_differences(gradients):
    """d/ds ⟨G, exp(ε + s B)⟩, without any derivative of SciPy's."""
    basis, step = STRAIN_BASES["full"], 1e-5
    for strain, gradient in zip(STRAINS, gradients, strict=True):
        differences = [
            np.sum(gradient * (expm(strain + step * b) - expm(strain - step * b))) / (2 * step) for b in basis
        ]
        np.testing.assert_allclose(np.einsum("ij,aij->a", pull_back(strain, gradient), basis), differences, atol=5e-9)


class TestJacobian:
    def test_direct_formula(self):
        """Where the eigenvalues differ. Control: without the logarithm's argument being divided by the gap it fails."""
        for values in ([0.3, -0.2, 0.05], [1.0, 2.5, -1.0]):
            gaps = [a - b for a, b in combinations(values, 2)]
            expected = sum(np.log(np.sinh(gap) / gap) for gap in gaps)
            result = log_jacobian(with_eigenvalues(values))
            assert result == pytest.approx(expected, rel=1e-12)
            assert result != pytest.approx(np.log(np.prod(np.abs(np.sinh(gaps)))), rel=1e-3)

    def test_one_where_the_strain_is_isotropic(self):
        assert log_jacobian(0.4 * np.eye(3)) == pytest.approx(0.0, abs=1e-15)
        assert log_jacobian(np.zeros((3, 3))) == 0.0

    @pytest.mark.parametrize("gap", GAPS)
    def test_small_gaps_by_the_series(self, gap):
        """The series ln sinhc x = x²/6 − x⁴/180 + … for the pair, the rest from the direct formula."""
        far = [0.17, 0.17 + gap]
        expected = gap**2 / 6 - gap**4 / 180 + gap**6 / 2835 + sum(np.log(np.sinh(x) / x) for x in far)
        assert log_jacobian(strain_of_gap(gap)) == pytest.approx(expected, rel=1e-6, abs=1e-12)

    def test_gradient_against_finite_differences(self):
        step = 1e-4
        for strain in STRAINS:
            basis = STRAIN_BASES["full"]
            numeric = [(log_jacobian(strain + step * b) - log_jacobian(strain - step * b)) / (2 * step) for b in basis]
            result = np.einsum("ij,aij->a", log_jacobian_gradient(strain), basis)
            np.testing.assert_allclose(result, numeric, atol=1e-8)

    def test_is_the_volume_element_of_polar_decomposition(self):
        """On SPD matrices: |det ∂(F)/∂(ε)| · Π(σᵢ + σⱼ) ∝ Ω³ J up to the constant 2³, from finite differences.

        h = F R with R a rotation has d⁹h = Π_{i<j}(σᵢ + σⱼ) d⁶F dR. This is where J of the theory comes from.
        """
        basis, step = STRAIN_BASES["full"], 1e-5
        for strain in STRAINS[-4:]:
            columns = [
                np.einsum("ij,aij->a", (expm(strain + step * b) - expm(strain - step * b)) / (2 * step), basis)
                for b in basis
            ]
            sigma = np.exp(np.linalg.eigvalsh(strain))
            sums = sum(np.log(a + b) for a, b in combinations(sigma, 2))
            element = np.linalg.slogdet(np.array(columns))[1] + sums
            assert element == pytest.approx(3 * np.trace(strain) + np.log(8) + log_jacobian(strain), abs=1e-8)


def test_batch_is_the_strains_one_by_one(gradients):
    strains = np.array(STRAINS).reshape(2, -1, 3, 3)
    grouped = gradients.reshape(strains.shape)
    cells = TRICLINIC @ deformation(strains)
    results = {
        "pull_back": (pull_back(strains, grouped), lambda k: pull_back(strains[k], grouped[k])),
        "deformation": (deformation(strains), lambda k: deformation(strains[k])),
        "log_strain": (log_strain(cells, TRICLINIC), lambda k: log_strain(cells[k], TRICLINIC)),
        "log_jacobian": (log_jacobian(strains), lambda k: log_jacobian(strains[k])),
        "gradient": (log_jacobian_gradient(strains), lambda k: log_jacobian_gradient(strains[k])),
    }
    for name, (together, alone) in results.items():
        for k in np.ndindex(2, len(STRAINS) // 2):
            np.testing.assert_array_equal(together[k], alone(k), err_msg=name)


class TestRefused:
    def test_rotated_cell(self):
        """By a thousandth of a degree."""
        angle = np.radians(1e-3)
        rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        with pytest.raises(ValueError, match="rotated with respect to the reference cell"):
            log_strain(TRICLINIC @ rotation, TRICLINIC)

    @pytest.mark.parametrize("scale", [(1, 1, -1), (-1, -1, -1), (1, 1, 0), (1, -1, -1)])
    def test_mirrored_or_collapsed_cell(self, scale):
        """Two flipped axes are a rotation by 180 degrees: symmetric too, and no strain either."""
        with pytest.raises(ValueError, match="mirrored or collapsed"):
            log_strain(TRICLINIC @ np.diag(scale), TRICLINIC)

    def test_one_bad_cell_of_a_batch(self):
        cells = np.stack([TRICLINIC, TRICLINIC @ np.diag([1, 1, -1])])
        with pytest.raises(ValueError, match="mirrored or collapsed"):
            log_strain(cells, TRICLINIC)

"""The mean cell and its errors, against exact ones."""

import math

import numpy as np
import pytest
from chains import ar1
from frame_examples import CELLS

from aiida_slhmc.analysis.cell import cell_block_length, cell_metrics, propagated_volume_error
from aiida_slhmc.analysis.frames import Frames

# 2 × 2 × 2 cells of rutile: 16 formula units
EDGES = np.array([9.188, 9.188, 5.918])
SYMBOLS = ("Ti",) * 16 + ("O",) * 32
REPLICATION = (2, 2, 2)
VOLUME = EDGES.prod() / 16
STRAIN = 0.004


def frames_with(cells):
    return Frames(SYMBOLS, np.zeros((len(cells), 48, 3)), cells)


def orthorhombic(strains):
    """Frames with the edges strained by (n_frames, 3)."""
    return frames_with(np.einsum("fi,ij->fij", EDGES * (1 + strains), np.eye(3)))


def independent(seed=0, n_frames=2000):
    return np.random.default_rng(seed).normal(0, STRAIN, (n_frames, 3))


def errors_of(estimates, names=("a", "b", "c", "volume")):
    return [estimates[name].standard_error for name in names]


def test_values():
    strains = independent()
    frames, edges = orthorhombic(strains), EDGES * (1 + strains.mean(axis=0))
    for estimates in (cell_metrics(frames, REPLICATION), propagated_volume_error(frames, REPLICATION)):
        assert [estimates[name].value for name in "abc"] == pytest.approx(edges / 2)
        assert estimates["volume"].value == pytest.approx(edges.prod() / 16)
    angles = [cell_metrics(frames)[name] for name in ("alpha", "beta", "gamma")]
    assert angles == [(90, 0)] * 3


@pytest.mark.parametrize("shape", ["triclinic", "left-handed"])
def test_values_of_any_cell(shape):
    """Of the mean matrix: the mean of the lengths is larger where the vectors turn."""
    cells = CELLS[shape] + np.random.default_rng(0).normal(0, 0.3, (50, 3, 3))
    estimates, vectors = cell_metrics(frames_with(cells), (1, 2, 3)), cells.mean(axis=0)
    lengths = np.linalg.norm(vectors, axis=1)
    assert [estimates[name].value for name in "abc"] == pytest.approx(lengths / [1, 2, 3])
    assert estimates["a"].value < np.linalg.norm(cells[:, 0], axis=1).mean()
    for name, one, other in (("alpha", 1, 2), ("beta", 0, 2), ("gamma", 0, 1)):
        cosine = vectors[one] @ vectors[other] / (lengths[one] * lengths[other])
        assert estimates[name].value == pytest.approx(math.degrees(math.acos(cosine)))
        assert estimates[name].standard_error > 0
    assert estimates["volume"].value == pytest.approx(abs(np.linalg.det(vectors)) / 16)


def test_errors_of_independent_lengths():
    """Both ways agree with s_V = V s √3 where lengths and frames are independent."""
    error = STRAIN / math.sqrt(2000)
    exact = [*(EDGES / 2 * error), VOLUME * math.sqrt(3) * error]
    frames = orthorhombic(independent())
    assert errors_of(propagated_volume_error(frames, REPLICATION)) == pytest.approx(exact, rel=0.05)
    assert errors_of(cell_metrics(frames, REPLICATION, n_resamples=2000)) == pytest.approx(exact, rel=0.15)


def test_errors_of_lengths_that_move_together():
    """Isotropic strain: s_V = 3 V s, which the bootstrap gives; the propagated one is smaller by √3, as documented."""
    frames = orthorhombic(np.repeat(independent()[:, :1], 3, axis=1))
    exact = 3 * VOLUME * STRAIN / math.sqrt(2000)
    assert cell_metrics(frames, n_resamples=2000)["volume"].standard_error == pytest.approx(exact, rel=0.15)
    assert propagated_volume_error(frames)["volume"].standard_error == pytest.approx(exact / math.sqrt(3), rel=0.05)


CORRELATION = 0.95
TIME = (1 + CORRELATION) / (1 - CORRELATION)


def slow(seed):
    return orthorhombic(STRAIN * ar1(np.random.default_rng(seed), CORRELATION, 4000, 3))


def test_slow_cells():
    """Control: independent frames, or the usual blocks of ten, make the error far too small."""
    exact = VOLUME * math.sqrt(3) * STRAIN * math.sqrt(TIME / 4000)
    runs = [slow(seed) for seed in range(12)]

    def mean_error(function, **options):
        return np.mean([function(run, REPLICATION, **options)["volume"].standard_error for run in runs])

    assert mean_error(cell_metrics, block_length=None, n_resamples=100) == pytest.approx(exact, rel=0.15)
    assert mean_error(cell_metrics, n_resamples=100) < 0.7 * exact
    assert mean_error(propagated_volume_error, autocorrelation=True) == pytest.approx(exact, rel=0.15)
    assert mean_error(propagated_volume_error) == pytest.approx(exact / math.sqrt(TIME), rel=0.1)


def test_cells_that_swing_back_gain_nothing():
    """Fails where an autocorrelation time below one frame makes the error smaller than that of independent frames."""
    frames = orthorhombic(STRAIN * ar1(np.random.default_rng(0), -0.6, 2000, 3))
    assert propagated_volume_error(frames, autocorrelation=True) == propagated_volume_error(frames)


def test_chosen_block_is_told():
    frames = slow(0)
    length = cell_block_length(frames)
    assert length == pytest.approx(5 * TIME, rel=0.5)
    assert cell_metrics(frames, block_length=None) == cell_metrics(frames, block_length=length)
    assert cell_block_length(orthorhombic(independent())) == 10


def test_a_cell_that_never_changes():
    frames = orthorhombic(np.zeros((50, 3)))
    assert errors_of(cell_metrics(frames, block_length=None)) == pytest.approx([0, 0, 0, 0], abs=1e-10)
    for autocorrelation in (False, True):
        errors = errors_of(propagated_volume_error(frames, autocorrelation=autocorrelation))
        assert errors == pytest.approx([0, 0, 0, 0], abs=1e-10)


def test_one_edge_alone_changes():
    """Fails where a constant series has no autocorrelation time and takes the volume's error with it."""
    strains = independent()
    strains[:, :2] = 0
    error = errors_of(propagated_volume_error(orthorhombic(strains), autocorrelation=True))
    assert error[:2] == [0, 0]
    assert error[3] / VOLUME == pytest.approx(error[2] / EDGES[2], rel=0.01)
    assert error[2] == pytest.approx(EDGES[2] * STRAIN / math.sqrt(2000), rel=0.2)


def test_too_few_frames_for_an_error():
    assert all(map(math.isnan, errors_of(cell_metrics(orthorhombic(independent(n_frames=5))))))
    assert all(map(math.isnan, errors_of(propagated_volume_error(orthorhombic(independent(n_frames=1))))))
    few = propagated_volume_error(orthorhombic(independent(n_frames=7)), autocorrelation=True)
    assert all(map(math.isnan, errors_of(few)))


def test_propagation_is_for_nearly_diagonal_cells():
    cells = np.tile(CELLS["triclinic"], (10, 1, 1))
    with pytest.raises(ValueError, match="not nearly diagonal"):
        propagated_volume_error(frames_with(cells))
    tilted = np.tile(np.diag(EDGES) + 0.01, (10, 1, 1))
    assert propagated_volume_error(frames_with(tilted))["volume"].value > 0


@pytest.mark.parametrize("replication", [(2, 2), (2, 2, 0), (2, 2, 1.5), (1, 1, 1, 1)])
@pytest.mark.parametrize("function", [cell_metrics, propagated_volume_error])
def test_replications_that_are_none(function, replication):
    with pytest.raises(ValueError, match="three positive integers"):
        function(orthorhombic(independent(n_frames=20)), replication)

"""The block bootstrap on series whose error is known."""

import math

import numpy as np
import pytest
from chains import ar1

from aiida_slhmc.analysis.bootstrap import Estimate, block_bootstrap, choose_block_length, mean, resampled_frames

CORRELATION, N_FRAMES = 0.8, 3000
# autocorrelation time 9


def series(seed=0, correlation=CORRELATION, n_frames=N_FRAMES):
    return ar1(np.random.default_rng(seed), correlation, n_frames, 1)[:, 0]


def exact_error(correlation=CORRELATION, n_frames=N_FRAMES):
    """Standard deviation of the mean of an AR(1) series of unit variance."""
    lags = np.arange(1, n_frames)
    return math.sqrt((1 + 2 * np.sum((1 - lags / n_frames) * correlation**lags)) / n_frames)


def mean_error(**options):
    return np.mean([block_bootstrap(series(seed), **options).standard_error for seed in range(40)])


@pytest.mark.parametrize("block_length", [100, None])
def test_error_of_the_mean_of_ar1(block_length):
    assert mean_error(block_length=block_length) == pytest.approx(exact_error(), rel=0.1)


def test_control_frames_are_not_independent():
    """Negative control: blocks of one frame give σ/√n, a third of the error; the usual ten frames are too few, too."""
    assert mean_error(block_length=1) == pytest.approx(1 / math.sqrt(N_FRAMES), rel=0.05)
    assert mean_error(block_length=1) < 0.4 * exact_error()
    assert mean_error(block_length=10) < 0.85 * exact_error()


def test_blocks_of_ten_do_for_short_correlations():
    errors = [block_bootstrap(series(seed, 0.3)).standard_error for seed in range(40)]
    assert np.mean(errors) == pytest.approx(exact_error(0.3), rel=0.1)


def test_atoms_of_a_frame_stay_together():
    """Sixteen atoms that move as one are worth one; fails where they are resampled on their own."""
    together = np.repeat(series(correlation=0)[:, None], 16, axis=1)
    assert block_bootstrap(together) == pytest.approx(block_bootstrap(together[:, 0]))


def test_two_blocks_by_hand():
    """0 and 1 have the variance ½, and their mean the error √(½/2)."""
    estimate = block_bootstrap([0, 0, 0, 1, 1, 1], block_length=3, n_resamples=20000)
    assert estimate.value == 0.5
    assert estimate.standard_error == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("n_blocks", [2, 4, 8])
def test_variance_of_few_blocks_has_no_bias(n_blocks):
    """Of the mean of so many walkers, whose variance is known. Control: less (m − 1)/m, that of m drawn, it is off."""
    walkers = np.random.default_rng(n_blocks).normal(size=(600, n_blocks))
    options = {"block_length": 1, "n_resamples": 40}
    variances = [block_bootstrap(row, seed=k, **options).standard_error ** 2 for k, row in enumerate(walkers)]
    error = np.std(variances) / math.sqrt(len(variances))
    assert abs(np.mean(variances) - 1 / n_blocks) < 4 * error
    assert abs(np.mean(variances) * (n_blocks - 1) / n_blocks - 1 / n_blocks) > 4 * error


def test_resamples_are_of_whole_blocks():
    """25 frames in blocks of ten: 0–9, 10–19, 20–24, two of these three each time."""
    blocks = [list(range(10)), list(range(10, 20)), list(range(20, 25))]
    seen = set()
    for frames in resampled_frames(25, block_length=10, n_resamples=100, seed=0):
        rest, n_blocks = frames.tolist(), 0
        while rest:
            block = next(block for block in blocks if block[0] == rest[0])
            assert rest[: len(block)] == block
            rest, n_blocks = rest[len(block) :], n_blocks + 1
            seen.add(block[0])
        assert n_blocks == 2
    assert seen == {0, 10, 20}


def test_seed():
    assert block_bootstrap(series(), seed=3) == block_bootstrap(series(), seed=3)
    first, second = (block_bootstrap(series(), seed=seed) for seed in (3, 4))
    assert first.value == second.value
    assert first.standard_error != second.standard_error


def test_statistic_of_many_numbers():
    """Each has the error that it has alone."""
    values = np.random.default_rng(0).normal(size=(200, 3))
    together = block_bootstrap(values, lambda frames: frames.mean(axis=0))
    assert together == [pytest.approx(block_bootstrap(values[:, column])) for column in range(3)]
    assert all(isinstance(estimate, Estimate) for estimate in together)


def test_statistic_is_of_all_frames():
    values = series()
    estimate = block_bootstrap(values, lambda frames: float(frames.max()))
    assert estimate.value == values.max()
    assert mean(values) == values.mean()


@pytest.mark.parametrize("block_length", [5, 10, None])
def test_one_block_has_no_spread(block_length):
    """Fails where the error is zero: the value would look exact."""
    estimate = block_bootstrap([1.0, 2.0, 3.0], block_length=block_length)
    assert estimate.value == 2.0
    assert math.isnan(estimate.standard_error)


def test_chosen_length_is_five_times_the_memory():
    lengths = [choose_block_length(series(seed)) for seed in range(20)]
    assert np.mean(lengths) == pytest.approx(5 * 9, rel=0.15)


@pytest.mark.parametrize(
    "values",
    [series(correlation=0), np.ones(100), [1.0, 2.0, 3.0], series()[:30]],
    ids=["white noise", "constant", "three frames", "thirty frames"],
)
def test_never_shorter_than_ten(values):
    assert choose_block_length(values) == 10


def test_four_blocks_are_left():
    assert choose_block_length(series(correlation=0.99, n_frames=200)) == 50


def test_slowest_series_counts():
    fast = series(correlation=0)
    assert choose_block_length(np.column_stack([fast, series(1)])) == choose_block_length(series(1))


def test_slow_part_that_all_share():
    """Hidden in each of them below the noise, it is all there is in their mean. Control: one alone does not show it."""
    noise = np.random.default_rng(0).normal(0, 10, (N_FRAMES, 400))
    together = series(1)[:, None] + noise
    assert choose_block_length(together[:, 0]) == 10
    assert choose_block_length(together) > 30


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        ([], {}, "values of frames"),
        (1.0, {}, "values of frames"),
        ([1.0, 2.0], {"block_length": 0}, "at least one frame"),
        ([1.0, 2.0], {"n_resamples": 1}, "at least two resamples"),
        ([1.0, 2.0], {"statistic": lambda values: np.ones((2, 2))}, "a row of numbers"),
    ],
)
def test_what_cannot_be_resampled(values, options, words):
    with pytest.raises(ValueError, match=words):
        block_bootstrap(values, **options)

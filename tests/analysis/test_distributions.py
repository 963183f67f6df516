"""Histograms, and the Wasserstein distance with what chance makes of it."""

import math
from itertools import pairwise

import numpy as np
import pytest
from chains import ar1

from aiida_slhmc.analysis.distributions import density_histogram, wasserstein, wasserstein_estimate, wasserstein_floor


def test_density_integrates_to_one():
    samples = np.random.default_rng(0).normal(-0.3, 0.1, (50, 16))
    centres, density = density_histogram(samples, 0.005)
    assert density.sum() * 0.005 == pytest.approx(1)
    edges = np.append(centres - 0.0025, centres[-1] + 0.0025)
    assert density == pytest.approx(np.histogram(samples, edges, density=True)[0])
    assert density[0] > 0
    assert density[-1] > 0


def test_bins_of_two_samples_match():
    """Fails for bins that begin at the smallest value."""
    generator = np.random.default_rng(1)
    for samples in generator.normal(1.8, 0.1, (5, 100)):
        centres, _ = density_histogram(samples, 0.005)
        assert (centres - 0.0025) / 0.005 == pytest.approx(np.round((centres - 0.0025) / 0.005), abs=1e-9)


def test_bins_by_hand():
    centres, density = density_histogram([0.0, 0.1, 0.6, -0.2], 0.5)
    assert centres.tolist() == [-0.25, 0.25, 0.75]
    assert density.tolist() == [0.5, 1.0, 0.5]


def distance_by_hand(first, second):
    """∫|F − G| dx, interval by interval between the values of both."""
    points = np.unique(np.concatenate([first, second]))
    total = 0.0
    for left, right in pairwise(points):
        cumulative = [np.mean(np.asarray(sample) <= left) for sample in (first, second)]
        total += abs(cumulative[0] - cumulative[1]) * (right - left)
    return total


@pytest.mark.parametrize("sizes", [(40, 40), (30, 7), (1, 5)])
def test_distance_is_the_integral(sizes):
    generator = np.random.default_rng(2)
    # rounded, so that some values are equal
    first, second = (np.round(generator.normal(shift, 1, size), 1) for shift, size in zip((0, 0.4), sizes, strict=True))
    assert wasserstein(first, second) == pytest.approx(distance_by_hand(first, second))


def test_distance_of_a_shift_is_the_shift():
    samples = np.random.default_rng(3).normal(size=(20, 8))
    assert wasserstein(samples, samples + 0.7) == pytest.approx(0.7)
    assert wasserstein(samples, samples) == 0


N_FRAMES, N_ATOMS, CORRELATION = 600, 4, 0.7


def trajectory(seed, n_frames=N_FRAMES, shift=0.0):
    return shift + ar1(np.random.default_rng(seed), CORRELATION, n_frames, N_ATOMS)


def test_error_of_a_distance_is_the_spread_of_repetitions():
    """Control: frame by frame, the error is much too small."""
    pairs = [(trajectory(2 * seed, 400), trajectory(2 * seed + 1, 600, shift=1.0)) for seed in range(40)]
    spread = np.std([wasserstein(*pair) for pair in pairs], ddof=1)
    errors = {
        length: np.mean(
            [wasserstein_estimate(*pair, block_length=length, n_resamples=30).standard_error for pair in pairs]
        )
        for length in (40, 1)
    }
    assert errors[40] == pytest.approx(spread, rel=0.25)
    assert errors[1] < 0.6 * spread


def test_value_is_of_the_samples_themselves():
    first, second = trajectory(0), trajectory(1, 300)
    estimate = wasserstein_estimate(first, second)
    assert estimate.value == wasserstein(first, second)
    assert estimate == wasserstein_estimate(first, second)


def chance(n_first, n_second):
    """Distances between independent trajectories of one distribution."""
    seeds = range(1000, 1200, 2)
    return np.array([wasserstein(trajectory(seed, n_first), trajectory(seed + 1, n_second)) for seed in seeds])


def floors(n_frames, **options):
    found = [wasserstein_floor(trajectory(seed, n_frames), n_resamples=40, **options) for seed in range(40)]
    return np.array(found)


def test_floor_is_the_distance_by_chance():
    distances, found = chance(N_FRAMES, N_FRAMES), floors(N_FRAMES, block_length=40)
    assert found[:, 0].mean() == pytest.approx(distances.mean(), rel=0.1)
    assert found[:, 1].mean() == pytest.approx(distances.std(ddof=1), rel=0.25)


def test_control_floors_that_are_none():
    """Negative controls: frames taken as independent, and halves without the scale to the whole."""
    distances = chance(N_FRAMES, N_FRAMES).mean()
    assert floors(N_FRAMES, block_length=1)[:, 0].mean() < 0.6 * distances
    halves = [wasserstein(sample[:300], sample[300:]) for sample in map(trajectory, range(100))]
    assert np.mean(halves) > 1.25 * distances


def test_floor_of_different_lengths():
    """Root mean square of the two."""
    first, second = (floors(n_frames, block_length=20)[:, 0] for n_frames in (200, 800))
    floor = np.sqrt((first**2 + second**2) / 2).mean()
    assert floor == pytest.approx(chance(200, 800).mean(), rel=0.1)


def test_floor_shrinks_as_the_root_of_the_length():
    short, long = (floors(n_frames, block_length=20)[:, 0].mean() for n_frames in (200, 800))
    assert short / long == pytest.approx(2, rel=0.1)


def test_halves_of_an_odd_number_of_blocks():
    """Five blocks, the last one shorter: two or three of them, 15 to 30 frames, scaled to two samples of 45."""
    samples = np.random.default_rng(4).normal(size=(200, 45, 10))
    distances = [wasserstein(*pair) for pair in zip(samples[::2], samples[1::2], strict=True)]
    found = [wasserstein_floor(sample, block_length=10, n_resamples=20).value for sample in samples[::4]]
    assert np.mean(found) == pytest.approx(np.mean(distances), rel=0.1)


def test_the_two_are_resampled_on_their_own():
    """Fails where both take the same frames: a trajectory and itself shifted would then have no error."""
    sample = np.random.default_rng(5).normal(size=(500, 1))
    estimate = wasserstein_estimate(sample, sample + 2, block_length=1)
    assert estimate.value == pytest.approx(2)
    assert estimate.standard_error == pytest.approx(math.sqrt(2 / 500), rel=0.15)


def test_one_block_tells_nothing():
    sample = trajectory(0, 10)
    assert all(map(math.isnan, wasserstein_floor(sample)))
    assert math.isnan(wasserstein_estimate(sample, trajectory(1)).standard_error)
    assert math.isnan(wasserstein_estimate(trajectory(1), sample).standard_error)


def test_chosen_blocks():
    """Of a slow trajectory, they make the floor higher."""
    slow = ar1(np.random.default_rng(5), 0.97, 2000, 2)
    assert (
        wasserstein_floor(slow, block_length=None, n_resamples=50).value
        > 1.3 * wasserstein_floor(slow, n_resamples=50).value
    )
    first, second = slow, slow[::-1] + 1
    options = {"n_resamples": 100}
    usual, chosen = (wasserstein_estimate(first, second, block_length=length, **options) for length in (10, None))
    assert chosen.standard_error > 1.3 * usual.standard_error


@pytest.mark.parametrize(
    "call",
    [
        lambda: density_histogram([], 0.1),
        lambda: density_histogram([1.0], 0.0),
        lambda: density_histogram([1.0, math.nan], 0.1),
        lambda: wasserstein([], [1.0]),
        lambda: wasserstein([1.0], [math.inf]),
        lambda: wasserstein_floor([]),
        lambda: wasserstein_floor([1.0, 2.0], block_length=0),
        lambda: wasserstein_floor([1.0, 2.0], n_resamples=1),
        lambda: wasserstein_estimate([1.0], []),
    ],
)
def test_what_is_no_sample(call):
    with pytest.raises(ValueError, match=r"no sample|finite|positive|at least"):
        call()

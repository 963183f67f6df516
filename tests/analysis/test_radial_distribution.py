"""Radial distribution functions against ASE's and exact ones, and positions of peaks."""

import math

import numpy as np
import pytest
from ase.geometry.rdf import get_rdf
from frame_examples import CELLS, atoms_of, frames_of, gas, one_pair, rutile, shaken
from scipy.stats import norm

from aiida_slhmc.analysis.neighbours import coordination_numbers
from aiida_slhmc.analysis.radial_distribution import BIN_WIDTH, radial_distribution, refined_peak

PAIRS = [("Ti", "O"), ("O", "O"), ("Ti", "Ti")]


def supercell_of(frames, repetitions):
    return frames_of(*(atoms_of(frames, frame).repeat(repetitions) for frame in range(frames.n_frames)))


@pytest.mark.parametrize("pair", PAIRS)
def test_agrees_with_ase(pair):
    """In a cell that is large enough for ASE; of the small cell repeated, beyond half of which ASE does not go."""
    small = shaken(rutile(), 2)
    large = supercell_of(small, (3, 3, 5))
    expected, centres = get_rdf([atoms_of(large, frame) for frame in range(2)], 6.0, 60, elements=pair)
    for frames in (small, large):
        r, g = radial_distribution(frames, pair, bin_width=0.1, r_max=6.0)
        assert r == pytest.approx(centres)
        assert g == pytest.approx(expected, abs=1e-9)


def test_agrees_with_ase_in_a_triclinic_cell():
    frames = gas(["H"] * 30, CELLS["triclinic"][None] * 1.5, seed=1)
    expected = get_rdf(atoms_of(frames, 0), 5.0, 50, no_dists=True)
    assert radial_distribution(frames, ("H", "H"), bin_width=0.1, r_max=5.0)[1] == pytest.approx(expected)


def breathing_gas(n_hydrogen=20, n_helium=10):
    """An ideal gas in triclinic cells whose volumes differ by a factor of eight."""
    scales = np.random.default_rng(2).uniform(0.6, 1.2, (400, 1, 1))
    return gas(["H"] * n_hydrogen + ["He"] * n_helium, CELLS["triclinic"] * scales, seed=3)


def deviation_from(frames, g, expected, bin_width, n_pairs):
    """Mean of g minus what is expected, in standard errors of Poisson's counts (from 1 to 9 Å)."""
    edges = np.arange(len(g) + 1) * bin_width
    counts = n_pairs * np.sum(1 / frames.volumes()) * 4 / 3 * math.pi * np.diff(edges**3)
    chosen = edges[:-1] >= 1
    weights = counts[chosen]
    error = math.sqrt(1 / weights.sum())
    return (np.average(g[chosen], weights=weights) - expected) / error


def test_ideal_gas_is_one():
    """At distances larger than the cells, too."""
    frames = breathing_gas()
    g = radial_distribution(frames, ("H", "He"), bin_width=0.5, r_max=9.0)[1]
    assert g[2:] == pytest.approx(1, abs=0.05)
    assert abs(deviation_from(frames, g, 1, 0.5, 200)) < 4


def test_control_the_mean_volume_is_not_each_frames_own():
    """Negative control of the one before."""
    frames = breathing_gas()
    g = radial_distribution(frames, ("H", "He"), bin_width=0.5, r_max=9.0)[1]
    volumes = frames.volumes()
    # of an ideal gas, n is proportional to 1/V, so ⟨V⟩⟨n⟩ is too large by ⟨V⟩⟨1/V⟩
    wrong = g * volumes.mean() * (1 / volumes).mean()
    assert abs(deviation_from(frames, wrong, 1, 0.5, 200)) > 20


def test_ideal_gas_of_one_species():
    """N − 1 others; the atom's own images, at the cell's edge and beyond, are the missing one."""
    cells = np.tile(8.0 * np.eye(3), (200, 1, 1))
    g = radial_distribution(gas(["H"] * 5, cells), ("H", "H"), bin_width=0.25, r_max=24.5)[1]
    weights = np.diff(np.arange(99) ** 3)
    assert np.average(g[8:31], weights=weights[8:31]) == pytest.approx(1 - 1 / 5, abs=0.01)
    # of the lattice's points, 122 lie within three edges: 1.01 times those of the mean density
    assert np.average(g, weights=weights) == pytest.approx(1, abs=0.01)


def test_integral_is_the_coordination_number():
    frames = shaken(rutile(1, 1, 2), 5)
    r, g = radial_distribution(frames, ("Ti", "O"), bin_width=0.01, r_max=2.5)
    density = 8 / frames.volumes()[0]
    shells = 4 / 3 * math.pi * ((r + 0.005) ** 3 - (r - 0.005) ** 3)
    assert density * np.sum(g * shells) == pytest.approx(coordination_numbers(frames, "Ti", "O", 2.5).mean())


def test_either_order_of_the_pair():
    frames = shaken(rutile(), 3)
    one, other = (radial_distribution(frames, pair, bin_width=0.05)[1] for pair in (("Ti", "O"), ("O", "Ti")))
    assert one == pytest.approx(other)
    assert one.max() > 1


def test_default_grid():
    """A hundredth of a bohr."""
    r, g = radial_distribution(frames_of(rutile()), ("Ti", "O"))
    assert r[0] == pytest.approx(BIN_WIDTH / 2)
    assert np.diff(r) == pytest.approx(np.full(len(r) - 1, 0.00529177))
    assert r[-1] + BIN_WIDTH / 2 <= 6 < r[-1] + 3 * BIN_WIDTH / 2
    assert g.shape == r.shape


PAIR, WINDOW = ("H", "He"), (1.6, 2.2)


def normal_distances(n_frames, seed=0):
    return np.random.default_rng(seed).normal(1.9, 0.08, n_frames)


def even_distances(n_frames, deviation=0.08):
    """Quantiles of a normal distribution: its histogram has no noise."""
    return norm.ppf((np.arange(n_frames) + 0.5) / n_frames, 1.9, deviation)


def test_peak_is_that_of_the_parabola():
    """Against np.histogram and np.polyfit."""
    distances = normal_distances(2000)
    counts, edges = np.histogram(distances, bins=np.arange(80, 111) * 0.02)
    centres, top = (edges[:-1] + edges[1:]) / 2, counts.argmax()
    parabola = np.polyfit(centres[top - 1 : top + 2], counts[top - 1 : top + 2], 2)
    peak = refined_peak(one_pair(distances), PAIR, WINDOW, bin_width=0.02)
    assert peak.value == pytest.approx(-parabola[1] / (2 * parabola[0]))
    assert peak.value != pytest.approx(centres[top], abs=1e-6)


@pytest.mark.parametrize(("window", "centre"), [((2.0, 2.4), 2.01), ((1.3, 1.8), 1.79)])
def test_maximum_at_the_edge_of_the_window(window, centre):
    """No parabola; fails where the bins outside are looked at."""
    peak = refined_peak(one_pair(even_distances(2000)), PAIR, window, bin_width=0.02, n_resamples=20)
    assert peak.value == pytest.approx(centre)


def test_error_of_a_peak_is_the_spread_of_repetitions():
    options = {"bin_width": 0.05, "n_resamples": 100, "block_length": 1}
    peaks = [refined_peak(one_pair(normal_distances(300, seed)), PAIR, WINDOW, **options) for seed in range(60)]
    values, errors = np.array(peaks).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_chosen_blocks_of_a_slow_distance():
    """A distance that stays for fifty frames; control: blocks of ten frames say that the peak is known better."""
    frames = one_pair(np.repeat(normal_distances(20), 50))
    options = {"bin_width": 0.05, "seed": 1}
    chosen = refined_peak(frames, PAIR, WINDOW, block_length=None, **options)
    usual = refined_peak(frames, PAIR, WINDOW, **options)
    assert chosen.value == usual.value
    assert chosen.standard_error > 1.3 * usual.standard_error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((("Ti", "Zr"), WINDOW), "no 'Zr'"),
        ((("Ti", "O"), (0.5, 1.0)), "no distance Ti–O lies in the window"),
        ((("Ti", "O"), (2.2, 1.6)), "are none"),
        ((("Ti", "O"), (-1.0, 1.6)), "are none"),
        ((("Ti", "O"), (1.6, 1.61)), "fewer than three bins"),
        ((("Ti", "O"), (1.6, 1.601)), "no bin of"),
    ],
)
def test_windows_without_a_peak(arguments, words):
    with pytest.raises(ValueError, match=words):
        refined_peak(frames_of(rutile()), *arguments)


@pytest.mark.parametrize("options", [{"bin_width": 0.0}, {"bin_width": np.nan}, {"r_max": 0.001}, {"r_max": np.inf}])
def test_grids_that_are_none(options):
    with pytest.raises(ValueError, match=r"bin|none"):
        radial_distribution(frames_of(rutile()), ("Ti", "O"), **options)

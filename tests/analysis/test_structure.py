"""Metrics of a trajectory, and its distance from another, on crystals whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase.spacegroup import crystal

from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.structure import analyse_structure, compare_nearest
from aiida_slhmc.analysis.structure_parameters import StructureParameters

PARAMETERS = StructureParameters(
    centre="Ti",
    neighbour="O",
    coordination_cutoff=2.4,
    n_short=4,
    n_long=2,
    peak_windows={"Ti-O": [1.6, 2.2], "O-O": [2.3, 3.2]},
    replication=[1, 1, 2],
    n_resamples=50,
    n_peak_resamples=20,
)
A, C, U = 4.594, 2.959, 0.305
# the two kinds of bonds of rutile
SHORT = np.sqrt(2 * (0.5 - U) ** 2 * A**2 + C**2 / 4)
LONG = np.sqrt(2) * U * A


def frames_of(n_frames: int, *, amplitude: float = 0.02, strain: float = 0.0, seed: int = 0) -> Frames:
    """Twelve atoms of rutile that swing about their sites; the cell breathes by half a per cent."""
    unit = crystal(["Ti", "O"], [(0, 0, 0), (U, U, 0)], spacegroup=136, cellpar=[A, A, C, 90, 90, 90]) * (1, 1, 2)
    generator = np.random.default_rng(seed)
    stretch = 1 + strain + 0.005 * generator.standard_normal(n_frames)
    positions = unit.positions * stretch[:, None, None]
    positions = positions + amplitude * generator.standard_normal((n_frames, len(unit), 3))
    return Frames(tuple(unit.symbols), positions, unit.cell.array * stretch[:, None, None])


def test_a_crystal_at_rest():
    metrics, _ = analyse_structure(frames_of(40, amplitude=0.0), PARAMETERS)
    assert metrics["nearest_neighbour"]["mean"][0] == pytest.approx(SHORT, abs=0.005)
    assert metrics["split_shell"]["short"][0] == pytest.approx(SHORT, abs=0.005)
    assert metrics["split_shell"]["long"][0] == pytest.approx(LONG, abs=0.005)
    assert metrics["coordination"]["mean"] == [6.0, 0.0]
    assert metrics["cell"]["a"][0] == pytest.approx(A, rel=0.003)
    assert metrics["cell"]["c"][0] == pytest.approx(C, rel=0.003)  # of the unit cell, not of the supercell
    assert metrics["cell"]["volume"][0] == pytest.approx(A**2 * C / 2, rel=0.005)


def test_peaks_are_shells():
    metrics, curves = analyse_structure(frames_of(200), PARAMETERS)
    value, error = metrics["peaks"]["Ti-O"]
    assert abs(value - SHORT) < 5 * max(error, 0.005)
    assert curves["rdf_Ti_O"].argmax() == np.abs(curves["rdf_distance"] - value).argmin() or error > 0.002
    assert set(curves) == {"nearest_distance", "nearest_density", "rdf_distance", "rdf_Ti_O", "rdf_O_O"}


def test_more_frames_smaller_errors():
    few, many = (analyse_structure(frames_of(n), PARAMETERS)[0] for n in (40, 640))
    ratio = few["nearest_neighbour"]["mean"][1] / many["nearest_neighbour"]["mean"][1]
    assert 2 < ratio < 8  # four, within the error of an error


def test_blocks_of_the_cell_can_be_given():
    metrics, _ = analyse_structure(frames_of(40), PARAMETERS, cell_block_length=8)
    assert metrics["cell"]["block_length"] == 8


def test_propagated_errors_of_the_cell():
    """Of its lengths, too: the fluctuations of independent frames over the root of their number."""
    frames = frames_of(40)
    cell = analyse_structure(frames, PARAMETERS)[0]["cell"]
    lengths = np.diagonal(frames.cells, axis1=1, axis2=2) / PARAMETERS.replication
    errors = lengths.std(axis=0, ddof=1) / np.sqrt(40)
    assert [cell[f"{name}_propagated"][1] for name in "abc"] == pytest.approx(errors)
    assert cell["a_propagated"][0] == pytest.approx(cell["a"][0])


def test_a_skewed_cell_has_no_propagated_error():
    straight = frames_of(40)
    skewed = straight.cells.copy()
    skewed[:, 1, 0] += 1.0
    metrics, _ = analyse_structure(Frames(straight.symbols, straight.positions, skewed), PARAMETERS)
    assert all(metrics["cell"][f"{name}_propagated"] is None for name in ("a", "b", "c", "volume"))
    assert metrics["cell"]["volume"][1] > 0


def test_a_fixed_cell_is_no_result():
    """Fails where an input comes back as a measured value, divided by the replication of another supercell."""
    frames = frames_of(10)
    fixed = np.broadcast_to(frames.cells[0], frames.cells.shape)
    assert "cell" not in analyse_structure(Frames(frames.symbols, frames.positions, fixed), PARAMETERS)[0]


def test_the_same_ensemble_is_at_the_floor_and_another_is_not():
    first, second = frames_of(200, seed=1), frames_of(200, seed=2)
    same = compare_nearest(first, second, PARAMETERS)
    assert same["wasserstein"][0] < same["floor"][0] + 3 * same["floor"][1]
    other = compare_nearest(first, frames_of(200, strain=0.01, seed=2), PARAMETERS)
    assert other["wasserstein"][0] > other["floor"][0] + 10 * other["floor"][1]
    assert other["wasserstein"][0] == pytest.approx(0.01 * SHORT, rel=0.3)


def test_a_species_that_is_not_there():
    with pytest.raises(ValueError, match="Zr"):
        analyse_structure(frames_of(3), StructureParameters(centre="Zr", neighbour="O"))

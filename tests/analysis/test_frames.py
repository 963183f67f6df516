"""Frames as arrays."""

import numpy as np
import pytest
from frame_examples import CELLS, frames_of, gas, rutile, shaken

from aiida_slhmc.analysis.frames import Frames


@pytest.mark.parametrize(
    ("symbols", "formula_units"),
    [(["Ti"] * 16 + ["O"] * 32, 16), (["Si"] * 8, 8), (["H", "H", "O"], 1), (["C", "O", "C", "O"], 2)],
)
def test_formula_units(symbols, formula_units):
    assert gas(symbols, np.eye(3)[None]).formula_units == formula_units


def test_volumes_of_each_frame():
    """Fails for a left-handed cell with a volume below zero."""
    cells = np.array(list(CELLS.values()))
    expected = [abs(np.dot(np.cross(a, b), c)) for a, b, c in cells]
    assert gas(["H"], cells).volumes() == pytest.approx(expected)


def test_some_of_the_frames():
    frames = shaken(rutile(), 10)
    chosen = frames.select(slice(2, None, 3))
    assert (frames.n_frames, chosen.n_frames) == (10, 3)
    assert np.array_equal(chosen.positions, frames.positions[[2, 5, 8]])
    assert chosen.symbols == frames.symbols
    with pytest.raises(ValueError, match="no frame"):
        frames.select(slice(10, None))


def test_indices_keep_their_order():
    assert gas(["O", "Ti", "O"], np.eye(3)[None]).indices("O").tolist() == [0, 2]


def test_species_that_is_not_there():
    with pytest.raises(ValueError, match=r"no 'Zr' among the species \['O', 'Ti'\]"):
        frames_of(rutile()).indices("Zr")


CUBE = np.eye(3)[None]


@pytest.mark.parametrize(
    ("positions", "cells", "words"),
    [
        (np.zeros((1, 3, 3)), CUBE, r"\(n_frames, 2, 3\)"),
        (np.zeros((2, 3)), CUBE, r"\(n_frames, 2, 3\)"),
        (np.zeros((2, 2, 3)), CUBE, r"cells of 2 frames"),
        (np.zeros((1, 2, 3)), np.eye(3), r"cells of 1 frames"),
        (np.zeros((0, 2, 3)), np.zeros((0, 3, 3)), "no frame"),
        (np.full((1, 2, 3), np.nan), CUBE, "positions are not all finite"),
        (np.zeros((1, 2, 3)), np.full((1, 3, 3), np.inf), "cells are not all finite"),
        (np.zeros((1, 2, 3)), np.ones((1, 3, 3)), "no volume"),
    ],
)
def test_what_does_not_fit(positions, cells, words):
    with pytest.raises(ValueError, match=words):
        Frames(("H", "He"), positions, cells)


def test_no_atom():
    with pytest.raises(ValueError, match="positions of 0 atoms"):
        Frames((), np.zeros((1, 0, 3)), CUBE)

"""Distances against ASE's, on cells of any shape and size."""

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from frame_examples import CELLS, LONG, SHORT, atoms_of, frames_of, gas, one_pair, rutile, shaken

from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.neighbours import (
    coordination_numbers,
    nearest_distances,
    pair_distances,
    shell_distances,
    split_shell,
)

SYMBOLS = ["Ti", "O", "O", "Ti", "O", "N", "O"]
# above every edge, so that each atom is a neighbour of itself
CUTOFF = 13.0


def reference(atoms, centre, neighbour, cutoff):
    """Centre and distance of each pair by ASE, sorted."""
    i, j, distances = neighbor_list("ijd", atoms, cutoff)
    symbols = np.array(atoms.get_chemical_symbols())
    rank = np.cumsum(symbols == centre) - 1
    wanted = (symbols[i] == centre) & (symbols[j] == neighbour)
    return sorted(zip(rank[i[wanted]], distances[wanted], strict=True))


def shaken_gas(shape, n_frames=3):
    """Each frame in another cell."""
    generator = np.random.default_rng(1)
    return gas(SYMBOLS, CELLS[shape] * generator.uniform(0.9, 1.1, (n_frames, 1, 1)), seed=2)


@pytest.mark.parametrize("pair", [("Ti", "O"), ("O", "Ti"), ("O", "O"), ("N", "N")])
@pytest.mark.parametrize("shape", CELLS)
def test_pairs_are_those_of_ase(shape, pair):
    """Fails for images that are missed, the centre itself, other species, and the cell of another frame."""
    frames = shaken_gas(shape)
    for frame, (i, distances) in enumerate(pair_distances(frames, *pair, CUTOFF)):
        expected = reference(atoms_of(frames, frame), *pair, CUTOFF)
        assert len(expected) > 0
        found = np.array(sorted(zip(i, distances, strict=True)))
        assert found == pytest.approx(np.array(expected), abs=1e-9)


@pytest.mark.parametrize("shape", CELLS)
def test_shells_are_those_of_ase(shape):
    """The twelve nearest and how many there are within the cutoff; in the thin cell most are images."""
    frames = shaken_gas(shape)
    shells = shell_distances(frames, "Ti", "O", 12)
    numbers = coordination_numbers(frames, "Ti", "O", CUTOFF)
    for frame in range(frames.n_frames):
        pairs = reference(atoms_of(frames, frame), "Ti", "O", 30.0)
        for centre in range(2):
            expected = [distance for index, distance in pairs if index == centre][:12]
            assert shells[frame, centre] == pytest.approx(expected, abs=1e-9)
        assert numbers[frame] == sum(distance < CUTOFF for _, distance in pairs) / 2


@pytest.mark.parametrize("shape", [name for name in CELLS if name != "thin"])
def test_nearest_is_the_minimum_image(shape):
    frames = shaken_gas(shape)
    nearest = nearest_distances(frames, "O", "N")
    for frame in range(frames.n_frames):
        atoms = atoms_of(frames, frame)
        expected = [atoms.get_distance(i, 5, mic=True) for i in frames.indices("O")]
        assert nearest[frame] == pytest.approx(expected, abs=1e-9)


def test_control_rounded_fractional_coordinates_are_not_the_minimum_image():
    """Negative control of the one before: the usual shortcut fails in a skewed cell."""
    frames = shaken_gas("very skewed", n_frames=20)
    centres, neighbours = frames.indices("O"), frames.indices("N")
    vectors = frames.positions[:, centres] - frames.positions[:, neighbours]
    fractional = vectors @ np.linalg.inv(frames.cells)
    shortcut = np.linalg.norm((fractional - np.round(fractional)) @ frames.cells, axis=-1)
    nearest = nearest_distances(frames, "O", "N")
    assert (nearest <= shortcut + 1e-9).all()
    assert (nearest < shortcut - 0.1).any()


def test_atoms_need_not_be_in_their_cell():
    """A drifting crystal is unwrapped."""
    frames = shaken_gas("triclinic")
    shifts = np.random.default_rng(3).integers(-30, 30, frames.positions.shape) @ frames.cells
    far = Frames(frames.symbols, frames.positions + shifts, frames.cells)
    assert shell_distances(far, "Ti", "O", 6) == pytest.approx(shell_distances(frames, "Ti", "O", 6), abs=1e-9)


@pytest.mark.parametrize("repetitions", [(1, 1, 1), (2, 2, 2)])
def test_shells_of_rutile(repetitions):
    """Four short bonds and two long ones, in the cell of six atoms as in that of 48."""
    frames = frames_of(rutile(*repetitions))
    shells = shell_distances(frames, "Ti", "O", 6)
    assert shells == pytest.approx(np.broadcast_to([SHORT] * 4 + [LONG] * 2, shells.shape))
    assert nearest_distances(frames, "Ti", "O") == pytest.approx(np.full(shells.shape[:2], SHORT))
    assert coordination_numbers(frames, "Ti", "O", 2.4).tolist() == [6]
    assert coordination_numbers(frames, "O", "Ti", 2.4).tolist() == [3]
    split = split_shell(frames, "Ti", "O", 4, 2)
    assert {name: values.tolist() for name, values in split.items()} == {
        "short": [pytest.approx(SHORT)],
        "long": [pytest.approx(LONG)],
        "mean": [pytest.approx((4 * SHORT + 2 * LONG) / 6)],
    }


def test_means_are_of_each_frame():
    """Fails where the frames are mixed, or the split is made over all centres together."""
    frames = shaken(rutile(1, 1, 2), 4)
    split, shells = split_shell(frames, "Ti", "O", 1, 4), shell_distances(frames, "Ti", "O", 5)
    for frame in range(4):
        assert split["short"][frame] == pytest.approx(np.mean([row[0] for row in shells[frame]]))
        assert split["long"][frame] == pytest.approx(np.mean([row[1:] for row in shells[frame]]))
        assert split["mean"][frame] == pytest.approx(np.mean(shells[frame]))


def test_images_of_the_atom_itself():
    """One atom in a cube: 6, 12 and 8 neighbours, all of them the atom again."""
    frames = frames_of(Atoms("Po", cell=3.3 * np.eye(3), pbc=True))
    expected = 3.3 * np.sqrt([1] * 6 + [2] * 12 + [3] * 8)
    assert shell_distances(frames, "Po", "Po", 26)[0, 0] == pytest.approx(expected)


def test_neighbours_far_away_are_found():
    """A drop: the sphere that would do for a uniform density is empty about one centre, and about both in one frame."""
    drop = 10 + 0.3 * np.random.default_rng(4).random((8, 3))
    near, far, corner = [9.0, 9.0, 9.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]
    centres = np.array([[near, far], [far, corner], [far, near]])
    positions = [np.vstack([pair, drop]) for pair in centres]
    frames = Frames(("Ti", "Ti", *["O"] * 8), np.array(positions), np.tile(20 * np.eye(3), (3, 1, 1)))
    images = (drop[:, None] - 20 * np.array(list(np.ndindex(2, 2, 2)))).reshape(-1, 3)
    expected = np.sort(np.linalg.norm(images - centres[:, :, None], axis=-1), axis=-1)[:, :, :3]
    assert shell_distances(frames, "Ti", "O", 3) == pytest.approx(expected)


def test_little_in_a_large_cell():
    """Fails where the search is wider than the cutoff and what it finds is not cut off."""
    frames = one_pair(np.array([1.0, 2.5]), edge=100.0)
    assert coordination_numbers(frames, "H", "He", 2.0).tolist() == [1, 0]
    assert nearest_distances(frames, "H", "He").ravel() == pytest.approx([1.0, 2.5])


def test_a_pair_is_seen_from_either_side():
    frames = one_pair(np.array([1.0, 2.5]))
    assert nearest_distances(frames, "H", "He").ravel() == pytest.approx([1.0, 2.5])
    assert nearest_distances(frames, "He", "H").ravel() == pytest.approx([1.0, 2.5])
    same = Frames(("H", "H"), frames.positions, frames.cells)
    assert nearest_distances(same, "H", "H") == pytest.approx(np.array([[1.0, 1.0], [2.5, 2.5]]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda frames: nearest_distances(frames, "Ti", "Zr"), "no 'Zr'"),
        (lambda frames: nearest_distances(frames, "Zr", "O"), "no 'Zr'"),
        (lambda frames: pair_distances(frames, "Ti", "Zr", 3.0), "no 'Zr'"),
        (lambda frames: coordination_numbers(frames, "Ti", "Zr", 3.0), "no 'Zr'"),
        (lambda frames: coordination_numbers(frames, "Ti", "O", 0.0), "a cutoff is a positive number"),
        (lambda frames: coordination_numbers(frames, "Ti", "O", np.nan), "a cutoff is a positive number"),
        (lambda frames: shell_distances(frames, "Ti", "O", 0), "at least one neighbour"),
        (lambda frames: split_shell(frames, "Ti", "O", 4, 0), "at least one bond"),
    ],
)
def test_what_cannot_be_asked(call, words):
    with pytest.raises(ValueError, match=words):
        call(frames_of(rutile()))

"""The choice of frames: each method on pools whose answer is known, repeats, and options that make no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from aiida_slhmc.analysis.frame_selection import SAME, FrameSelection, choose_frames, fingerprints
from aiida_slhmc.analysis.frames import Frames


def rock_salt(scale: float = 1.0, seed: int | None = None) -> Atoms:
    """Eight atoms; with a *seed*, off their sites by 0.1 Å (standard deviation)."""
    atoms = bulk("NaCl", "rocksalt", a=5.0 * scale, cubic=True)
    if seed is not None:
        atoms.positions += np.random.default_rng(seed).normal(0, 0.1, (8, 3))
    return atoms


def pool_of(frames: list[Atoms]) -> Frames:
    positions, cells = np.array([atoms.positions for atoms in frames]), np.array([atoms.cell.array for atoms in frames])
    return Frames(tuple(frames[0].symbols), positions, cells)


def fingerprint(atoms: Atoms) -> NDArray[np.float64]:
    return fingerprints(pool_of([atoms]))[0]


def chosen(frames: list[Atoms], method: str, n_frames: int, **options: Any) -> list[int]:
    selection = FrameSelection(method=method, n_frames=n_frames, **options)
    return choose_frames(pool_of(frames), selection).tolist()


@pytest.fixture(scope="module")
def pool() -> list[Atoms]:
    """Twenty frames, all different."""
    return [rock_salt(seed=seed) for seed in range(20)]


def test_every(pool) -> None:
    """Fails where frames are not evenly spaced, or the end of the pool is never reached."""
    assert chosen(pool, "every", 4) == [0, 5, 10, 15]
    assert chosen(pool, "every", 4, every=2) == [0, 2, 4, 6]
    assert chosen(pool, "every", 3, skip=5) == [5, 10, 15]
    assert chosen(pool, "every", 15)[-1] == 18, "not the first fifteen"
    assert chosen(pool, "every", 20) == list(range(20))


def test_random(pool) -> None:
    """Fails where the choice cannot be repeated, has a frame twice, or reaches into what is skipped."""
    frames = chosen(pool, "random", 8, seed=1, skip=6)
    assert frames == chosen(pool, "random", 8, seed=1, skip=6)
    assert frames != chosen(pool, "random", 8, seed=2, skip=6)
    assert frames == sorted(set(frames))
    assert len(frames) == 8
    assert min(frames) >= 6
    assert {i for seed in range(40) for i in chosen(pool, "random", 4, seed=seed)} == set(range(20))


def test_farthest_point_takes_one_of_each_kind() -> None:
    """Three groups of ten frames. Fails where two are of one group; a random choice is the control."""
    frames = [rock_salt(scale) for scale in (1.0, 1.03, 1.06) for _ in range(10)]
    for seed, atoms in enumerate(frames):
        atoms.positions += np.random.default_rng(seed).normal(0, 0.005, (8, 3))

    def groups(method: str, seed: int) -> set[int]:
        return {index // 10 for index in chosen(frames, method, 3, seed=seed)}

    assert all(groups("farthest_point", seed) == {0, 1, 2} for seed in range(10))
    assert not all(groups("random", seed) == {0, 1, 2} for seed in range(10))


def test_farthest_point_is_the_greedy_choice(pool) -> None:
    """By brute force over all frames. Fails where the next frame is not the farthest from the nearest chosen one."""
    prints = np.array([fingerprint(atoms) for atoms in pool])
    frames = [int(np.random.default_rng(3).integers(20))]
    while len(frames) < 6:
        gaps = [min(np.linalg.norm(row - prints[i]) for i in frames) for row in prints]
        frames.append(int(np.argmax(gaps)))
    assert chosen(pool, "farthest_point", 6, seed=3) == sorted(frames)
    assert chosen(pool, "farthest_point", 6, seed=3) == chosen(pool, "farthest_point", 6, seed=3)


def test_the_seed_decides_the_first_point_only() -> None:
    """Two far frames among near ones. Fails where the rest depends on the seed, too."""
    frames = [rock_salt(1.0 + 1e-4 * k) for k in range(10)] + [rock_salt(0.9), rock_salt(1.1)]
    for seed in range(5):
        assert chosen(frames, "farthest_point", 3, seed=seed)[-2:] == [10, 11]


def test_fingerprint_is_that_of_the_configuration() -> None:
    """Fails where moving, turning, wrapping, exchanging equal atoms or another choice of the cell makes a new frame."""
    atoms = rock_salt(seed=1)
    expected = fingerprint(atoms)
    moved = atoms.copy()
    moved.positions += [0.3, -0.2, 7.0]
    moved.positions[2] += atoms.cell.array[0]
    turned = atoms.copy()
    turned.rotate(30, (1, 2, 3), rotate_cell=True)
    exchanged = atoms.copy()
    exchanged.positions[[0, 2]] = atoms.positions[[2, 0]]
    sheared = atoms.copy()
    a, b, c = atoms.cell.array
    sheared.set_cell([a, b + a, c])
    for same in (moved, turned, exchanged, sheared, atoms.repeat((2, 1, 1))):
        assert np.linalg.norm(fingerprint(same) - expected) < 0.01 * SAME
    # the controls
    other = atoms.copy()
    other.positions[[0, 1]] = atoms.positions[[1, 0]]
    for different in (other, rock_salt(seed=2)):
        assert np.linalg.norm(fingerprint(different) - expected) > 1000 * SAME


def test_fingerprint_sees_the_cell_of_a_single_atom() -> None:
    """Fails where images are no neighbours: the cell of an NPT run would not count."""
    prints = [fingerprint(Atoms("Cu", cell=a * np.eye(3), pbc=True)) for a in (2.5, 2.6)]
    assert np.linalg.norm(prints[0] - prints[1]) > 0.1


@pytest.mark.parametrize("method", ["every", "random", "farthest_point"])
def test_repeats_are_not_chosen(pool, method: str) -> None:
    """A chain that rejected has its states several times. Fails where a label is paid twice."""
    frames = [pool[k] for k in (0, 0, 0, 1, 1, 2, 3, 3, 0)]
    assert chosen(frames, method, 4, seed=1) == [0, 3, 5, 6]
    with pytest.raises(ValueError, match="n_frames = 5 needs 5 different frames, and the pool has 4"):
        chosen(frames, method, 5)


def test_copies_up_to_rounding_are_not_far(pool) -> None:
    """Fails where farthest-point sampling fills up with one frame, moved by a lattice vector."""
    copy = pool[0].copy()
    copy.positions += copy.cell.array[0] + 0.1
    frames = [pool[0], copy, pool[1]]
    assert 2 in chosen(frames, "farthest_point", 2)
    with pytest.raises(ValueError, match="only 2 frames of the pool differ"):
        chosen(frames, "farthest_point", 3)


def test_a_pool_that_is_too_small(pool) -> None:
    assert FrameSelection(method="every", n_frames=10, every=2).shortage(19) is None
    for options, message in (
        ({"n_frames": 21}, "needs 21 different frames, and the pool has 20"),
        ({"n_frames": 10, "every": 3}, "with every = 3 needs 28 different frames"),
        ({"n_frames": 2, "skip": 19}, "and the pool has 1 after skip = 19"),
        ({"n_frames": 2, "skip": 30}, "and the pool has 0 after skip = 30"),
    ):
        with pytest.raises(ValueError, match=message):
            chosen(pool, "every", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_frames": 2}, "missing option of the selection: method"),
        ({"method": "first", "n_frames": 2}, "method must be one of every, random, farthest_point, not 'first'"),
        ({"method": "every", "n_frames": 0}, "n_frames must be a whole number, at least 1, not 0"),
        ({"method": "every", "n_frames": 2.5}, "n_frames must be a whole number"),
        ({"method": "every", "n_frames": 2, "every": 0}, "every must be a whole number, at least 1"),
        ({"method": "random", "n_frames": 2, "every": 3}, "only for the method 'every', not for 'random'"),
        ({"method": "random", "n_frames": 2, "seed": -1}, "seed must be a whole number, at least 0"),
        ({"method": "random", "n_frames": 2, "skip": True}, "skip must be a whole number"),
        ({"method": "random", "n_frame": 2}, "no option of the selection 'n_frame'; did you mean 'n_frames'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    """Fails where a mistake in the options is only found out after the pool was made."""
    with pytest.raises(ValueError, match=message):
        FrameSelection.from_dict(options)

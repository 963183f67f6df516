"""Force constants of a job: read as they were written, and broken files refused by name."""

import io
import pickle

import numpy as np
import pytest
from worker_examples import rutile_frames

from aiida_slhmc.worker.force_constants import read_force_constants

ATOMS = rutile_frames(1)[0]
ARRAYS = {"numbers": ATOMS.numbers, "positions": ATOMS.positions, "cell": ATOMS.cell.array}


def symmetric(seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(6, 6, 3, 3))
    return values + values.transpose(1, 0, 3, 2)


def test_arrays_come_back(tmp_path):
    """Fails where the column of an atom and axis is another one's."""
    constants = symmetric()
    np.savez(tmp_path / "a.npz", **ARRAYS, force_constants=constants)
    read = read_force_constants(tmp_path / "a.npz", ["O", "Ti"])
    np.testing.assert_array_equal(read.hessian, constants)
    np.testing.assert_array_equal(read.atoms.positions, ATOMS.positions)
    assert all(read.atoms.pbc)
    assert read.n_columns == 18
    np.testing.assert_array_equal(read.column(3 * 4 + 1), constants[:, 4, :, 1])


def test_content_is_the_identity(tmp_path):
    """Fails where two different force constants hold out the same columns by chance of a name."""
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        np.savez(tmp_path / f"{name}.npz", **ARRAYS, force_constants=symmetric(seed))
        hashes.append(read_force_constants(tmp_path / f"{name}.npz", ["O", "Ti"]).content)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((5, 3))}, "a.npz: positions has shape"),
        ({"cell": np.zeros(3)}, "a.npz: cell has shape"),
        ({"force_constants": np.zeros((2, 6, 3, 3))}, "a.npz: force_constants has shape"),
        ({"force_constants": np.full((6, 6, 3, 3), np.nan)}, "a.npz: force_constants not finite"),
        ({"force_constants": np.random.default_rng(0).normal(size=(6, 6, 3, 3))}, "not symmetric"),
        ({"numbers": ATOMS.numbers.astype(float)}, "a.npz: numbers must be"),
        ({"numbers": np.array([22, 22, 8, 8, 8, 999])}, "unknown element"),
        ({"numbers": np.array([22, 22, 8, 8, 8, 14])}, "does not know Si, only O, Ti"),
    ],
)
def test_broken_arrays(changes, message, tmp_path):
    np.savez(tmp_path / "a.npz", **(ARRAYS | {"force_constants": symmetric()} | changes))
    with pytest.raises(ValueError, match=message):
        read_force_constants(tmp_path / "a.npz", ["O", "Ti"])


def test_broken_files(tmp_path):
    """Fails where a foreign file ends in a traceback, or is unpickled."""
    path = tmp_path / "a.npz"
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for content in (b"", b"text", b"PK\x03\x04rest", array.getvalue(), pickle.dumps({"numbers": [1]})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz: not readable as npz"):
            read_force_constants(path, ["O"])
    np.savez(path, **ARRAYS)
    with pytest.raises(ValueError, match=r"a\.npz: no force_constants"):
        read_force_constants(path, ["O", "Ti"])
    np.savez(path, **ARRAYS, force_constants=np.array([{"an": "object"}]))
    with pytest.raises(ValueError, match=r"a\.npz: not readable as npz"):
        read_force_constants(path, ["O", "Ti"])

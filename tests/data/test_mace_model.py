"""MaceModelData: what it says about the model, and that no file it is given gets to run code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
from aiida import orm
from fixtures import FOUNDATION_FILE

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.checkpoint_header import read_metadata


def test_attributes(foundation: MaceModelData) -> None:
    """Fails where a model cannot be found by its elements or told from another by its hash."""
    attributes = foundation.base.attributes.all
    metadata = read_metadata(FOUNDATION_FILE)
    assert sorted(foundation.elements) == ["O", "Ti"]
    assert attributes["sha256"] == metadata["sha256"]
    assert len(attributes["sha256"]) == 64
    assert attributes["cutoff"] == pytest.approx(5.0)
    assert attributes["dtype"] == "float64"
    assert attributes["n_parameters"] > 1000
    assert set(attributes["atomic_energies"]) == {"O", "Ti"}
    assert attributes["mace_version"]
    found = orm.QueryBuilder().append(MaceModelData, filters={"attributes.elements": {"contains": ["Ti"]}})
    assert foundation.uuid in {node.uuid for node in found.all(flat=True)}


def test_export_is_the_file_bit_for_bit(foundation: MaceModelData, tmp_path: Path) -> None:
    """Fails where storing a model changes it."""
    foundation.export(tmp_path / "exported.safetensors")
    assert (tmp_path / "exported.safetensors").read_bytes() == FOUNDATION_FILE.read_bytes()


def test_handle_and_path_give_the_same_node(foundation: MaceModelData) -> None:
    """Fails where a model from an open file would not be recognised as the one from its path."""
    other = MaceModelData(checkpoint=io.BytesIO(FOUNDATION_FILE.read_bytes())).store()
    assert other.base.caching.get_hash() == foundation.base.caching.get_hash()


class _Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_pickle_is_refused_without_being_unpickled(tmp_path: Path) -> None:
    """Fails where a downloaded ``.model`` file, which is a pickle, could run code on the user's machine."""
    model, touched = tmp_path / "evil.model", tmp_path / "touched"
    model.write_bytes(pickle.dumps(_Malicious(touched)))
    with pytest.raises(ValueError, match="not a checkpoint"):
        MaceModelData(checkpoint=model)
    assert not touched.exists()
    pickle.loads(model.read_bytes())
    assert touched.exists(), "the control: unpickled, it does touch the file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too few"),
        (b"PK\x03\x04" + b"\x01" * 60, "not a checkpoint"),
        (FOUNDATION_FILE.read_bytes()[:1000], "truncated"),
        (FOUNDATION_FILE.read_bytes()[:-8], "truncated"),
        (b"\x02\0\0\0\0\0\0\0{}", "not a checkpoint of this package"),
        (b"\x04\0\0\0\0\0\0\0null", "not a JSON object"),
    ],
    ids=["empty", "zip", "header cut", "tensors cut", "foreign", "no object"],
)
def test_foreign_and_truncated_files_are_refused(content: bytes, message: str) -> None:
    """Fails where a broken download would be stored and only fail in a job."""
    with pytest.raises(ValueError, match=message):
        MaceModelData(checkpoint=io.BytesIO(content))

"""MaceModelData: what it says about the model, and that no file it is given gets to run code."""

from __future__ import annotations

import io
import json
import pickle
import struct
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


def with_header(**extra: str) -> io.BytesIO:
    """The foundation's file with these strings added to its header."""
    content = FOUNDATION_FILE.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] |= extra
    text = json.dumps(header).encode()
    return io.BytesIO(struct.pack("<Q", len(text)) + text + content[8 + length :])


ERRORS = {"validation": {"loss": 1.0, "force_rmse_mev_per_angstrom": 12.5}, "probes": {"upstream": {"loss": 3.0}}}


def test_errors_and_the_foundations_references_are_on_the_model(foundation: MaceModelData) -> None:
    """Fails where one cannot ask which checkpoint forgets least without opening the files."""
    references = {"O": -4.25, "Ti": -7.5}
    header = {"errors": json.dumps(ERRORS), "foundation_references": json.dumps(references)}
    model = MaceModelData(checkpoint=with_header(**header)).store()
    assert model.errors == ERRORS
    assert model.foundation_references == references
    assert model.base.attributes.get("sha256") == foundation.base.attributes.get("sha256"), "outside the hash"
    key = "attributes.errors.validation.force_rmse_mev_per_angstrom"
    for bound, expected in ((13.0, {model.uuid}), (12.0, set())):
        query = orm.QueryBuilder().append(MaceModelData, filters={key: {"<": bound}}, project="uuid")
        assert set(query.all(flat=True)) == expected
    assert foundation.errors is None
    assert foundation.foundation_references is None


def test_errors_that_are_not_finite_are_stored_as_unknown() -> None:
    """Fails where a model that diverged cannot be stored, because its errors are no numbers."""
    text = '{"validation": {"loss": NaN, "force_rmse_mev_per_angstrom": 1e999, "energy_rmse_mev_per_atom": 2.0}}'
    model = MaceModelData(checkpoint=with_header(errors=text)).store()
    assert model.errors == {
        "validation": {"loss": None, "force_rmse_mev_per_angstrom": None, "energy_rmse_mev_per_atom": 2.0}
    }


@pytest.mark.parametrize(("text", "message"), [("{", "errors in its header is not JSON"), ("[1]", "not a JSON object")])
def test_damaged_errors_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaceModelData(checkpoint=with_header(errors=text))

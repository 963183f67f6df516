"""Import of ``.model`` files, element filtering and choice of a head."""

import hashlib
import urllib.error

import numpy as np
import pytest
import torch
from worker_examples import make_model, predict, rutile_frames

from aiida_slhmc.worker import import_model
from aiida_slhmc.worker.checkpoint import load_checkpoint
from aiida_slhmc.worker.elements import filter_elements, model_elements, select_head


@pytest.fixture(scope="module")
def atoms():
    return rutile_frames(1, seed=7)[0]


@pytest.fixture
def pickled(tmp_path):
    model = make_model(4, numbers=(1, 6, 8, 14, 22, 30), pair_repulsion=True)
    torch.save(model, tmp_path / "many.model")
    return tmp_path / "many.model"


def unpickled(path):
    return torch.load(path, weights_only=False).eval()


def assert_same(first, second, atol):
    for name in ("energy", "forces", "stress"):
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=atol)


def test_import_from_a_pickle(tmp_path, pickled, atoms):
    metadata = import_model.import_mace_model(pickled, tmp_path / "m.safetensors")
    assert metadata["source"] == "many.model"
    assert metadata["source_sha256"] == hashlib.sha256(pickled.read_bytes()).hexdigest()
    original, loaded = unpickled(pickled), load_checkpoint(tmp_path / "m.safetensors")
    for _ in range(3):  # TorchScript settles in the first calls
        expected, found = predict(original, atoms), predict(loaded, atoms)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_import_of_few_elements(tmp_path, pickled, atoms):
    metadata = import_model.import_mace_model(pickled, tmp_path / "m.safetensors", ["Ti", "O"])
    assert metadata["elements"] == ["O", "Ti"]
    assert metadata["n_parameters"] < sum(weight.numel() for weight in unpickled(pickled).parameters())
    assert_same(predict(unpickled(pickled), atoms), predict(load_checkpoint(tmp_path / "m.safetensors"), atoms), 1e-12)


def test_filtering_leaves_the_model_alone_and_knows_its_elements(pickled, atoms):
    model = unpickled(pickled)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cut = filter_elements(model, ["O", "Ti"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model_elements(cut) == ["O", "Ti"]
    same = filter_elements(cut, ["Ti", "O"])
    assert_same(predict(cut, atoms), predict(same, atoms), 1e-12)
    with pytest.raises(ValueError, match="lacks Fe"):
        filter_elements(model, ["Fe", "O"])
    with pytest.raises(ValueError, match="no element"):
        filter_elements(model, [])


def test_head_of_a_model_with_several(tmp_path, atoms):
    model = make_model(4, numbers=(1, 8, 22), heads=("pbe", "r2scan"))
    torch.save(model, tmp_path / "two.model")
    with pytest.raises(ValueError, match="one head"):
        import_model.import_mace_model(tmp_path / "two.model", tmp_path / "m.safetensors", ["Ti", "O"])
    metadata = import_model.import_mace_model(
        tmp_path / "two.model", tmp_path / "m.safetensors", ["Ti", "O"], head="r2scan"
    )
    assert (metadata["heads"], metadata["source_head"]) == (["r2scan"], "r2scan")
    loaded = load_checkpoint(tmp_path / "m.safetensors")
    assert_same(predict(model, atoms, "r2scan"), predict(loaded, atoms), 1e-12)
    assert abs(predict(model, atoms, "pbe")["energy"] - predict(loaded, atoms)["energy"]) > 1e-3  # negative control
    with pytest.raises(ValueError, match="no head 'hse06'"):
        select_head(model, "hse06")


def test_a_checkpoint_that_differs_is_not_kept(tmp_path, pickled, monkeypatch):
    def spoil(model, symbols):
        cut = filter_elements(model, symbols)
        with torch.no_grad():
            cut.scale_shift.scale *= 1.001
        return cut

    monkeypatch.setattr(import_model, "filter_elements", spoil)
    with pytest.raises(ValueError, match="does not reproduce"):
        import_model.import_mace_model(pickled, tmp_path / "m.safetensors", ["Ti", "O"])
    assert list(tmp_path.glob("*.safetensors*")) == []


def test_command(tmp_path, pickled, capsys):
    assert import_model.main([str(pickled), str(tmp_path / "m.safetensors"), "--elements", "Ti", "O"]) == 0
    assert "O Ti, cutoff 3.5 Å" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "message"), [("smal", "neither a file nor one of MACE's names"), ("text.model", "cannot be loaded")]
)
def test_command_says_why_it_fails(tmp_path, capsys, source, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.model").write_text("hello")
    assert import_model.main([source, "m.safetensors"]) == 2
    assert message in capsys.readouterr().err


def test_no_network(tmp_path, capsys, monkeypatch):
    def fail(name):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(import_model, "download_mace_mp_checkpoint", fail)
    assert import_model.main(["small", str(tmp_path / "m.safetensors")]) == 2
    error = capsys.readouterr().err
    assert "no route to host" in error
    assert "https://" in error
    assert "Traceback" not in error


def test_published_name_is_fetched_by_mace(tmp_path, pickled, monkeypatch):
    asked = []
    monkeypatch.setattr(import_model, "download_mace_mp_checkpoint", lambda name: asked.append(name) or str(pickled))
    metadata = import_model.import_mace_model("small", tmp_path / "m.safetensors", ["Ti", "O"])
    assert asked == ["small"]
    assert metadata["source"] == "small"


def test_help_says_what_is_trusted(capsys):
    with pytest.raises(SystemExit):
        import_model.main(["--help"])
    assert "runs whatever code it contains" in " ".join(capsys.readouterr().out.split())

"""Checkpoints: bitwise the same model, nothing unpickled, damage refused."""

import json
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from worker_examples import make_model, predict, rutile_frames

from aiida_slhmc.worker.checkpoint import load_checkpoint, save_checkpoint
from aiida_slhmc.worker.checkpoint_header import FORMAT, read_metadata

NAMES = ("energy", "forces", "stress")
MODELS = {
    "plain": {},
    "two_heads": {"heads": ("pt_head", "Default")},
    "vectors_and_89_elements": {
        "numbers": range(1, 90),
        "hidden": "8x0e+8x1o",
        "first": "RealAgnosticInteractionBlock",
    },
    "pair_repulsion_and_transform": {"pair_repulsion": True, "distance_transform": "Agnesi"},
    "density": {
        "first": "RealAgnosticDensityInteractionBlock",
        "other": "RealAgnosticDensityResidualInteractionBlock",
    },
}


@pytest.fixture(scope="module")
def atoms():
    return rutile_frames(1, seed=7)[0]


@pytest.fixture
def stored(tmp_path, model):
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path, extra={"source": "a test"})
    return path


def settled(model, atoms, head=None):
    """Energy, forces and stress after the calls in which TorchScript still optimises (their last bits differ)."""
    for _ in range(3):
        result = predict(model, atoms, head)
    return result


def bitwise_equal(first, second):
    return all(np.array_equal(first[name], second[name]) for name in NAMES)


@pytest.mark.parametrize("kind", MODELS)
def test_bitwise_same_energies_forces_and_stress(tmp_path, atoms, kind):
    model = make_model(2, **MODELS[kind])
    model.interactions[1].avg_num_neighbors = 7.7  # MACE's own extraction keeps only that of the first layer
    save_checkpoint(model, tmp_path / "m.safetensors")
    loaded = load_checkpoint(tmp_path / "m.safetensors")
    for head in model.heads:
        expected = settled(model, atoms, head)
        assert bitwise_equal(expected, settled(loaded, atoms, head))
    # negative control: the comparison sees a change in the last bits of one weight
    weight = loaded.products[0].linear.weight
    with torch.no_grad():
        weight *= 1 + 1e-14
    assert not bitwise_equal(expected, settled(loaded, atoms, head))
    assert not loaded.training


def test_tensors_that_the_architecture_does_not_hold_survive(tmp_path, model):
    with torch.no_grad():
        for tensor in model.state_dict().values():  # weights and buffers: scale, shift, references, Bessel, ...
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand_like(tensor))
    save_checkpoint(model, tmp_path / "m.safetensors")
    loaded = load_checkpoint(tmp_path / "m.safetensors").state_dict()
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


def test_single_precision_is_kept_and_converted(tmp_path, model):
    save_checkpoint(model.float(), tmp_path / "m.safetensors")
    assert read_metadata(tmp_path / "m.safetensors")["dtype"] == "float32"
    single = load_checkpoint(tmp_path / "m.safetensors", dtype="float32")
    double = load_checkpoint(tmp_path / "m.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(single.state_dict()[name], tensor)
        assert torch.equal(double.state_dict()[name], tensor.double() if tensor.is_floating_point() else tensor)
    with pytest.raises(ValueError, match="dtype"):
        load_checkpoint(tmp_path / "m.safetensors", dtype="float16")


def test_metadata(stored, model):
    metadata = read_metadata(stored)
    with stored.open("rb") as handle:
        assert read_metadata(handle) == metadata
    assert metadata["format"] == FORMAT
    assert metadata["elements"] == ["O", "Ti"]
    assert metadata["cutoff"] == 3.5
    assert metadata["heads"] == ["Default"]
    assert metadata["source"] == "a test"
    assert metadata["n_parameters"] == sum(weight.numel() for weight in model.parameters())
    energies = model.atomic_energies_fn.atomic_energies.numpy()[0]
    assert metadata["atomic_energies"] == {"O": energies[0], "Ti": energies[1]}


def test_header_is_read_without_torch(stored):
    script = (
        "import sys; from aiida_slhmc.worker.checkpoint_header import read_metadata;"
        f"print(read_metadata({str(stored)!r})['elements'],"
        "sorted({'torch', 'mace', 'numpy', 'safetensors', 'ase'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['O', 'Ti'] []"


def test_hash_is_of_the_model_not_of_the_file(tmp_path, stored, model):
    save_checkpoint(model, tmp_path / "other.safetensors", extra={"note": "another file"})
    save_checkpoint(load_checkpoint(stored), tmp_path / "again.safetensors")
    first = read_metadata(stored)["sha256"]
    assert read_metadata(tmp_path / "other.safetensors")["sha256"] == first
    assert read_metadata(tmp_path / "again.safetensors")["sha256"] == first
    with torch.no_grad():
        next(model.parameters())[0] += 1e-15
    save_checkpoint(model, tmp_path / "changed.safetensors")
    assert read_metadata(tmp_path / "changed.safetensors")["sha256"] != first


def test_extra_metadata_may_not_lie(tmp_path, model):
    with pytest.raises(ValueError, match="sha256"):
        save_checkpoint(model, tmp_path / "m.safetensors", extra={"sha256": "0"})


def test_other_modules_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Linear"):
        save_checkpoint(torch.nn.Linear(1, 1), tmp_path / "m.safetensors")


@pytest.mark.parametrize("length", [0, 5, 8, 300, -1])
def test_truncated_file(tmp_path, stored, length):
    (tmp_path / "cut").write_bytes(stored.read_bytes()[:length])
    for read in (read_metadata, load_checkpoint):
        with pytest.raises(ValueError, match="checkpoint"):
            read(tmp_path / "cut")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a model at all, only text", "does not start with"),
        (struct.pack("<Q", 9) + b"{not json", "not JSON"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (struct.pack("<Q", 8) + b'{"a": 1}', "does not list tensors"),
        (struct.pack("<Q", 2) + b"{}", "not a checkpoint of this package"),
    ],
)
def test_foreign_file(tmp_path, content, message):
    (tmp_path / "foreign").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_metadata(tmp_path / "foreign")


class Malicious:
    """A pickle of it would create a file when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickles_are_never_run(tmp_path):
    torch.save(Malicious(tmp_path / "ran"), tmp_path / "evil.model")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    for name in ("evil.model", "evil.pkl"):
        with pytest.raises(ValueError, match="checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / "evil.pkl").read_bytes()).close()  # negative control: that pickle does run code
    assert (tmp_path / "ran").exists()


def rewritten(path, change):
    """The same file with other metadata or tensors."""
    with path.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        metadata = json.loads(handle.read(length))["__metadata__"]
    tensors = load_file(str(path))
    change(metadata, tensors)
    save_file(tensors, str(path), metadata=metadata)
    return path


def test_changed_weight_is_noticed(stored):
    def change(metadata, tensors):
        tensors["scale_shift.scale"] += 1e-9

    with pytest.raises(ValueError, match="sha256"):
        load_checkpoint(rewritten(stored, change))


def test_architecture_cannot_name_foreign_code(stored):
    def change(metadata, tensors):
        config = json.loads(metadata["config"])
        config["interaction_cls"] = "os.system"
        metadata["config"] = json.dumps(config)
        from aiida_slhmc.worker.checkpoint import tensors_sha256

        metadata["sha256"] = tensors_sha256(tensors, config)  # an attacker would put the hash right

    with pytest.raises(ValueError, match=r"os\.system"):
        load_checkpoint(rewritten(stored, change))


def test_missing_metadata_is_named(stored):
    with pytest.raises(ValueError, match="lacks cutoff"):
        read_metadata(rewritten(stored, lambda metadata, tensors: metadata.pop("cutoff")))


def test_torch_default_precision_is_left_alone(stored):
    torch.set_default_dtype(torch.float32)
    load_checkpoint(stored)
    assert torch.get_default_dtype() == torch.float32

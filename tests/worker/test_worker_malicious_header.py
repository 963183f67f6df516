"""The header of a checkpoint is text from a stranger: none of it is evaluated, whatever part of MACE it reaches.

Irreps strings are split and handed to ``int`` by e3nn, names of classes and functions are looked up in MACE's tables.
"""

import contextlib
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from worker_examples import make_model

from aiida_slhmc.worker.checkpoint import load_checkpoint, save_checkpoint, tensors_sha256
from aiida_slhmc.worker.checkpoint_header import read_metadata

# everything in the architecture, and things that are not
KEYS = (
    "hidden_irreps",
    "MLP_irreps",
    "edge_irreps",
    "gate",
    "interaction_cls",
    "interaction_cls_first",
    "readout_cls",
    "radial_type",
    "distance_transform",
    "radial_MLP",
    "heads",
    "cueq_config",
    "embedding_specs",
    "atomic_energies",
    "atomic_inter_scale",
    "avg_num_neighbors",
    "correlation",
    "r_max",
    "num_interactions",
    "pair_repulsion",
    "use_reduced_cg",
    "no_such_argument",
)
# where any text may stand: a flag that is asked whether it is true, the name of an option, and the name of the head
HARMLESS = {"use_reduced_cg", "distance_transform", "heads"}


@pytest.fixture
def sentinel(tmp_path):
    return tmp_path / "code-was-run"


@pytest.fixture
def expression(sentinel):
    """Python that makes the sentinel when it is evaluated."""
    return f"__import__('os').mkdir({str(sentinel)!r})"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("header") / "model.safetensors"
    save_checkpoint(make_model(1), path)
    return path


def rewritten(checkpoint, path, key, value):
    """The checkpoint with one entry of its architecture replaced, and a sha256 that fits: a forger can do that."""
    tensors, about = load_file(checkpoint), read_metadata(checkpoint)
    config = about["config"] | {key: value}
    strings = {name: entry if isinstance(entry, str) else json.dumps(entry) for name, entry in about.items()}
    strings |= {"config": json.dumps(config, sort_keys=True), "sha256": tensors_sha256(tensors, config)}
    save_file(tensors, path, metadata=strings)
    return path


def test_control_the_expression_runs_when_evaluated(expression, sentinel):
    eval(expression)
    assert sentinel.exists()


def test_control_a_forged_header_is_read(checkpoint, tmp_path):
    """Otherwise the strings below might never get beyond the hash."""
    about = read_metadata(checkpoint)
    path = rewritten(checkpoint, tmp_path / "same.safetensors", "gate", about["config"]["gate"])
    load_checkpoint(path)


@pytest.mark.parametrize("key", KEYS)
def test_no_string_is_evaluated(checkpoint, tmp_path, key, expression, sentinel):
    """The string alone, and within irreps. Fails where it runs, or where it ends in another error than the documented.

    That error becomes an exit code with words; a traceback would not.
    """
    for i, value in enumerate((expression, f"8x{expression}" if key.endswith("irreps") else [expression])):
        path = rewritten(checkpoint, tmp_path / f"{i}.safetensors", key, value)
        expected = contextlib.suppress(ValueError) if key in HARMLESS else pytest.raises(ValueError, match="MACE")
        with expected:
            load_checkpoint(path)
        assert not sentinel.exists()


def test_no_source_of_the_worker_evaluates():
    """No eval, exec or unpickling in what reads files, but for the two programs that say so."""
    folder = Path(__file__).parents[2] / "aiida_slhmc" / "worker"
    risky = ("eval(", "exec(", "pickle.load", "weights_only=False", "allow_pickle=True")
    found = {
        (path.name, word)
        for path in folder.glob("*.py")
        for word in risky
        if word in path.read_text().replace(".eval(", "").replace("_eval(", "")
    }
    assert found == {("import_model.py", "weights_only=False"), ("export_model.py", "weights_only=False")}

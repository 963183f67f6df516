"""One core for torch, and small examples; nothing here needs AiiDA."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import pytest
import torch
from worker_examples import FORMULA_SEED, label, make_model, rutile_frames, write_block

from aiida_slhmc.worker.checkpoint import default_dtype, save_checkpoint

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _float64():
    """MACE's modules follow torch's default precision."""
    with default_dtype(torch.float64):
        yield


@pytest.fixture(scope="session")
def teacher():
    """The model whose energies, forces and stress are the labels."""
    return make_model(seed=FORMULA_SEED)


@pytest.fixture(scope="session")
def labelled(teacher):
    """Twelve labelled distortions of the 6-atom rutile cell."""
    return [label(atoms, teacher) for atoms in rutile_frames(12)]


@pytest.fixture
def model():
    """The model to fine-tune: same architecture, other weights."""
    return make_model(seed=1)


@pytest.fixture
def job(tmp_path, labelled, model):
    """A job folder with two blocks and the model; the test writes parameters.json."""
    (tmp_path / "datasets").mkdir()
    write_block(tmp_path / "datasets" / "block_000.extxyz", labelled[:7])
    write_block(tmp_path / "datasets" / "block_001.extxyz", labelled[7:])
    save_checkpoint(model, tmp_path / "model.safetensors")
    return tmp_path

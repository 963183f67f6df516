"""The foundation model of the examples, loaded once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from pathlib import Path

import pytest
import torch

from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint

FOUNDATION = Path(__file__).parents[2] / "examples" / "foundation" / "foundation.safetensors"


@pytest.fixture(scope="session")
def foundation():
    """The model in the precision that sampling asks for."""
    torch.set_num_threads(1)
    with default_dtype(torch.float64):
        return load_checkpoint(FOUNDATION)

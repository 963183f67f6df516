"""The table of the validation, and the foundation model of the examples, loaded once."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

from pathlib import Path

import pytest
import torch
from table import Validation

from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint

FOUNDATION = Path(__file__).parents[2] / "examples" / "foundation" / "foundation.safetensors"
VALIDATION = Validation()


def pytest_addoption(parser):
    parser.addoption("--validation-table", metavar="PATH", help="show the table and write it to PATH as Markdown")


def pytest_terminal_summary(config):
    # the option is unknown where pytest was started above this folder
    path = config.getoption("--validation-table", default=None)
    if path and VALIDATION.rows:
        VALIDATION.write_markdown(path)
        VALIDATION.show()


@pytest.fixture(scope="session")
def validation():
    """Takes the numbers of claims and of negative controls, and asserts them."""
    return VALIDATION


@pytest.fixture(scope="session")
def foundation():
    """The model in the precision that sampling asks for."""
    torch.set_num_threads(1)
    with default_dtype(torch.float64):
        return load_checkpoint(FOUNDATION)

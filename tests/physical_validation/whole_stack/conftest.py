"""The stack of this folder's runs, and a model that hardly interacts."""

import copy

import pytest
import torch
from fixtures import FOUNDATION_FILE
from stack_runs import Stack

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.checkpoint import save_checkpoint

WEAKER = 0.003


@pytest.fixture(scope="session")
def stack(computer, python_code, vasp_code, family, tmp_path_factory):
    # with dozens of jobs at a time, asking for their states without a pause takes a core
    computer.set_minimum_job_poll_interval(1.0)
    return Stack(python_code, vasp_code, family, tmp_path_factory.mktemp("potentials"))


@pytest.fixture(scope="session")
def foundation_node(aiida_profile):
    """The foundation as AiiDA's node; ``foundation`` is the model itself here."""
    return MaceModelData(checkpoint=FOUNDATION_FILE).store()


@pytest.fixture(scope="session")
def weak_model(foundation):
    """The foundation with its interaction energy times ``WEAKER``: tens of meV in a gas, where k_BT is 26 meV."""
    model = copy.deepcopy(foundation)
    with torch.no_grad():
        model.scale_shift.scale *= WEAKER
        model.scale_shift.shift *= WEAKER
    return model


@pytest.fixture(scope="session")
def weak_node(weak_model, aiida_profile, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "weak.safetensors"
    save_checkpoint(weak_model, path)
    return MaceModelData(checkpoint=path).store()

"""Fixtures of the calculations' tests: inputs, one real run of each job, and parsing of files made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.plugins import ParserFactory
from npt_examples import NPT_KERNEL, labelled_state, reference_atoms, strained_atoms

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.data.dataset import DatasetData

KERNEL = {"temperature": 300.0, "seed": 5, "device": "cpu"}


@pytest.fixture(scope="session")
def proposal_inputs(python_code, foundation, walkers) -> dict[str, Any]:
    return {
        "code": python_code,
        "model": foundation,
        "states": walkers,
        "parameters": orm.Dict(KERNEL).store(),
        "trajectory": orm.Dict({"n_steps": 4, "timestep": 1.0}).store(),
        "epoch": orm.Int(2).store(),
        "cycle": orm.Int(3).store(),
    }


@pytest.fixture(scope="session")
def npt_inputs(proposal_inputs) -> dict[str, Any]:
    """Two walkers on a triclinic reference cell whose six strains all move."""
    return proposal_inputs | {
        "states": {f"walker_{k}": labelled_state(strained_atoms(seed=k + 1)) for k in range(2)},
        "parameters": orm.Dict(NPT_KERNEL).store(),
        "reference_structure": orm.StructureData(ase=reference_atoms()).store(),
    }


@pytest.fixture(scope="session")
def block(labelled) -> DatasetData:
    return DatasetData(configurations=[labelled(seed) for seed in range(30, 34)]).store()


@pytest.fixture(scope="session")
def fine_tune_inputs(python_code, foundation, block) -> dict[str, Any]:
    parameters = {"max_epochs": 2, "batch_size": 2, "device": "cpu"}
    return {
        "code": python_code,
        "model": foundation,
        "datasets": {"block_0000": block},
        "parameters": orm.Dict(parameters).store(),
    }


@pytest.fixture(scope="session")
def proposal(proposal_inputs) -> orm.CalcJobNode:
    """A real proposal, finished."""
    return run_get_node(MaceProposalCalculation, **proposal_inputs)[1]


@pytest.fixture(scope="session")
def npt_proposal(npt_inputs) -> orm.CalcJobNode:
    """A real proposal in NPT, finished."""
    return run_get_node(MaceProposalCalculation, **npt_inputs)[1]


@pytest.fixture(scope="session")
def fine_tune(fine_tune_inputs) -> orm.CalcJobNode:
    """A real fine-tuning, finished."""
    return run_get_node(MaceFineTuneCalculation, **fine_tune_inputs)[1]


@pytest.fixture
def parse(computer, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], orm.ProcessNode]]:
    """Function: parse files as if a job of this name had left them; returns outputs and the node of the parsing."""

    def run(
        name: str,
        inputs: Mapping[str, orm.Data],
        retrieved: Mapping[str, str],
        temporary: Mapping[str, bytes],
        exit_status: int | None = None,
    ) -> tuple[dict[str, Any], orm.ProcessNode]:
        node = orm.CalcJobNode(computer=computer, process_type=f"aiida.calculations:{name}")
        node.set_option("resources", {"num_machines": 1, "tot_num_mpiprocs": 1})
        for label, data in inputs.items():
            node.base.links.add_incoming(data, link_type=LinkType.INPUT_CALC, link_label=label)
        node.store()
        if exit_status is not None:
            node.set_exit_status(exit_status)
            node.set_exit_message("the scheduler's verdict")
        folder = orm.FolderData()
        for path, text in retrieved.items():
            folder.base.repository.put_object_from_bytes(text.encode(), path)
        folder.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label="retrieved")
        folder.store()
        for path, content in temporary.items():
            (tmp_path / path).write_bytes(content)
        return ParserFactory(name).parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )

    return run

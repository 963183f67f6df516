"""Nodes of strangers that hold pickles: they come with an AiiDA archive, are used, and no code in them runs.

Each sentinel is a folder that unpickling makes; the controls unpickle the same bytes and find it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from malicious import CARELESS, from_an_archive, npy, npz, plain_pickle, torch_file

from aiida_slhmc.calculations.ase_label import AseLabelCalculation
from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.force_constants import ForceConstantsData
from aiida_slhmc.data.mace_model import MaceModelData

ELEMENTS = ["O", "Ti"]
LABELS = {"elements": ELEMENTS, "functional": "pbe", "engine": "vasp-standin", "n_frames": 4}


@pytest.fixture
def sentinel(tmp_path) -> Path:
    return tmp_path / "code-was-run"


@pytest.fixture
def imported(tmp_path, sentinel):
    """Function: an imported node of this class whose file has this content; *attributes* are what makes it pass."""

    def make(node_class: type[orm.Data], name: str, content: bytes, **attributes: Any) -> Any:
        node = from_an_archive(node_class, {name: content}, attributes, tmp_path / "archive.aiida")
        assert type(node) is node_class
        assert not sentinel.exists(), "not when it is imported either"
        return node

    return make


@pytest.fixture(scope="module")
def proposal_inputs(python_code, foundation, walkers) -> dict[str, Any]:
    return {
        "code": python_code,
        "model": foundation,
        "states": walkers,
        "parameters": orm.Dict({"temperature": 300.0, "seed": 5, "device": "cpu"}),
        "trajectory": orm.Dict({"n_steps": 1, "timestep": 1.0}),
        "epoch": orm.Int(0),
        "cycle": orm.Int(0),
    }


@pytest.fixture(scope="module")
def fine_tune_inputs(python_code, foundation, labelled) -> dict[str, Any]:
    block = DatasetData(configurations=[labelled(seed) for seed in range(30, 34)]).store()
    parameters = {"max_epochs": 1, "batch_size": 4, "device": "cpu"}
    return {"code": python_code, "model": foundation, "datasets": {"block": block}, "parameters": orm.Dict(parameters)}


@pytest.mark.parametrize("make", CARELESS, ids=lambda make: make.__name__)
def test_control_unpickling_runs_the_code(make, sentinel) -> None:
    """Without this, the tests below could pass because the payload does nothing."""
    names = ("positions",) if make is npz else ()
    CARELESS[make](make(sentinel, *names))
    assert sentinel.exists()


def check_refused(node: orm.CalcJobNode, sentinel: Path, *words: str) -> None:
    """The job has run, said what is wrong in a sentence, and not run the code."""
    assert node.exit_status == 320, f"{node.exit_status}: {node.exit_message}"
    for word in words:
        assert word in node.exit_message
    assert not sentinel.exists()


@pytest.mark.parametrize("port", ["model", "committee"])
def test_checkpoint_in_a_proposal(imported, proposal_inputs, sentinel, port) -> None:
    """A pickle by the name of a checkpoint. Fails where a worker tries to unpickle when safetensors fails."""
    model = imported(MaceModelData, MaceModelData.FILENAME, plain_pickle(sentinel), elements=ELEMENTS, cutoff=5.0)
    change = {"model": model} if port == "model" else {"committee": {"member_1": model}}
    _, node = run_get_node(MaceProposalCalculation, **proposal_inputs | change)
    check_refused(node, sentinel, "not a checkpoint", "model" if port == "model" else "member_1")


def test_checkpoint_in_a_fine_tuning(imported, fine_tune_inputs, sentinel) -> None:
    model = imported(MaceModelData, MaceModelData.FILENAME, torch_file(sentinel), elements=ELEMENTS, cutoff=5.0)
    _, node = run_get_node(MaceFineTuneCalculation, **fine_tune_inputs | {"model": model})
    check_refused(node, sentinel, "not a checkpoint")


def test_data_in_a_fine_tuning(imported, fine_tune_inputs, sentinel) -> None:
    """Labels, force constants and the state of a training, each in its turn."""
    block = imported(DatasetData, DatasetData.FILENAME, plain_pickle(sentinel), **LABELS)
    names = ("numbers", "positions", "cell", "force_constants")
    constants = imported(ForceConstantsData, ForceConstantsData.FILENAME, npz(sentinel, *names), **LABELS)
    file = "training_state.safetensors"
    state = imported(orm.SinglefileData, file, plain_pickle(sentinel), filename=file)
    for change, words in (
        ({"datasets": {"block": block}}, ["not readable as extended XYZ"]),
        ({"force_constants": {"crystal": constants}}, ["not readable as npz", "allow_pickle=False"]),
        ({"training_state": state}, ["is not the state of a training"]),
    ):
        _, node = run_get_node(MaceFineTuneCalculation, **fine_tune_inputs | change)
        check_refused(node, sentinel, *words)


def test_configuration_and_arrays(imported, proposal_inputs, sentinel) -> None:
    """These are read where the job is submitted, by your own Python: nothing is unpickled there either."""
    attributes = {"elements": ELEMENTS, "species": "Ti2O4", "labelled": True}
    names = ("numbers", "positions", "cell")
    state = imported(ConfigurationData, ConfigurationData.FILENAME, npz(sentinel, *names), **attributes)
    arrays = imported(orm.ArrayData, "energies.npy", npy(sentinel), **{"array|energies": [2, 2]})
    for read in (
        state.arrays,
        lambda: arrays.get_array("energies"),
        lambda: _npt(proposal_inputs, state),
    ):
        with pytest.raises(ValueError, match="allow_pickle=False"):
            read()
        assert not sentinel.exists()


def test_phonopy_yaml(tmp_path, sentinel) -> None:
    """The loader of phonopy itself calls what a file names (the control). Here such files are refused."""
    pytest.importorskip("phonopy")
    from phonopy.interface.phonopy_yaml import PhonopyYaml

    path = tmp_path / "phonopy_params.yaml"
    path.write_text(f"phonopy: !!python/object/apply:os.mkdir [{str(sentinel)!r}]\n")
    with pytest.raises(ValueError, match="not plain YAML"):
        ForceConstantsData.from_phonopy(tmp_path)
    assert not sentinel.exists()
    with contextlib.suppress(Exception):  # the file is no calculation; its code has run by then
        PhonopyYaml().read(path)
    assert sentinel.exists()


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "in/side.py", ".."])
def test_file_beside_the_jobs_folder(python_code, structure, name) -> None:
    """Where a calculator's file goes is in an attribute, which a stranger's database sets as it likes."""
    node = orm.SinglefileData.from_string("", "plain.py")
    node.base.attributes.set("filename", name)
    files = {"code": python_code, "structure": structure, "files": {"one": node}}
    with pytest.raises(ValueError, match="plain names"):
        run_get_node(AseLabelCalculation, calculator=orm.Dict({"calculator": "ase.calculators.emt.EMT"}), **files)


def _npt(inputs: dict[str, Any], state: ConfigurationData) -> Any:
    """In NPT the walkers' cells are looked at when the job is submitted."""
    kernel = {"ensemble": "npt", "pressure": 0.0, "cell_degrees_of_freedom": "full", "cell_time_constant": 80.0}
    parameters = orm.Dict(inputs["parameters"].get_dict() | kernel)
    change = {"parameters": parameters, "states": {"walker_0": state}}
    change["reference_structure"] = orm.StructureData(cell=np.eye(3).tolist())
    return run_get_node(MaceProposalCalculation, **inputs | change)

"""MaceFineTuneCalculation: what it refuses at submission, a real run, and what travels with the job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run, run_get_node
from aiida.manage.caching import enable_caching
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.data.dataset import DatasetData


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
        ({"max_epochs": 0}, "max_epochs must be a whole number of at least 1"),
        ({"learning_rate": -1}, "learning_rate must be greater than 0"),
        ({"loss": "huberr"}, "did you mean 'huber'"),
        ({"references": {"method": "explicit"}}, "references.table goes with"),
    ],
)
def test_wrong_options_are_refused(fine_tune_inputs, options: dict[str, Any], message: str) -> None:
    """Fails where a mistake is only found out in the queue."""
    with pytest.raises(ValueError, match=message):
        run(MaceFineTuneCalculation, **fine_tune_inputs | {"parameters": orm.Dict(options)})


def test_wrong_datasets_are_refused(fine_tune_inputs, block, labelled) -> None:
    """Fails where two energy surfaces could be trained on together, or elements that the model does not have."""
    other = DatasetData(configurations=[labelled(30, "hse06")])
    carbon = rutile_atoms()
    carbon.symbols[0] = "C"
    foreign = DatasetData(configurations=[configuration(carbon, label_of(rutile_atoms()))])
    for datasets, message in (
        ({}, "at least one block"),
        ({"a": block, "b": other}, "different functionals or engines"),
        ({"a": foreign}, "the model does not know C; it knows"),
    ):
        with pytest.raises(ValueError, match=message):
            run(MaceFineTuneCalculation, **fine_tune_inputs | {"datasets": datasets})


def test_outputs(fine_tune, foundation, block) -> None:
    """Fails where the model is not a better one of the same architecture, or the record of the training is missing."""
    assert fine_tune.is_finished_ok, fine_tune.exit_message
    model, metrics = fine_tune.outputs.model, fine_tune.outputs.metrics.get_dict()
    for key in ("n_parameters", "cutoff", "elements"):
        assert model.base.attributes.get(key) == foundation.base.attributes.get(key)
    assert model.base.attributes.get("sha256") != foundation.base.attributes.get("sha256")
    assert model.base.attributes.get("atomic_energies") == pytest.approx(metrics["references"]["table"], rel=1e-12)
    assert metrics["n_training"] + metrics["n_validation"] == 4
    assert set(metrics["validation"]) < set(block.get_uuids())
    before, after = (metrics[when]["validation"]["loss"] for when in ("initial", "final"))
    assert after < before
    curve = fine_tune.outputs.curve
    assert len({curve.get_array(name).shape for name in curve.get_arraynames()}) == 1
    assert curve.get_array("epoch").shape == (metrics["n_epochs"],)


def test_the_code_that_ran_is_on_record(fine_tune) -> None:
    """Fails where the job depends on this package being installed there, or carries what it does not need."""
    names = {str(path) for path in fine_tune.base.repository.glob()}
    assert {"aiida_slhmc/worker/fine_tune.py", "aiida_slhmc/worker/training.py"} <= names
    foreign = ("aiida_slhmc/data", "aiida_slhmc/workflows", "aiida_slhmc/calculations", "aiida_slhmc/targets")
    assert not [name for name in names if name.startswith(foreign)]


def test_parameters_are_written_with_their_defaults(fine_tune) -> None:
    """Fails where a default that changes in a later version would change a record of this one."""
    written = json.loads(fine_tune.base.repository.get_object_content("parameters.json"))
    assert written["max_epochs"] == 2
    assert written["patience"] == 10
    assert written["references"]["method"] == "shift"


def test_blocks_are_trained_on_in_the_order_of_their_names(fine_tune_inputs, labelled, tmp_path) -> None:
    """Fails where the split into training and validation, which goes by the blocks' order, could change."""
    blocks = {f"block_{i:04d}": DatasetData(configurations=[labelled(50 + i)]).store() for i in (2, 0, 1)}
    builder = MaceFineTuneCalculation.get_builder()
    builder._update(fine_tune_inputs | {"datasets": blocks, "metadata": {"dry_run": True, "store_provenance": False}})
    process = MaceFineTuneCalculation(dict(builder))
    copied = process.write_files(_Folder())
    assert [(uuid, name) for uuid, _, name in copied] == [
        (blocks[f"block_{i:04d}"].uuid, f"datasets/{i:04d}.extxyz") for i in range(3)
    ]


class _Folder:
    def get_subfolder(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is written here."""


def test_equal_inputs_are_taken_from_the_cache(fine_tune, fine_tune_inputs) -> None:
    """Fails where something in the inputs differs from run to run."""
    with enable_caching(identifier="aiida.calculations:slhmc.mace_fine_tune"):
        _, node = run_get_node(MaceFineTuneCalculation, **fine_tune_inputs)
    assert node.base.caching.get_cache_source() == fine_tune.uuid
    hashes = {calc.outputs.model.base.attributes.get("sha256") for calc in (node, fine_tune)}
    assert len(hashes) == 1

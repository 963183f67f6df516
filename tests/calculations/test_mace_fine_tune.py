"""MaceFineTuneCalculation: what it refuses at submission, a real run, and what travels with the job."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run, run_get_node
from aiida.manage.caching import enable_caching
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.force_constants import ForceConstantsData


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


def of(functional: str) -> DatasetData:
    """A block of one label of this functional."""
    atoms = rutile_atoms(seed=70)
    return DatasetData(configurations=[configuration(atoms, label_of(atoms) | {"functional": functional})])


def with_carbon() -> DatasetData:
    atoms = rutile_atoms(seed=71)
    atoms.symbols[0] = "C"
    return DatasetData(configurations=[configuration(atoms, label_of(rutile_atoms()) | {"functional": "lda"})])


def springs(functional: str | None = None, first: str = "Ti") -> ForceConstantsData:
    """Force constants of atoms that each sit on a spring of their own."""
    atoms = rutile_atoms()
    atoms.symbols[0] = first
    matrix = np.einsum("ij,ab->ijab", np.eye(len(atoms)), 5.0 * np.eye(3))
    return ForceConstantsData(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell.array,
        force_constants=matrix,
        functional=functional,
    )


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("replay", lambda: {"a": of("pbe")}, "of pbe, the functional that is learnt: they belong into `datasets`"),
        ("replay", lambda: {"a": of("lda"), "b": of("pbesol")}, "different functionals or engines"),
        ("replay", lambda: {"a": with_carbon()}, "replay: the model does not know C; it knows"),
        ("probes", lambda: {"a": with_carbon()}, "probes: the model does not know C; it knows"),
        ("force_constants", lambda: {"a": springs(first="C")}, "force_constants: the model does not know C; it knows"),
        (
            "force_constants",
            lambda: {"a": springs("hse06")},
            "force_constants.a is of hse06, but the labels are of pbe",
        ),
        ("parameters", lambda: orm.Dict({"hessian": {"weight": 5.0}}), "sets hessian, but there is nothing in `force_"),
        ("parameters", lambda: orm.Dict({"replay": {"every": 2}}), "sets replay, but there is nothing in `replay`"),
    ],
)
def test_wrong_extra_sets_are_refused(fine_tune_inputs, name: str, make: Callable[[], Any], message: str) -> None:
    """Fails where upstream labels could pass for labels of the target, or options for data that are not there."""
    with pytest.raises(ValueError, match=message):
        run(MaceFineTuneCalculation, **fine_tune_inputs | {name: make()})


def test_names_of_probes(fine_tune_inputs) -> None:
    """Fails where a name could lead out of the job's folder."""
    with pytest.raises(ValueError, match=r"probes.näher: .*letters, digits and underscores only"):
        run(MaceFineTuneCalculation, **fine_tune_inputs | {"probes": {"näher": of("lda")}})


def written(inputs: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What a calculation with these inputs copies into its folder."""
    builder = MaceFineTuneCalculation.get_builder()
    builder._update(inputs | {"metadata": {"dry_run": True, "store_provenance": False}})
    return MaceFineTuneCalculation(dict(builder)).write_files(_Folder())


def test_extra_sets_travel_with_the_job(fine_tune_inputs) -> None:
    """Fails where the worker would not find what it is to train on, or a probe lost its name."""
    extra = {
        "replay": {"first": of("lda"), "second": of("lda")},
        "probes": {"upstream": of("lda"), "target": of("pbe")},
        "force_constants": {"rutile": springs("pbe")},
        "training_state": orm.SinglefileData(io.BytesIO(b"state"), filename="anything").store(),
        "parameters": orm.Dict({"hessian": {"weight": 5.0}, "replay": {"every": 2}}),
    }
    for name in ("replay", "probes", "force_constants"):
        for node in extra[name].values():
            node.store()
    copied = written(fine_tune_inputs | extra)
    assert copied[1:] == [
        (extra["replay"]["first"].uuid, "frames.extxyz", "replay/0000.extxyz"),
        (extra["replay"]["second"].uuid, "frames.extxyz", "replay/0001.extxyz"),
        (extra["force_constants"]["rutile"].uuid, "force_constants.npz", "force_constants/0000.npz"),
        (extra["probes"]["target"].uuid, "frames.extxyz", "probes/target.extxyz"),
        (extra["probes"]["upstream"].uuid, "frames.extxyz", "probes/upstream.extxyz"),
        (extra["training_state"].uuid, "anything", "training_state.safetensors"),
    ]
    assert [path for _, _, path in written(fine_tune_inputs)] == ["datasets/0000.extxyz"]


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


def test_blocks_are_trained_on_in_the_order_of_their_names(fine_tune_inputs, labelled) -> None:
    """Fails where the split into training and validation, which goes by the blocks' order, could change."""
    blocks = {f"block_{i:04d}": DatasetData(configurations=[labelled(50 + i)]).store() for i in (2, 0, 1)}
    copied = written(fine_tune_inputs | {"datasets": blocks})
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

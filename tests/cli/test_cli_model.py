"""`aiida-slhmc model`: in, listed, out again, and compared, with the real worker where it has a part."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from click.testing import CliRunner, Result
from fixtures import FOUNDATION_FILE
from run_graph import end, process

from aiida_slhmc.cli import model_files
from aiida_slhmc.cli.model import command
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.sharing.data_set import store_data_set

OTHER_FILE = FOUNDATION_FILE.with_name("foundation_lda.safetensors")


def called(*arguments: Any, answer: str | None = None) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=answer, env={"COLUMNS": "200"})


def refused(result: Result, message: str, code: int = 1) -> None:
    """Ended with this exit status and one message, without a traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert message in result.output


def words(result: Result) -> str:
    """The output in one line, whatever the table's width."""
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def parent(aiida_profile: Any) -> MaceModelData:
    return MaceModelData(checkpoint=FOUNDATION_FILE, label="parent of two").store()


@pytest.fixture(scope="module")
def block(labelled: Callable[..., ConfigurationData]) -> DatasetData:
    return DatasetData(configurations=[labelled(k) for k in range(3)]).store()


@pytest.fixture(scope="module")
def child(parent: MaceModelData, block: DatasetData) -> MaceModelData:
    """A model that a fine-tuning of *parent* on *block* has made."""
    inputs = {"model": parent, "datasets__block_0000": block}
    training = process(orm.CalcJobNode, "MaceFineTuneCalculation", inputs)
    model = MaceModelData(checkpoint=OTHER_FILE, label="[child]")
    model.base.attributes.set("errors", {"validation": {"force_rmse_mev_per_angstrom": 43.21}, "probes": {}})
    end(training, {"model": model})
    return model


@pytest.mark.usefixtures("aiida_profile")
def test_import_of_a_checkpoint_once(tmp_path: Path) -> None:
    """Fails where a checkpoint is not stored as it is, or stored twice."""
    before = orm.QueryBuilder().append(MaceModelData).count()
    file = tmp_path / "lda.safetensors"
    file.write_bytes(OTHER_FILE.read_bytes())
    result = called("import", file)
    assert result.exit_code == 0, result.output
    again = called("import", file)
    assert again.exit_code == 0
    assert "there already" in result.output + again.output
    assert orm.QueryBuilder().append(MaceModelData).count() <= before + 1


def test_import_of_what_is_there_under_another_label(aiida_profile: Any, tmp_path: Path) -> None:
    """Fails where the label that was asked for leads nowhere although the exit status is 0."""
    file = tmp_path / "model.safetensors"
    content = FOUNDATION_FILE.read_bytes()
    sha256 = MaceModelData(checkpoint=FOUNDATION_FILE).base.attributes.get("sha256").encode()
    # another model: the header is not checked against the tensors until a worker loads them
    file.write_bytes(content.replace(sha256, sha256[1:] + sha256[:1]))
    first = MaceModelData(checkpoint=file).store()
    assert "is 'mine' now" in words(called("import", file, "--label", "mine"))
    assert orm.load_node(first.pk).label == "mine"
    assert "there already" in words(called("import", file, "--label", "mine"))
    assert f"{first.pk} (mine)" in words(called("import", file))
    refused(called("import", file, "--label", "yours"), f"as {first.pk} ('mine'): use that")
    assert orm.load_node(first.pk).label == "mine"


def test_a_label_that_is_taken(parent: MaceModelData, tmp_path: Path) -> None:
    """Fails where two models get one label, which could then not be used."""
    changed = tmp_path / "changed.safetensors"
    content = FOUNDATION_FILE.read_bytes()
    sha256 = parent.base.attributes.get("sha256").encode()
    # the header is not checked against the tensors until a worker loads them
    changed.write_bytes(content.replace(sha256, sha256[::-1]))
    refused(called("import", changed, "--label", "parent of two"), f"model {parent.pk} is labelled")


@pytest.mark.usefixtures("aiida_profile")
def test_a_pickle_is_not_loaded_without_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a pickle is loaded before, or although not, its origin is trusted."""
    loaded = []
    monkeypatch.setattr(model_files, "run_worker", lambda *arguments: loaded.append(arguments))
    file = tmp_path / "foreign.model"
    file.write_bytes(b"")
    result = called("import", file, answer="n\n")
    assert result.exit_code == 1
    assert "runs whatever code is in it" in result.output
    assert loaded == []


@pytest.mark.usefixtures("aiida_profile")
def test_import_errors(tmp_path: Path) -> None:
    """Fails where a wrong file or Python gives a traceback."""
    file = tmp_path / "text.safetensors"
    file.write_text("no tensors")
    refused(called("import", file), "not a checkpoint")
    refused(called("import", tmp_path / "none.safetensors"), "No such file")
    refused(called("import", file, "--elements", "Ti"), "--elements and --head", code=2)
    refused(called("import", "small", "--trust", "--python", "/no/python"), "/no/python cannot be run")


def test_export_and_import_with_the_real_worker(parent: MaceModelData, tmp_path: Path) -> None:
    """Fails where the exported file is not the model, or its import for fewer elements is not its restriction."""
    file = tmp_path / "own.model"
    result = called("export", parent.pk, file)
    assert result.exit_code == 0, result.output
    assert "pickle" in result.output
    refused(called("export", parent.pk, file), "--overwrite")
    result = called("import", file, "--label", "titanium alone", "--elements", "Ti", "--trust")
    assert result.exit_code == 0, result.output
    made = orm.QueryBuilder().append(MaceModelData, filters={"label": "titanium alone"}).first(flat=True)
    assert made.elements == ["Ti"]
    assert made.base.attributes.get("source") == "own.model"


def test_export_of_the_checkpoint(parent: MaceModelData, tmp_path: Path) -> None:
    """Fails where the copy is another file."""
    file = tmp_path / "copy.safetensors"
    assert called("export", "parent of two", file, "--format", "checkpoint").exit_code == 0
    assert file.read_bytes() == FOUNDATION_FILE.read_bytes()


def test_list(parent: MaceModelData, child: MaceModelData) -> None:
    """Fails where a model is missing, or its parent, labels, functional or errors are others."""
    text = words(called("list"))
    assert f"{child.pk} [child]" in text
    assert f"{parent.pk} parent of two 3 pbe 43.2" in text
    assert len(called("list", "--last", 1).output.splitlines()) < len(called("list", "--last", 2).output.splitlines())


@pytest.mark.usefixtures("aiida_profile")
def test_show(parent: MaceModelData, child: MaceModelData) -> None:
    """Fails where the lineage does not lead to the foundation, or a property is missing."""
    result = called("show", child.pk)
    text = words(result)
    assert child.uuid in text
    assert "Lineage" in text
    assert str(parent.pk) in text.split("Lineage")[1]
    assert "43.2" in text
    assert "it was imported" in words(called("show", "parent of two"))


def test_labels_that_are_not_unique(aiida_profile: Any) -> None:
    """Fails where one of several models of a label is taken silently."""
    pks = [MaceModelData(checkpoint=FOUNDATION_FILE, label="twin").store().pk for _ in range(2)]
    result = called("show", "twin")
    refused(result, "2 models are labelled 'twin'")
    assert all(str(pk) in result.output for pk in pks)
    refused(called("show", "nobody"), "model list")


def test_compare_says_what_the_nodes_say(parent: MaceModelData, child: MaceModelData) -> None:
    """Fails where a column is another model's, or a reference is missing."""
    result = called("compare", parent.pk, child.pk)
    text = words(result)
    for model in (parent, child):
        assert f"{model.base.attributes.get('atomic_energies')['Ti']:.4f}" in text
    assert "labels in its training – 3" in text
    refused(called("compare", parent.pk), "two models", code=2)


def test_compare_on_labels_with_the_real_worker(
    parent: MaceModelData, child: MaceModelData, block: DatasetData
) -> None:
    """Fails where the errors are not those of these models on these labels, or it is not said who was trained on them.

    The expected errors are taken from single predictions, without batches and without the loss.
    """
    # here, because only this test has to wait for torch
    from aiida_slhmc.worker.checkpoint import load_checkpoint
    from aiida_slhmc.worker.comparison import energy_and_forces

    text = words(called("compare", parent.pk, child.pk, "--dataset", block.pk))
    assert "Errors on 3 labels" in text
    for file in (FOUNDATION_FILE, OTHER_FILE):
        model = load_checkpoint(file)
        differences = [energy_and_forces(model, atoms)[1:] - atoms.get_forces().ravel() for atoms in block.get_frames()]
        assert f"{1000 * np.sqrt(np.mean(np.square(differences))):.1f}" in text
    tail = text.split("Errors on 3 labels")[1]
    assert f"{parent.pk} parent of two no" in tail
    assert f"{child.pk} [child] yes" in tail


def test_compare_on_a_data_set_by_its_name(
    parent: MaceModelData, child: MaceModelData, labelled: Callable[..., ConfigurationData], monkeypatch: Any
) -> None:
    """Fails where a data set has to be given by the PK of its block."""
    labels = [labelled(30 + k) for k in range(2)]
    block = DatasetData(configurations=labels).store()
    store_data_set("compared", block, labels)
    asked: list[Any] = []

    def evaluate(models: Any, blocks: Any, python: str) -> list[dict[str, Any]]:
        asked.extend(blocks)
        return [{"n_frames": 2} for _ in models]

    monkeypatch.setattr(model_files, "evaluate_models", evaluate)
    words(called("compare", parent.pk, child.pk, "--dataset", "compared", "--dataset", block.pk))
    assert [node.uuid for node in asked] == [block.uuid] * 2
    refused(
        called("compare", parent.pk, child.pk, "--dataset", "compard"), "data sets that can be given by their names: "
    )


def test_compare_errors(parent: MaceModelData, child: MaceModelData) -> None:
    """Fails where a wrong data set gives a traceback."""
    refused(called("compare", parent.pk, child.pk, "--dataset", parent.pk), "is a MaceModelData, not a DatasetData")


def test_a_python_without_mace_is_named(parent: MaceModelData, tmp_path: Path) -> None:
    """Fails where the lack of MACE gives a traceback, or no advice."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    refused(called("export", parent.pk, tmp_path / "never.model", "--python", bare), "give a Python with")
    assert not (tmp_path / "never.model").exists()


@pytest.mark.parametrize("name", ["import", "list", "show", "export", "compare"])
def test_help_has_an_example(name: str) -> None:
    assert f"aiida-slhmc model {name}" in called(name, "--help").output

"""A run with a committee: its members are trained beside the model, and decide nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from run_examples import called, computed

from aiida_slhmc.workflows.children import find_child
from aiida_slhmc.workflows.restart import get_restart_builder


@pytest.fixture(scope="module")
def with_committee(builder_of, finished) -> orm.WorkChainNode:
    """The undisturbed run once more, with one member beside the model; what is alike is in the cache."""
    with enable_caching():
        return run_get_node(builder_of(committee_size=2))[1]


def test_lineage(with_committee, foundation) -> None:
    """Fails where a member does not go on from what it was, or is trained on other labels or like the model."""
    assert with_committee.is_finished_ok, with_committee.exit_message
    trainings = {
        label: find_child(with_committee, label)
        for label in ("fine_tune_0001", "committee_0001_1", "fine_tune_0002", "committee_0002_1")
    }
    assert len(called(with_committee, "FineTuneWorkChain")) == len(trainings)
    main, first, main_after, second = trainings.values()
    assert first.inputs.model.uuid == foundation.uuid
    assert second.inputs.model.uuid == first.outputs.model.uuid
    for member, model in ((first, main), (second, main_after)):
        labels = [{name: node.uuid for name, node in chain.inputs.datasets.items()} for chain in (member, model)]
        assert labels[0] == labels[1]
        assert member.inputs.parameters.creator.process_label == "member_parameters"
        seeds = [chain.inputs.parameters.get_dict().get("seed", 0) for chain in (member, model)]
        assert seeds[0] != seeds[1]
        hashes = [chain.outputs.model.base.attributes.get("sha256") for chain in (member, model)]
        assert hashes[0] != hashes[1]
    epochs = called(with_committee, "EpochWorkChain")
    assert "committee" not in epochs[0].inputs, "nothing is there to compare before the first update"
    assert {name: node.uuid for name, node in epochs[1].inputs.committee.items()} == {
        "member_1": first.outputs.model.uuid
    }
    assert {name: node.uuid for name, node in with_committee.outputs.committee.items()} == {
        "member_1": second.outputs.model.uuid
    }


def test_members_decide_nothing(with_committee, finished) -> None:
    """Fails where the run is another one than without a committee."""
    assert not computed(with_committee, "VaspCalculation"), "the same end points, so the same labels"
    assert len(computed(with_committee, "MaceFineTuneCalculation")) == 2, "those of the member"
    hashes = {node.outputs.model.base.attributes.get("sha256") for node in (with_committee, finished)}
    assert len(hashes) == 1
    with_, without = (
        [node.outputs.chain.get_array("accepted").tolist() for node in called(run, "EpochWorkChain")]
        for run in (with_committee, finished)
    )
    assert with_ == without


def test_restart_takes_the_committee_over(with_committee) -> None:
    """Fails where a longer run begins its committee anew."""
    builder = get_restart_builder(with_committee, label_budget=4)
    assert builder.committee_size.value == 2
    assert builder.committee["member_1"].uuid == with_committee.outputs.committee.member_1.uuid


@pytest.fixture(scope="module")
def query() -> ModuleType:
    """The example that asks the graph."""
    path = Path(__file__).parents[2] / "examples" / "query.py"
    specification = importlib.util.spec_from_file_location("query_example", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def labels_of(block: orm.Node) -> set[int]:
    """The labels in a block; its file has those that it was first made of, even where it comes from the cache."""
    inputs = block.creator.inputs
    return {inputs[name].pk for name in inputs if inputs[name].is_labelled}


def test_example_finds_the_labels_of_each_checkpoint(with_committee, query) -> None:
    """Fails where the graph no longer tells, with the examples' query, which labels trained which checkpoint."""
    trainings = called(with_committee, "MaceFineTuneCalculation")
    found = query.training_labels(with_committee.pk)
    assert set(found) == {training.outputs.model.pk for training in trainings}
    for training in trainings:
        labels = [labels_of(block) for block in training.inputs.datasets.values()]
        assert set(found[training.outputs.model.pk]) == set.union(*labels)


def test_example_finds_the_proposer_not_the_committee(with_committee, query) -> None:
    """Fails where a member of the committee passes for the model that proposed."""
    for epoch in called(with_committee, "EpochWorkChain"):
        for label in labels_of(epoch.outputs.dataset):
            origin = query.proposer(label)
            assert origin is not None
            assert origin["model"] == epoch.inputs.model.pk

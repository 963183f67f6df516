"""A small study from end to end: every part of it runs, and the tables come from the trajectories of the graph."""

from __future__ import annotations

import json

import pytest
from aiida import orm

from aiida_slhmc.analysis.structure import analyse_structure
from aiida_slhmc.analysis.structure_parameters import StructureParameters
from aiida_slhmc.calculations.trajectories import read_frames
from aiida_slhmc.workflows.children import find_child

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

SAMPLES = {
    "nvt_chain",
    "nvt_adapted_00002",
    "nvt_adapted_00004",
    "npt_chain",
    "npt_adapted_00002",
    "npt_adapted_00004",
    "npt_control",
}


def test_it_finishes(study, transfer):
    assert transfer.is_finished_ok, transfer.exit_message
    assert study.is_finished_ok, study.exit_message


def test_every_trajectory_is_there(transfer):
    assert set(transfer.outputs.trajectories) >= SAMPLES
    assert SAMPLES | {"nvt_foundation", "npt_foundation"} <= set(transfer.outputs.metrics)
    # a chain is compared with nothing but itself
    assert {"nvt_chain", "npt_chain"}.isdisjoint(transfer.outputs.comparisons)


def test_roles_are_in_the_graph(study, transfer):
    roles = {name: node.base.attributes.get("role") for name, node in transfer.outputs.trajectories.items()}
    assert roles["nvt_chain"] == "slhmc_chain"
    assert roles["npt_control"] == "control_md"
    assert roles["nvt_adapted_00004"] == "adapted_md"
    foundation = find_child(study, "foundation_nvt")
    assert foundation.outputs.trajectory.base.attributes.get("role") == "foundation_md"


def test_reference_has_the_last_model_frozen_and_new_random_numbers(transfer):
    run, epoch = find_child(transfer, "slhmc_nvt"), find_child(transfer, "nvt_reference")
    assert epoch.inputs.model.uuid == run.outputs.model.uuid == transfer.outputs.models.nvt.uuid
    assert epoch.inputs.epoch.value == 2
    chain = transfer.outputs.trajectories.nvt_chain
    # two walkers, three cycles, one of them for the equilibration
    assert chain.get_array("cycles").tolist() == [1, 2, 1, 2]


def test_control_has_as_many_labels_as_the_run(transfer):
    run, control = find_child(transfer, "slhmc_npt"), find_child(transfer, "control")
    assert control.outputs.dataset.n_frames == sum(block.n_frames for block in run.outputs.datasets.values())
    assert transfer.outputs.models.control.uuid == control.outputs.model.uuid


def test_controls_choose_from_the_studys_pool(study, transfer):
    pool = find_child(study, "foundation_pool").outputs.trajectory
    assert find_child(transfer, "control").inputs.pool.uuid == pool.uuid


def test_metrics_are_those_of_the_trajectory(transfer):
    """The numbers again, by the plain function."""
    trajectory = transfer.outputs.trajectories.npt_control
    parameters = StructureParameters.from_dict(transfer.inputs.analysis.get_dict())
    metrics, _ = analyse_structure(read_frames(trajectory), parameters)
    stored = transfer.outputs.metrics.npt_control.get_dict()
    assert stored["nearest_neighbour"]["mean"] == pytest.approx(metrics["nearest_neighbour"]["mean"])
    assert stored["cell"]["volume"] == pytest.approx(metrics["cell"]["volume"])
    assert stored["sample"]["role"] == "control_md"


def test_evolution_is_by_labels(transfer):
    samples = {name: node["sample"] for name, node in transfer.outputs.metrics.items()}
    assert (samples["nvt_adapted_00002"]["labels"], samples["nvt_adapted_00002"]["is_final"]) == (2, False)
    assert (samples["nvt_adapted_00004"]["labels"], samples["nvt_adapted_00004"]["is_final"]) == (4, True)
    assert samples["nvt_foundation"]["functional"] is None


def test_tables_and_figures(study):
    files = study.outputs.files.base.repository
    names = files.list_object_names()
    assert {"table1.csv", "table1.md", "table_a2.csv", "table_a2.md", "summary.json", "checks.md"} <= set(names)
    assert len(files.list_object_names("figures")) >= 6
    summary = json.loads(files.get_object_content("summary.json", "r"))
    assert summary
    volume = next(node for node in study.called_descendants if node.process_label == "analyse_structure")
    assert volume.is_finished_ok


def test_everything_comes_out_of_a_process(study):
    """No stored datum of the study is without a creator, but for what was given to it."""
    given = {node.uuid for node in study.base.links.get_incoming().all_nodes()}
    made = [study.outputs.tables, study.outputs.files]
    for transfer in study.called:
        for child in transfer.called:
            made += [node for node in child.base.links.get_outgoing().all_nodes() if isinstance(node, orm.Data)]
    assert all(node.creator is not None or node.uuid in given for node in made)

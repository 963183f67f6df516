"""What a report gathers from the graph, of runs of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from aiida import orm
from html_examples import MadeUpRun, Recipe

from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.neighbours import nearest_distances
from aiida_slhmc.report.html.collect import load_run, read_report
from aiida_slhmc.report.html.contents import Report
from aiida_slhmc.report.html.structure_figures import radial_distributions


@pytest.fixture(scope="module")
def finished(computer) -> MadeUpRun:
    return MadeUpRun(Recipe(problems=True, committee=True), computer)


@pytest.fixture(scope="module")
def report(finished) -> Report:
    return read_report(finished.node)


def test_state_of_a_finished_run(report, finished) -> None:
    """Fails where a finished run is not said to be one, or its labels are counted wrongly."""
    assert (report.state.is_terminated, report.state.is_ok, report.state.words) == (True, True, "finished")
    # 2 epochs of 3 cycles with 2 walkers; one trajectory diverged and asked for no label
    assert (report.state.labels, report.state.label_budget) == (11, 40)
    assert report.about["functional"] == "pbe"
    assert report.about["stand_in"] is True
    assert (report.about["n_atoms"], report.about["ensemble"], report.about["target"]) == (6, "nvt", "vasp")
    assert report.node.pk == finished.node.pk


def test_epochs_have_their_chains_and_models(report, finished) -> None:
    """Fails where an epoch is missing, is in the wrong place, or is said to have another model than its own."""
    assert [epoch.number for epoch in report.epochs] == [0, 1]
    assert [epoch.node.pk for epoch in report.epochs if epoch.node] == [node.pk for node in finished.epochs]
    models = [node.inputs.model.pk for node in finished.epochs]
    assert [epoch.model.pk for epoch in report.epochs if epoch.model] == models
    assert models[0] != models[1]
    assert [epoch.chain["delta_h"].shape for epoch in report.epochs] == [(3, 2), (3, 2)]
    assert [epoch.summary["labels"] for epoch in report.epochs] == [4, 6]


def test_problems_with_their_reasons(report) -> None:
    """Fails where a label that failed, a divergence or a recovery is not listed, or listed twice."""
    found = [(row.epoch, row.cycle, row.walker, row.kind) for row in report.problems]
    assert found == [(0, 0, 0, "no label"), (0, 0, 1, "diverged"), (0, 2, 1, "recovered"), (1, 2, 1, "recovered")]
    assert "VaspCalculation ended" in report.problems[0].reason
    assert "integration error" in report.problems[1].reason
    assert report.problems[2].reason.startswith("algo = Normal")
    assert [(row.label, row.exit_status) for row in report.failed] == [
        ("VaspLabelWorkChain", 422),
        ("VaspCalculation", 700),
    ]


def test_costs_count_every_process_once(report, finished) -> None:
    """Fails where a level of calls is missing, or a process is counted twice."""
    numbers = {row.label: row.number for row in report.costs}
    assert numbers["EpochWorkChain"] == 2
    assert numbers["MaceProposalCalculation"] == numbers["metropolis"] == 6
    assert numbers["VaspCalculation"] == numbers["VaspLabelWorkChain"] == 11
    assert numbers["MaceFineTuneCalculation"] == 2, "the model and the member of the committee"
    assert sum(numbers.values()) == len(finished.node.called_descendants)
    assert {row.label: row.failed for row in report.costs}["VaspCalculation"] == 1


def test_checkpoints_with_lineage(report, finished) -> None:
    """Fails where the lineage has a gap, or a member of the committee passes for the model."""
    foundation, trained, member = report.checkpoints
    assert (foundation.state, foundation.parent, foundation.epochs) == ("imported", None, [0])
    assert (trained.role, trained.state, trained.epochs, trained.n_labels) == ("model", "used", [1], 4)
    assert (member.role, member.state, member.epochs) == ("member_1", "used", [])
    assert trained.parent == foundation.model
    assert trained.seconds == 12.5
    assert trained.model is not None
    assert trained.model.pk == finished.model.pk


def test_structure_of_the_chain(report, finished) -> None:
    """Fails where rejected end points are in the sample, or repeats are left out of it."""
    decisions = [node for node in finished.epochs[1].called if node.process_label == "metropolis"]
    accepted = [node.outputs.result["accepted"] for node in decisions]
    assert not all(map(all, accepted)), "without a rejection this tests nothing"
    states = [
        node.inputs[f"{'label' if moved else 'state'}_{k}"].arrays()
        for node, moves in zip(decisions, accepted, strict=True)
        for k, moved in enumerate(moves)
    ]
    symbols = ("Ti", "Ti", "O", "O", "O", "O")
    frames = Frames(symbols, *(np.stack([state[key] for state in states]) for key in ("positions", "cell")))
    structure = report.structures[1]
    assert structure.nearest_mean == pytest.approx(nearest_distances(frames, "Ti", "O").mean())
    assert structure.cycles.tolist() == [0, 0, 1, 1, 2, 2]
    assert structure.pair == ("Ti", "O")
    assert list(structure.rdf) == [("Ti", "O"), ("O", "O"), ("Ti", "Ti")]
    distance, density = structure.nearest
    assert np.sum(density) * (distance[1] - distance[0]) == pytest.approx(1)


def test_versions_and_citations(report) -> None:
    """Fails where a version that a node states is not shown, or a stand-in's numbers are cited as VASP's."""
    versions = {(row.name, row.of): row.versions for row in report.versions}
    assert versions["aiida-core", "processes of the run"] == "2.99.0"
    assert versions["torch", "fine-tunings"] == "2.99.1"
    assert versions["mace-torch", "checkpoints"]
    # its version is that of the stand-in, which is no VASP
    assert versions["VASP", "calculations of the labels"] == "6.999.0"
    assert "VASP" not in [what for what, _, _ in report.citations]


def test_inputs_without_what_is_private(report, finished) -> None:
    """Fails where an account or a place on a computer goes into a file that people hand around."""
    assert "label_budget: 40" in report.inputs
    assert "num_machines: 1" in report.inputs
    assert finished.node.inputs.structure.uuid in report.inputs
    for secret in ("SECRET-ACCOUNT", "/secret/place"):
        assert secret not in report.inputs
    assert finished.node.uuid in report.commands


def test_a_run_that_lives(computer) -> None:
    """Fails where decisions are only shown once their epoch has ended."""
    run = MadeUpRun(Recipe(status=None), computer)
    report = read_report(run.node)
    assert not report.state.is_terminated
    assert report.state.words == "running"
    assert [(epoch.state, epoch.n_cycles) for epoch in report.epochs] == [("finished", 3), ("running", 3)]
    assert "chain" not in run.epochs[1].outputs
    assert report.epochs[1].summary["labels"] == 6
    assert report.state.left is not None


def test_a_run_that_failed(computer) -> None:
    """Fails where the reason is not in the report."""
    report = read_report(MadeUpRun(Recipe(n_epochs=1, status=402), computer).node)
    assert (report.state.is_terminated, report.state.is_ok) == (True, False)
    assert report.state.words.startswith("failed with exit code 402: VaspCalculation ended")


def test_a_run_that_has_decided_nothing(computer) -> None:
    """Fails where a run without a label, or one that ended before its first, has no report."""
    report = read_report(MadeUpRun(Recipe(n_epochs=0, status=401), computer).node)
    assert report.epochs == []
    assert report.graph is None
    assert report.about["formula"] == "O4Ti2"


def test_a_restart_shows_the_epochs_before_it(computer, finished) -> None:
    """Fails where the history of a restarted run begins at the restart, or its old labels count as its own."""
    run = MadeUpRun(Recipe(n_epochs=1, first_epoch=2), computer, earlier=finished)
    report = read_report(run.node)
    assert [(epoch.number, epoch.is_earlier) for epoch in report.epochs] == [(0, True), (1, True), (2, False)]
    assert [epoch.node.pk for epoch in report.epochs if epoch.node] == [
        node.pk for node in finished.epochs + run.epochs
    ]
    assert report.state.labels == 6
    assert [row.state for row in report.checkpoints] == ["imported", "trained before this run"]
    assert set(report.structures) == {0, 1, 2}


def test_an_epoch_by_itself(finished) -> None:
    """Fails where a production epoch, which is no run, has no report."""
    report = read_report(load_run(finished.epochs[1].pk))
    assert [epoch.number for epoch in report.epochs] == [1]
    assert report.state.process == "EpochWorkChain"
    assert report.state.label_budget is None
    assert [row.state for row in report.checkpoints] == ["imported", "trained before this run"]


def test_what_is_no_run_is_refused(aiida_profile) -> None:
    """Fails where the report of another node is a traceback."""
    with pytest.raises(ValueError, match="is of type Int; a report is made of"):
        load_run(orm.Int(1).store().pk)


def test_nothing_is_written_into_the_graph(finished) -> None:
    """Fails where a report leaves nodes behind, or changes any."""

    def nodes() -> list[Any]:
        return orm.QueryBuilder().append(orm.Node, project=["id", "mtime"]).all()

    before = sorted(nodes())
    read_report(finished.node)
    assert sorted(nodes()) == before


def test_short_bonds_are_to_be_seen(report) -> None:
    """Fails where the axis of the radial distribution functions begins behind a bond such as that of O–H."""
    structures = report.structures
    assert radial_distributions(structures).layout.xaxis.range[0] == 1.0
    number, structure = next(iter(structures.items()))
    distance = np.linspace(0.05, 6, 120)
    density = np.where(np.abs(distance - 0.96) < 0.03, 20.0, 0.0)
    short = replace(structure, rdf={structure.pair: (distance, density)})
    assert 0.5 < radial_distributions({number: short}).layout.xaxis.range[0] < 0.9

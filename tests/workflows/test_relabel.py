"""RelabelWorkChain: labels of the chosen frames and nothing else train the model, and each way in which it ends."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessBuilder, run_get_node, while_
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from fixtures import label_of, rutile_atoms
from run_examples import called, computed, failing, lose_first_call, training_that_ended

from aiida_slhmc.calculations.selection import frame_number
from aiida_slhmc.standin.misbehave import draw
from aiida_slhmc.targets.site_order import grouped
from aiida_slhmc.targets.vasp_work_chain import VaspLabelWorkChain
from aiida_slhmc.workflows.relabel import RelabelWorkChain

CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)
CODES = RelabelWorkChain.exit_codes
N_POOL, N_FRAMES = 10, 5
SELECTION = {"method": "farthest_point", "n_frames": N_FRAMES, "seed": 2, "skip": 1}
# so that titanium and oxygen come in turn
ORDER = [2, 0, 3, 1, 4, 5]


def pool_frame(index: int) -> Any:
    atoms = rutile_atoms(seed=200 + index)[ORDER]
    atoms.set_cell(atoms.cell.array * (1 + 0.002 * index), scale_atoms=True)
    return atoms


def trajectory(indices: list[int]) -> orm.TrajectoryData:
    """Frames of these numbers, each in a cell of its own."""
    frames = [pool_frame(index) for index in indices]
    node = orm.TrajectoryData()
    positions, cells = (np.array([getattr(atoms, name)[:] for atoms in frames]) for name in ("positions", "cell"))
    node.set_trajectory(list(frames[0].symbols), positions, cells=cells, pbc=(True, True, True))
    return node.store()


def dynamics(code: orm.AbstractCode, **changes: Any) -> dict[str, Any]:
    """Inputs of a short molecular dynamics, two frames if not changed."""
    options = {"n_steps": 4, "sampling_interval": 2, "temperature": 300.0, "seed": 1, "device": "cpu"}
    return {"code": code, "parameters": orm.Dict(options | changes)}


@pytest.fixture(scope="module")
def pool(aiida_profile) -> orm.TrajectoryData:
    return trajectory(list(range(N_POOL)))


@pytest.fixture(scope="module")
def relabel_builder(builder_of, pool, foundation) -> Callable[..., ProcessBuilder]:
    """Function: a builder with these inputs replaced (None: left out), and the stand-in misbehaving in *mode*."""

    def make(mode: str | None = None, fraction: float = 1.0, **changes: Any) -> ProcessBuilder:
        source = builder_of()
        builder = RelabelWorkChain.get_builder()
        builder.target = dict(source.target.items())
        builder.target["options"] = orm.Dict(source.target["options"].get_dict() | failing(mode, fraction))
        builder.fine_tune = {"code": source.fine_tune.code, "parameters": source.fine_tune.parameters}
        inputs = {"model": foundation, "pool": pool, "selection": orm.Dict(SELECTION), "max_parallel_labels": 2}
        for name, value in (inputs | changes).items():
            if value is not None:
                builder[name] = value
        return builder

    return make


@pytest.fixture(scope="module")
def guilty(relabel_builder) -> tuple[int, float]:
    """Number of the chosen frame that the stand-in fails first, and a fraction with which it fails no other one."""
    process = instantiate_process(get_manager().get_runner(), relabel_builder())
    process.setup()
    process.select()
    structures = orm.load_node(process.ctx.selection).outputs.structures
    # by what the stand-in reads
    draws = sorted((draw(grouped(node).get_ase()), frame_number(name)) for name, node in structures.items())
    return draws[0][1], (draws[0][0] + draws[1][0]) / 2


@pytest.fixture(scope="module")
def relabelled_builder(relabel_builder, guilty, structure, python_code) -> Callable[..., ProcessBuilder]:
    """Function: a builder of the run below, with further dynamics by name."""

    def make(**production: Any) -> ProcessBuilder:
        production |= {"cold": dynamics(python_code, temperature=150.0)}
        return relabel_builder("no_xml", guilty[1], structure=structure, production=production)

    return make


@pytest.fixture(scope="module")
def relabelled(relabelled_builder) -> orm.WorkChainNode:
    """A run from a given pool, in which one label fails."""
    return run_get_node(relabelled_builder())[1]


@pytest.fixture(scope="module")
def broken(computer) -> orm.InstalledCode:
    """An interpreter that does nothing."""
    return orm.InstalledCode(label="does-nothing", computer=computer, filepath_executable="false").store()


def frames_of(node: orm.WorkChainNode) -> list[int]:
    return node.outputs.selected.get_array("indices").tolist()


def test_a_label_that_fails_is_listed_and_stops_nothing(relabelled, guilty, pool) -> None:
    """Fails where one frame that cannot be labelled ends the run, or its reason is lost or another frame's."""
    assert relabelled.is_finished_ok, relabelled.exit_message
    expected = ["dataset", "failed", "metrics", "model", "pool", "selected", "trajectories"]
    assert sorted(relabelled.outputs) == expected
    assert relabelled.outputs.pool.uuid == pool.uuid
    failed = relabelled.outputs.failed
    assert (failed["n_selected"], failed["n_failed"]) == (N_FRAMES, 1)
    (failure,) = failed["failures"]
    assert failure["frame"] == guilty[0]
    assert "exit code 422" in failure["reason"]
    assert relabelled.outputs.dataset.n_frames == N_FRAMES - 1
    messages = [log.message for log in orm.Log.collection.get_logs_for(relabelled)]
    assert any(f"frame_{guilty[0]:05d}: no label" in text for text in messages)


def test_labels_are_those_of_the_chosen_frames(relabelled, guilty) -> None:
    """Fails where a frame, its cell or its atoms are exchanged on the way to the training, or their order is lost."""
    labelled = [index for index in frames_of(relabelled) if index != guilty[0]]
    for index, uuid in zip(labelled, relabelled.outputs.dataset.get_uuids(), strict=True):
        label, atoms = orm.load_node(uuid), pool_frame(index)
        assert label.base.attributes.get("role") == "relabelled"
        found, expected = label.arrays(), label_of(atoms)
        np.testing.assert_array_equal(found["numbers"], atoms.numbers)
        np.testing.assert_allclose(found["positions"], atoms.positions, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(found["cell"], atoms.cell.array, rtol=1e-13, atol=1e-13)
        assert found["energy"] == pytest.approx(expected["energy"], abs=1e-6)
        np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-6)


def test_lineage(relabelled, foundation, pool, guilty) -> None:
    """Fails where the graph does not answer which frames of which pool trained the model."""
    (training,) = called(relabelled, "MaceFineTuneCalculation")
    assert training.inputs.model.uuid == foundation.uuid
    assert [node.uuid for node in training.inputs.datasets.values()] == [relabelled.outputs.dataset.uuid]
    assert relabelled.outputs.model.creator.uuid == training.uuid
    assert relabelled.outputs.metrics.uuid == training.outputs.metrics.uuid
    for node in called(relabelled, "VaspLabelWorkChain"):
        assert node.inputs.structure.creator.inputs.pool.uuid == pool.uuid
    labels = relabelled.outputs.dataset.creator.inputs
    assert {frame_number(name) for name in labels} == set(frames_of(relabelled)) - {guilty[0]}


def test_labels_are_computed_a_few_at_a_time(relabelled) -> None:
    """Fails where all are launched at once, and a scheduler is flooded."""
    children = called(relabelled, "VaspLabelWorkChain")
    assert len(children) == N_FRAMES
    batches = [children[i : i + 2] for i in range(0, N_FRAMES, 2)]
    for former, later in pairwise(batches):
        ends = [call.mtime for child in former for call in child.called]
        assert max(ends) < min(child.ctime for child in later)


def test_label_that_aiida_lost_is_launched_again(relabel_builder, guilty, relabelled, monkeypatch) -> None:
    """Fails where a broker that was away leaves a frame without its label."""
    lose_first_call(monkeypatch, VaspLabelWorkChain, "make_label")
    with enable_caching():
        _, node = run_get_node(relabel_builder("no_xml", guilty[1]))
    assert node.is_finished_ok, node.exit_message
    assert len([child for child in node.called if child.is_excepted]) == 1
    frames = [[row["frame"] for row in run.outputs.failed["failures"]] for run in (node, relabelled)]
    assert frames[0] == frames[1] == [guilty[0]]
    assert node.outputs.dataset.n_frames == N_FRAMES - 1


def test_folders_are_removed(relabelled) -> None:
    """Fails where the labels' folders pile up, or those of a failure are not there to be looked at."""
    for node in called(relabelled, "VaspCalculation"):
        assert node.outputs.remote_folder.is_cleaned == node.is_finished_ok


def test_too_few_labels(relabel_builder) -> None:
    """Fails where a target that never works is asked for all frames, or what was found out is lost."""
    _, node = run_get_node(relabel_builder("no_xml", min_labels=4))
    assert node.exit_status == CODES.ERROR_TOO_FEW_LABELS.status
    assert "3 labels of 5 are there or could still be, and min_labels is 4" in node.exit_message
    assert "exit code 422" in node.exit_message
    assert len(called(node, "VaspLabelWorkChain")) == 2, "the first batch says that the others are not worth it"
    assert node.outputs.failed["n_failed"] == 2
    assert set(node.outputs) == {"pool", "selected", "failed"}


def test_too_few_different_frames(relabel_builder) -> None:
    """Fails where frames of a chain that repeats its states are labelled twice, or the reason is not said."""
    repeated = trajectory([k // 3 for k in range(9)])
    _, node = run_get_node(relabel_builder(pool=repeated))
    assert node.exit_status == CODES.ERROR_SELECTION_FAILED.status
    assert "needs 5 different frames, and the pool has 3 after skip = 1" in node.exit_message
    assert set(node.outputs) == {"pool"}
    assert not called(node, "VaspLabelWorkChain")


def test_training_data_of_another_functional(relabel_builder, relabelled, springs) -> None:
    """Fails where all labels are paid before it is seen that what is trained on beside them does not fit."""
    builder = relabel_builder()
    builder.fine_tune["force_constants"] = {"rutile": springs("hse06")}
    with enable_caching():
        _, node = run_get_node(builder)
    assert node.exit_status == CODES.ERROR_TRAINING_DATA.status
    assert "force_constants.rutile is of hse06" in node.exit_message
    assert len(called(node, "VaspLabelWorkChain")) == 2
    assert node.outputs.dataset.n_frames == 2
    assert not called(node, "FineTuneWorkChain")


def test_training_that_does_not_run(relabel_builder, relabelled, broken) -> None:
    """Fails where the labels are lost with a training that could not begin."""
    builder = relabel_builder()
    builder.fine_tune["code"] = broken
    with enable_caching():
        _, node = run_get_node(builder)
    assert node.exit_status == CODES.ERROR_FINE_TUNE_FAILED.status
    assert "exit code 412" in node.exit_message
    assert node.outputs.dataset.n_frames == N_FRAMES
    assert "model" not in node.outputs


@pytest.fixture
def process(relabel_builder) -> RelabelWorkChain:
    """A work chain that has chosen its frames."""
    made = instantiate_process(get_manager().get_runner(), relabel_builder())
    made.setup()
    assert made.select() is None
    return made


@pytest.mark.parametrize("status", [340, 341, 342])
def test_training_that_was_no_gain(process, foundation, status: int) -> None:
    """Fails where a model that is worse than its parent is handed out or samples."""
    process.ctx.training = training_that_ended(status, model=foundation, metrics={"n_epochs": 2})
    code = process.inspect_fine_tune()
    assert code.status == CODES.ERROR_FINE_TUNE_REFUSED.status
    assert "so and so. Train on `dataset`" in code.message
    assert "model" not in process.outputs
    assert process.outputs["metrics"]["n_epochs"] == 2


def test_training_that_was_cut_short(process, foundation) -> None:
    """The best model so far is used. Fails where it is taken for a failure."""
    process.ctx.training = training_that_ended(311, model=foundation)
    assert process.inspect_fine_tune() is None
    assert process.outputs["model"].uuid == foundation.uuid


class EachStepTwice(RelabelWorkChain):
    """As after crashes between a step and the saving of its outcome."""

    @classmethod
    def define(cls, spec: Any) -> None:
        super().define(spec)
        spec.outline(
            cls.setup,
            cls.select,
            cls.select,
            while_(cls.has_frames_left)(cls.label, cls.label, cls.inspect_again),
            cls.collect,
            cls.collect,
        )

    def inspect_again(self) -> None:
        numbers = self.ctx.begun, self.ctx.failed
        self.inspect_labels()
        self.ctx.begun, self.ctx.failed = numbers
        self.inspect_labels()


def test_steps_that_are_executed_again(relabel_builder, relabelled, guilty) -> None:
    """Fails where a label is asked for twice, or a failure is listed or counted twice."""
    with enable_caching():
        _, node = run_get_node(EachStepTwice, **relabel_builder("no_xml", guilty[1])._inputs(prune=True))
    assert node.exit_status == 11, "it has no model, of course"
    labels = [link.link_label for link in node.base.links.get_outgoing(link_type=CALLS).all()]
    names = [f"frame_{index:05d}" for index in frames_of(relabelled)]
    expected = ["select", *(f"label_{name}" for name in names), f"unlabelled_frame_{guilty[0]:05d}"]
    assert sorted(labels) == sorted([*expected, "list_failures", "collect_block"])
    assert node.outputs.failed["n_failed"] == 1
    assert node.outputs.dataset.n_frames == N_FRAMES - 1


@pytest.mark.slow
def test_pool_that_is_made(relabel_builder, structure, python_code, foundation) -> None:
    """Fails where another model or structure than asked for makes the pool, or other frames are labelled."""
    choice = orm.Dict({"method": "random", "n_frames": 2, "seed": 4})
    pool_md = dynamics(python_code, n_steps=8)
    _, node = run_get_node(relabel_builder(pool=None, pool_md=pool_md, structure=structure, selection=choice))
    assert node.is_finished_ok, node.exit_message
    pool = node.outputs.pool
    assert pool.numsteps == 4
    check_dynamics(pool, foundation, structure, "foundation_md")
    positions = [orm.load_node(uuid).arrays()["positions"] for uuid in node.outputs.dataset.get_uuids()]
    np.testing.assert_allclose(positions, pool.get_positions()[frames_of(node)], rtol=1e-13, atol=1e-13)
    assert "trajectories" not in node.outputs, "no production was asked for"


def test_pool_that_cannot_be_made(relabel_builder, structure, broken) -> None:
    """Fails where it is not said that the very first step failed, and why."""
    _, node = run_get_node(relabel_builder(pool=None, pool_md=dynamics(broken, n_steps=20), structure=structure))
    assert node.exit_status == CODES.ERROR_POOL_FAILED.status
    assert "exit code 412" in node.exit_message
    assert not called(node, "select_frames")
    assert not list(node.outputs)


def test_production(relabelled, foundation, structure) -> None:
    """Fails where the foundation model samples in the place of the new one."""
    assert list(relabelled.outputs.trajectories) == ["cold"]
    cold = relabelled.outputs.trajectories.cold
    assert (cold.numsteps, cold.base.attributes.get("temperature")) == (2, 150.0)
    assert relabelled.outputs.model.uuid != foundation.uuid
    check_dynamics(cold, relabelled.outputs.model, structure, "control_md")


def test_one_of_two_productions_fails(relabelled_builder, relabelled, broken) -> None:
    """Fails where one dynamics that fails takes the other trajectories with it, or is not named."""
    made = instantiate_process(get_manager().get_runner(), relabelled_builder(hot=dynamics(broken)))
    made.setup()
    (made.ctx.production_cold,) = called(relabelled, "MdWorkChain")
    made.ctx.production_hot = training_that_ended(412)
    code = made.inspect_production()
    assert code.status == CODES.ERROR_PRODUCTION_FAILED.status
    assert "Of the production failed hot; the first: " in code.message
    assert "exit code 412: so and so." in code.message
    assert list(made.outputs["trajectories"]) == ["cold"]


@pytest.mark.slow
def test_production_that_fails(relabelled_builder, relabelled, broken) -> None:
    """The same with real jobs. Fails where the model is lost, or what went well is done again."""
    with enable_caching():
        _, node = run_get_node(relabelled_builder(hot=dynamics(broken)))
    assert node.exit_status == CODES.ERROR_PRODUCTION_FAILED.status
    assert "Of the production failed hot; the first: MdWorkChain" in node.exit_message
    assert list(node.outputs.trajectories) == ["cold"]
    assert sorted(node.outputs) == sorted(relabelled.outputs)
    # all that went well is in the cache: the same frames in the same order
    counts = {name: len(computed(node, name)) for name in ("VaspCalculation", "MaceFineTuneCalculation")}
    assert counts == {"VaspCalculation": 2, "MaceFineTuneCalculation": 0}, "the label that fails is tried twice"
    assert len(computed(node, "MaceMdCalculation")) == 1


def check_dynamics(trajectory: orm.TrajectoryData, model: orm.Data, structure: orm.StructureData, role: str) -> None:
    """It is of this model and starts from this structure; its folder is removed."""
    job = trajectory.creator
    assert (job.inputs.model.uuid, job.inputs.structure.uuid) == (model.uuid, structure.uuid)
    assert trajectory.base.attributes.get("role") == role
    assert job.outputs.remote_folder.is_cleaned

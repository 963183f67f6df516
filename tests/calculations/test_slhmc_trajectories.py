"""The chain of an epoch with its repeats, and its accepted states, put together from labels and decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm
from test_epoch_functions import decision

from aiida_slhmc.calculations.epoch import collect_block, record_unlabelled
from aiida_slhmc.calculations.label_budget import equal_label_budget
from aiida_slhmc.calculations.trajectories import read_frames, slhmc_trajectories

# of two walkers in three cycles
ACCEPTED = ([True, False], [False, False], [True, True])


@pytest.fixture(scope="module")
def nodes(labelled) -> dict[str, Any]:
    """What an epoch leaves: starts, labels and decisions."""
    result: dict[str, Any] = {f"start_{k}": labelled(10 + k) for k in range(2)}
    for cycle, accepted in enumerate(ACCEPTED):
        result[f"decide_{cycle:05d}"] = decision(cycle, [0.01, 0.02], accepted)
        result |= {f"label_{cycle:05d}_{k}": labelled(20 + 2 * cycle + k) for k in range(2)}
    return result


def made(nodes: dict[str, Any], n_equilibration_cycles: int = 0) -> dict[str, orm.TrajectoryData]:
    return slhmc_trajectories(n_equilibration_cycles=orm.Int(n_equilibration_cycles), **nodes)


def energies(*nodes: Any) -> list[float]:
    return [float(node.arrays()["energy"]) for node in nodes]


def test_chain_repeats_the_state_where_a_proposal_was_refused(nodes):
    chain = made(nodes)["chain"]
    first = [nodes["label_00000_0"], nodes["label_00000_0"], nodes["label_00002_0"]]
    second = [nodes["start_1"], nodes["start_1"], nodes["label_00002_1"]]
    assert chain.get_array("energies").tolist() == energies(*first, *second)
    assert chain.get_array("walkers").tolist() == [0, 0, 0, 1, 1, 1]
    assert chain.get_array("cycles").tolist() == [0, 1, 2, 0, 1, 2]


def test_accepted_states_are_there_once(nodes):
    accepted = made(nodes)["accepted"]
    expected = [nodes["label_00000_0"], nodes["label_00002_0"], nodes["label_00002_1"]]
    assert accepted.get_array("energies").tolist() == energies(*expected)
    assert accepted.base.attributes.get("role") == "slhmc_accepted"


def test_frames_are_the_labels_bit_for_bit(nodes):
    frames = read_frames(made(nodes)["chain"])
    label = nodes["label_00002_1"].arrays()
    np.testing.assert_array_equal(frames.positions[-1], label["positions"])
    np.testing.assert_array_equal(frames.cells[-1], label["cell"])
    assert frames.symbols == ("Ti",) * 2 + ("O",) * 4


def test_equilibration_is_left_out_and_still_moves_the_walkers(nodes):
    chain = made(nodes, 1)["chain"]
    assert chain.get_array("cycles").tolist() == [1, 2, 1, 2]
    assert chain.get_array("energies")[0] == energies(nodes["label_00000_0"])[0]


def test_what_it_is_a_sample_of_is_queryable(nodes):
    made(nodes)
    query = orm.QueryBuilder().append(orm.TrajectoryData, filters={"attributes.role": "slhmc_chain"})
    attributes = query.first(flat=True).base.attributes.all
    assert {key: attributes[key] for key in ("ensemble", "temperature", "functional", "stand_in", "n_walkers")} == {
        "ensemble": "npt",
        "temperature": 300.0,
        "functional": "pbe",
        "stand_in": True,
        "n_walkers": 2,
    }


def test_without_accepted_states_there_is_the_chain_alone(nodes):
    refused = {key: node for key, node in nodes.items() if not key.startswith("decide_")}
    refused["decide_00000"] = decision(0, [0.01, 0.02], [False, False])
    assert set(made(refused)) == {"chain"}


def test_a_refused_end_point_needs_no_label(nodes, structure):
    record = record_unlabelled(structure, orm.Str("it did not converge"))
    chain = made(nodes | {"label_00001_0": record})["chain"]
    assert len(chain.get_array("energies")) == 6


def test_nothing_left_after_the_equilibration(nodes):
    _, node = slhmc_trajectories.run_get_node(n_equilibration_cycles=orm.Int(3), **nodes)
    assert node.exit_status == 410
    assert "of 3 cycles none is left" in node.exit_message


def test_equal_label_budget(nodes, structure):
    labels = [nodes["label_00000_0"], nodes["label_00000_1"], nodes["label_00001_0"]]
    first = collect_block(label_0=labels[0], label_1=labels[1])
    second = collect_block(label_0=labels[2], label_1=record_unlabelled(structure, orm.Str("no")))
    selection = equal_label_budget(
        selection=orm.Dict({"method": "random", "n_frames": 99, "seed": 3}), block_0=first, block_1=second
    )
    assert selection.get_dict() == {"method": "random", "n_frames": 3, "seed": 3}

"""What closes an epoch: block, chain, summary, next trajectory, the record of a failed label, and the history."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from aiida import orm
from fixtures import configuration, rutile_atoms

from aiida_slhmc.analysis.epoch_summary import SERIES, summarise
from aiida_slhmc.analysis.run_summary import summarise_chains
from aiida_slhmc.calculations.epoch import (
    adapt_trajectory,
    collect_block,
    collect_chain,
    read_chain,
    record_unlabelled,
    summarise_epoch,
)
from aiida_slhmc.calculations.history import summarise_run

ABOUT = {
    "epoch": 5,
    "temperature": 300.0,
    "n_atoms": 6,
    "ensemble": "npt",
    "pressure": 0.5,
    "cell_degrees_of_freedom": "full",
    "timestep": 0.5,
}


def decision(cycle: int, delta_h: list[float | None], accepted: list[bool], **changes: Any) -> orm.Dict:
    """The decision of one cycle; half of ΔH is mismatch."""
    half = [None if value is None else value / 2 for value in delta_h]
    content = {
        "accepted": accepted,
        "diverged": [False for _ in delta_h],
        "probability": [0.0 if value is None else 0.5 for value in delta_h],
        "random_number": [0.3 for _ in delta_h],
        "delta_h": delta_h,
        "integration": half,
        "mismatch": half,
        "energy": [-50.0 - cycle - 0.1 * k for k in range(len(delta_h))],
        "volume": [60.0 + cycle + 0.1 * k for k in range(len(delta_h))],
        "energy_error": [None if value is None else 0.06 + value for value in delta_h],
        "force_rmse": [None if value is None else 0.1 * (cycle + 1) for value in delta_h],
        "stress_rmse": [None for _ in delta_h],
        "expected_squared_jump": [None if value is None else 0.02 for value in delta_h],
        "acceptance": float(np.mean(accepted)),
        "cycle": cycle,
        "n_steps": 10 + cycle,
        "n_walkers": len(delta_h),
        **ABOUT,
    }
    return orm.Dict(content | changes).store()


def chain_of(*decisions: orm.Dict) -> orm.ArrayData:
    return collect_chain(**{f"decide_{i:05d}": node for i, node in enumerate(decisions)})


def as_stored(content: dict[str, Any]) -> dict[str, Any]:
    """AiiDA keeps 14 digits of a number."""
    return orm.Dict(content).store().get_dict()


def small_chain() -> orm.ArrayData:
    return chain_of(decision(0, [0.01, None], [True, False]), decision(1, [0.03, 0.0], [False, True]))


def test_chain_has_the_decisions_as_series() -> None:
    """Fails where cycles and walkers are exchanged, or None does not become NaN."""
    chain = small_chain()
    assert chain.is_stored
    arrays, about = read_chain(chain)
    assert about == ABOUT
    assert {arrays[name].shape for name in SERIES} == {(2, 2)}
    np.testing.assert_array_equal(arrays["delta_h"], [[0.01, math.nan], [0.03, 0.0]])
    np.testing.assert_array_equal(arrays["energy"], [[-50.0, -50.1], [-51.0, -51.1]])
    np.testing.assert_array_equal(arrays["n_steps"], [10, 11])
    assert np.isnan(arrays["stress_rmse"]).all()
    assert arrays["accepted"].dtype == bool
    assert arrays["accepted"].tolist() == [[True, False], [False, True]]


def test_divergences_are_in_the_chain_and_no_failed_labels() -> None:
    """Fails where a trajectory that diverged counts as a label."""
    second = decision(1, [None, None], [False, False], diverged=[True, False])
    chain = chain_of(decision(0, [0.01, 0.02], [True, False]), second)
    assert chain.get_array("diverged").tolist() == [[False, False], [True, False]]
    assert chain.get_array("diverged").dtype == bool
    summary = summarise_epoch(chain).get_dict()
    assert [summary[key] for key in ("labels", "failed_labels", "diverged", "acceptance")] == [2, 1, 1, 0.25]
    assert summary["pressure"] == 0.5


def test_chain_of_an_earlier_version() -> None:
    """Fails where the history of a run that began with an earlier version cannot be read any more."""
    chain = small_chain()
    arrays = {name: chain.get_array(name) for name in chain.get_arraynames() if name != "diverged"}
    old = orm.ArrayData(arrays)
    names = [name for name in ABOUT if name not in ("pressure", "cell_degrees_of_freedom")]
    old.base.attributes.set_many({name: ABOUT[name] for name in names})
    read, about = read_chain(old.store())
    assert read["diverged"].tolist() == [[False, False], [False, False]]
    assert about == ABOUT | {"pressure": None, "cell_degrees_of_freedom": None}
    history = summarise_run(epoch_0000=old, epoch_0001=old).get_dict()
    assert history["run"]["n_cycles"] == 4


def test_cycles_are_ordered_by_name() -> None:
    """Fails where the order of keyword arguments matters: AiiDA does not keep it."""
    first, second = decision(0, [0.01, 0.02], [True, False]), decision(1, [0.5, None], [False, False], epoch=6)
    chain = collect_chain(decide_00001=second, decide_00000=first)
    assert chain.base.attributes.get("epoch") == 5
    assert chain.get_array("n_steps").tolist() == [10, 11]


def test_summary_is_that_of_the_plain_function() -> None:
    chain = small_chain()
    summary = summarise_epoch(chain).get_dict()
    assert summary == as_stored(summarise(*read_chain(chain)))
    assert (summary["labels"], summary["failed_labels"], summary["acceptance"]) == (3, 1, 0.5)
    assert summary["stress_rmse_gpa"] is None


def test_summary_of_an_epoch_without_labels() -> None:
    """Fails where a NaN goes to the database, which refuses it."""
    summary = summarise_epoch(chain_of(decision(0, [None, None], [False, False]))).get_dict()
    assert (summary["labels"], summary["failed_labels"], summary["creutz"]) == (0, 2, None)


def test_block_in_the_order_of_names(labelled) -> None:
    nodes = {f"decide_{i:05d}_label_0": labelled(70 + i) for i in (2, 0, 1)}
    nodes["decide_00003_label_0"] = configuration(rutile_atoms(seed=1), unlabelled_reason="VASP failed").store()
    block, node = collect_block.run_get_node(**nodes)
    assert block.get_uuids() == [nodes[f"decide_{i:05d}_label_0"].uuid for i in range(3)]
    assert {link.node.uuid for link in node.base.links.get_incoming()} == {data.uuid for data in nodes.values()}


def test_record_of_a_failed_label() -> None:
    """Fails where the record loses its place in the run, or the configuration."""
    structure = orm.StructureData(ase=rutile_atoms(seed=1))
    structure.base.attributes.set_many({"epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"})
    record = record_unlabelled(structure, orm.Str("VASP failed"))
    assert not record.is_labelled
    assert record.base.attributes.get("unlabelled_reason") == "VASP failed"
    assert record.base.attributes.get("walker") == 3
    np.testing.assert_array_equal(record.arrays()["positions"], structure.get_ase().positions)


START = {"n_steps": 20, "timestep": 0.5}
SEEN = {"labels": 40, "sigma_integration": 0.001, "sigma_mismatch": 0.01, "temperature": 300.0}


def seen(acceptance: float, jump: float = 0.02) -> orm.Dict:
    return orm.Dict(SEEN | {"acceptance": acceptance, "expected_squared_jump_per_label": jump})


@pytest.mark.parametrize(
    ("acceptance", "expected"), [(1.0, 28), (0.65, 20), (0.0, 10)], ids=["longer", "the same", "shorter"]
)
def test_trajectory_follows_the_acceptance(acceptance: float, expected: int) -> None:
    """Fails where the length moves the wrong way."""
    new = adapt_trajectory(orm.Dict(START), orm.Dict({"rule": "acceptance"}), seen(acceptance))
    assert (new["n_steps"], new["timestep"], new["rule"]) == (expected, 0.5, "acceptance")
    assert new["reason"].startswith(f"Acceptance {acceptance:.2f} is")


def test_state_is_carried_from_epoch_to_epoch() -> None:
    """Fails where the length is rounded between epochs: a small rate would then never change it."""
    trajectory = orm.Dict({"n_steps": 10, "timestep": 0.5})
    for _ in range(5):
        trajectory = adapt_trajectory(trajectory, orm.Dict({"rule": "acceptance", "rate": 0.05}), seen(1.0))
    assert trajectory["n_steps"] == 11


def test_trajectory_by_the_jump() -> None:
    trajectory, rule = orm.Dict(START), orm.Dict({"rule": "jump", "n_steps_max": 30})
    lengths = []
    for jump in (0.01, 0.02, 0.015, 0.0):
        trajectory = adapt_trajectory(trajectory, rule, seen(0.5, jump))
        lengths.append(trajectory["n_steps"])
    assert lengths == [26, 30, 23, 18]


def test_summary_is_what_adaptation_reads() -> None:
    """Fails where one of them renames a key."""
    new = adapt_trajectory(orm.Dict(START), orm.Dict({"rule": "jump"}), summarise_epoch(small_chain()))
    assert new["n_steps"] == 26


def test_history() -> None:
    chains = [chain_of(decision(0, [0.01, 0.02 * i], [True, False], epoch=i)) for i in range(3)]
    history = summarise_run(**{f"epoch_{i:04d}": chains[i] for i in (1, 2, 0)}).get_dict()
    assert [epoch["epoch"] for epoch in history["epochs"]] == [0, 1, 2]
    assert history["labels"] == 6
    assert history["run"]["n_cycles"] == 3
    assert history == as_stored(summarise_chains([read_chain(chain) for chain in chains]))

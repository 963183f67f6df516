"""What closes an epoch: the block, the summary, the next length, the record of a failed label, the history."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from aiida import orm
from fixtures import configuration, rutile_atoms

from aiida_slhmc.calculations.epoch import adapt_length, collect_block, record_unlabelled, summarise_epoch
from aiida_slhmc.calculations.history import summarise_run
from aiida_slhmc.kernel.diagnostics import predicted_acceptance
from aiida_slhmc.kernel.units import thermal_energy


def decision(cycle: int, delta_h: list[float | None], accepted: list[bool], **changes: Any) -> orm.Dict:
    """The decision of one cycle with two walkers; half of ΔH is mismatch."""
    half = [None if value is None else value / 2 for value in delta_h]
    content = {
        "accepted": accepted,
        "delta_h": delta_h,
        "integration": half,
        "mismatch": half,
        "energy_error": [None if value is None else 0.06 + value for value in delta_h],
        "force_rmse": [None if value is None else 0.1 * (cycle + 1) for value in delta_h],
        "squared_jump": [0.02 if moved else 0.0 for moved in accepted],
        "epoch": 5,
        "cycle": cycle,
        "n_steps": 10 + cycle,
        "temperature": 300.0,
        "n_walkers": 2,
        "n_atoms": 6,
    }
    return orm.Dict(content | changes).store()


def summary_of(*decisions: orm.Dict) -> dict[str, Any]:
    return summarise_epoch(**{f"decide_{i:05d}": node for i, node in enumerate(decisions)}).get_dict()


def test_summary() -> None:
    """Fails where a diagnostic is not what its name says; all are computed here in another way."""
    values = [0.01, -0.02, 0.03, 0.0]
    summary = summary_of(decision(0, values[:2], [True, True]), decision(1, values[2:], [False, True]))
    assert (summary["epoch"], summary["n_cycles"], summary["n_walkers"], summary["labels"]) == (5, 2, 2, 4)
    assert summary["failed_labels"] == 0
    assert summary["acceptance"] == 0.75
    assert summary["acceptance_per_walker"] == [0.5, 1.0]
    low, high = summary["acceptance_interval"]
    assert 0.25 < low < 0.75 < high < 1.0
    assert summary["n_steps"] == 10.5
    weights = np.exp(-np.array(values) / thermal_energy(300.0))
    assert summary["creutz"] == pytest.approx(weights.mean())
    assert summary["creutz_error"] == pytest.approx(weights.std(ddof=1) / 2)
    sigma = np.std(values, ddof=1)
    assert summary["sigma_delta_h"] == pytest.approx(sigma)
    assert summary["sigma_integration"] == pytest.approx(sigma / 2)
    assert summary["sigma_mismatch"] == pytest.approx(sigma / 2)
    assert summary["predicted_acceptance"] == pytest.approx(predicted_acceptance(sigma, 300.0))
    errors = 1000 * (0.06 + np.array(values)) / 6
    assert summary["energy_rmse_mev_per_atom"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    assert summary["energy_rmse_centred_mev_per_atom"] == pytest.approx(errors.std())
    assert summary["force_rmse_mev_per_angstrom"] == pytest.approx(1000 * math.sqrt((2 * 0.1**2 + 2 * 0.2**2) / 4))
    assert summary["squared_jump_per_label"] == pytest.approx(0.015)


def test_failed_labels_are_rejections_and_nothing_else() -> None:
    """Fails where a failed label is left out of the acceptance, or enters an average."""
    summary = summary_of(decision(0, [0.01, None], [True, False]), decision(1, [0.02, 0.03], [True, True]))
    assert (summary["labels"], summary["failed_labels"]) == (3, 1)
    assert summary["acceptance"] == 0.75
    assert summary["sigma_delta_h"] == pytest.approx(0.01)


def test_what_cannot_be_known_is_none() -> None:
    """Fails where a NaN goes to the database, which refuses it."""
    nothing = summary_of(decision(0, [None, None], [False, False]))
    assert (nothing["labels"], nothing["failed_labels"], nothing["acceptance"]) == (0, 2, 0.0)
    unknown = ("creutz", "creutz_error", "sigma_delta_h", "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom")
    assert all(nothing[key] is None for key in (*unknown, "predicted_acceptance", "energy_rmse_centred_mev_per_atom"))
    single = summary_of(decision(0, [0.0, None], [True, False]))
    assert single["creutz"] == 1.0
    assert single["sigma_delta_h"] is None


def test_cycles_are_ordered_by_name() -> None:
    """Fails where the order of keyword arguments matters: AiiDA does not keep it."""
    first, second = decision(0, [0.01, 0.02], [True, False]), decision(1, [0.5, None], [False, False], epoch=6)
    summary = summarise_epoch(decide_00001=second, decide_00000=first)
    assert summary["epoch"] == 5


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


RULE = {"target_acceptance": 0.65, "rate": 1.0, "n_steps_min": 5, "n_steps_max": 100}


@pytest.mark.parametrize(
    ("acceptance", "expected"), [(1.0, 28), (0.65, 20), (0.0, 10)], ids=["longer", "the same", "shorter"]
)
def test_length_follows_the_acceptance(acceptance: float, expected: int) -> None:
    """Fails where the length moves the wrong way."""
    new = adapt_length(orm.Dict({"n_steps": 20}), orm.Dict(RULE), orm.Dict({"acceptance": acceptance}))
    assert new["n_steps"] == expected
    assert new["log_n_steps"] == pytest.approx(math.log(20) + acceptance - 0.65)


def test_small_changes_of_the_length_add_up() -> None:
    """Fails where the length is rounded between epochs: a small rate would then never change it."""
    length = orm.Dict({"n_steps": 10})
    for _ in range(5):
        length = adapt_length(length, orm.Dict(RULE | {"rate": 0.05}), orm.Dict({"acceptance": 1.0}))
    assert length["n_steps"] == 11


@pytest.mark.parametrize(("start", "acceptance", "bound"), [(99, 1.0, 100), (6, 0.0, 5)])
def test_length_stays_within_its_bounds(start: int, acceptance: float, bound: int) -> None:
    new = adapt_length(orm.Dict({"n_steps": start}), orm.Dict(RULE), orm.Dict({"acceptance": acceptance}))
    assert new["n_steps"] == bound


def test_history() -> None:
    epochs = [orm.Dict({"epoch": i, "labels": 4 + i}).store() for i in range(3)]
    history = summarise_run(**{f"epoch_{i:04d}": epochs[i] for i in (1, 2, 0)}).get_dict()
    assert [epoch["epoch"] for epoch in history["epochs"]] == [0, 1, 2]
    assert history["labels"] == 15

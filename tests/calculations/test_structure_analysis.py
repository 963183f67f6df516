"""Calculation functions of the analysis: what they are given of a trajectory, and what they keep."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from fixtures import rutile_atoms
from test_epoch_functions import chain_of, decision

from aiida_slhmc.calculations.epoch import collect_block
from aiida_slhmc.calculations.structure_analysis import (
    analyse_structure,
    check_against_structure,
    compare_structure,
    forward_errors,
    validate_analysis,
)

ANALYSIS = {"centre": "Ti", "neighbour": "O", "n_resamples": 20, "n_peak_resamples": 10, "coordination_cutoff": 2.4}


def trajectory(strain: float = 0.0, n_frames: int = 24, **attributes: object) -> orm.TrajectoryData:
    """Rutile that swings."""
    atoms = rutile_atoms()
    generator = np.random.default_rng(int(1000 * strain))
    stretch = 1 + strain + 0.003 * generator.standard_normal((n_frames, 1, 1))
    node = orm.TrajectoryData()
    node.set_trajectory(
        list(atoms.symbols),
        atoms.positions * stretch + 0.02 * generator.standard_normal((n_frames, len(atoms), 3)),
        cells=atoms.cell.array * stretch,
        pbc=[True, True, True],
    )
    node.base.attributes.set_many({"ensemble": "npt", "role": "adapted_md", "temperature": 300.0} | attributes)
    return node.store()


@pytest.fixture(scope="module")
def analysed(aiida_profile):
    return analyse_structure(
        trajectory=trajectory(),
        parameters=orm.Dict(ANALYSIS),
        functional=orm.Str("pbe"),
        labels=orm.Int(32),
        is_final=orm.Bool(False),
    )


def test_metrics_say_what_they_are_of(analysed):
    expected = {"functional": "pbe", "ensemble": "npt", "role": "adapted_md", "labels": 32, "is_final": False}
    assert analysed["metrics"]["sample"] == expected
    assert analysed["curves"].base.attributes.get("sample") == expected
    assert (analysed["metrics"]["temperature"], analysed["metrics"]["pressure"]) == (300.0, None)


def test_the_foundation_has_no_functional(aiida_profile):
    metrics = analyse_structure(trajectory=trajectory(), parameters=orm.Dict(ANALYSIS))["metrics"]
    assert metrics["sample"]["functional"] is None
    assert metrics["sample"]["is_final"] is True


def test_walkers_of_a_chain_are_the_blocks_of_the_cell(aiida_profile):
    chain = trajectory(role="slhmc_chain", n_walkers=4)
    assert analyse_structure(trajectory=chain, parameters=orm.Dict(ANALYSIS))["metrics"]["cell"]["block_length"] == 6
    accepted = trajectory(role="slhmc_accepted", n_walkers=4)  # walkers have different numbers of these
    assert analyse_structure(trajectory=accepted, parameters=orm.Dict(ANALYSIS))["metrics"]["cell"]["block_length"] > 6


def test_what_cannot_be_known_is_none_and_not_nan(aiida_profile):
    metrics = analyse_structure(trajectory=trajectory(n_frames=1), parameters=orm.Dict(ANALYSIS))["metrics"]
    assert metrics["cell"]["volume"][1] is None


def test_comparison(aiida_profile):
    both = [trajectory(), trajectory(0.02)]
    parameters = orm.Dict(ANALYSIS).store()
    metrics = [analyse_structure(trajectory=node, parameters=parameters)["metrics"] for node in both]
    result = compare_structure(
        trajectory=both[1],
        reference=both[0],
        metrics=metrics[1],
        reference_metrics=metrics[0],
        parameters=parameters,
    )
    assert result["wasserstein"][0] == pytest.approx(0.02 * 1.95, rel=0.4)
    assert result["wasserstein"][0] > 3 * result["floor"][0]
    assert (result["sample"], result["reference"]) == (metrics[1]["sample"], metrics[0]["sample"])


def test_labels_say_whether_a_stand_in_made_them(labelled):
    """Fails where a study without references passes for one of DFT."""
    dataset = collect_block(label_0=labelled(1), label_1=labelled(2))
    for labels, expected in (({"dataset": dataset}, True), ({}, None)):
        metrics = analyse_structure(trajectory=trajectory(), parameters=orm.Dict(ANALYSIS), **labels)["metrics"]
        assert metrics["stand_in"] is expected
    chain = trajectory(role="slhmc_chain", stand_in=True, n_walkers=2)
    assert analyse_structure(trajectory=chain, parameters=orm.Dict(ANALYSIS))["metrics"]["stand_in"] is True


def test_forward_errors_by_labels_that_the_model_knew(aiida_profile):
    first = chain_of(decision(0, [0.01, 0.02], [True, False]), decision(1, [0.01, None], [True, False]))
    second = chain_of(decision(0, [0.01, 0.02], [True, False]))
    result = forward_errors(functional=orm.Str("hse06"), epoch_0000=first, epoch_0001=second)
    assert (result["functional"], result["ensemble"]) == ("hse06", "npt")
    assert [row["labels_before"] for row in result["updates"]] == [0, 3]
    assert result["updates"][1]["force_rmse_mev_per_angstrom"] == pytest.approx(100.0)
    assert result["updates"][0]["energy_rmse_mev_per_atom_error"] > 0


def test_parameters_are_refused_at_the_port(aiida_profile):
    assert validate_analysis(orm.Dict(ANALYSIS), None) is None
    assert "coordination_cutoff" in validate_analysis(orm.Dict(ANALYSIS | {"coordination_cutoff": 0}), None)
    assert "missing" in validate_analysis(orm.Dict({"centre": "Ti"}), None)


def test_an_analysis_that_the_structure_cannot_have(structure):
    assert check_against_structure(orm.Dict(ANALYSIS), structure) is None
    assert "there is no Zr" in check_against_structure(orm.Dict(ANALYSIS | {"centre": "Zr"}), structure)
    # two formula units
    assert check_against_structure(orm.Dict(ANALYSIS | {"replication": [1, 1, 2]}), structure) is None
    assert "3 unit cells, which" in check_against_structure(orm.Dict(ANALYSIS | {"replication": [1, 1, 3]}), structure)

"""Proposals with a committee: what is refused, a real job in processes of its own, and how its spread is read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from aiida import orm
from aiida.engine import run, run_get_node
from committee import member, without_titanium
from fixtures import FOUNDATION_FILE
from test_epoch_functions import chain_of, decision, small_chain
from test_mace_proposal_parser import CODES, RESULT, arrays, make_parse, npz
from test_metropolis import decide, diverged_proposals, nodes, proposals_node  # noqa: F401

from aiida_slhmc.calculations.epoch import read_chain, summarise_epoch
from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
from aiida_slhmc.worker.potential import MacePotential

SPREADS = ("committee_energy_spread", "committee_force_spread")


@pytest.fixture(scope="module")
def members(aiida_profile, tmp_path_factory) -> dict[str, MaceModelData]:
    """Two models that are not quite the foundation model."""
    folder = tmp_path_factory.mktemp("members")
    return {f"member_{seed}": member(folder, seed) for seed in (1, 2)}


def test_wrong_members_are_refused(proposal_inputs, members, tmp_path) -> None:
    """Fails where a member that cannot be asked, or that would be lost by its name, is only found out in the queue."""
    model = members["member_1"]
    for committee, message in (
        ({"first": model}, "must be named member_1, member_2, …, not first"),
        ({"member_1": model, "member_02": model}, "not member_02"),
        ({"member_1": model, "member_2": without_titanium(tmp_path)}, "committee.member_2: the model does not know Ti"),
        ({"member_1": orm.Int(1)}, "expected <class .*MaceModelData"),
    ):
        with pytest.raises(ValueError, match=message):
            run(MaceProposalCalculation, **proposal_inputs | {"committee": committee})


def test_a_real_job(proposal, proposal_inputs, members, walkers) -> None:
    """Fails where members are not copied, or where they change anything but the spread."""
    _, node = run_get_node(MaceProposalCalculation, **proposal_inputs | {"committee": members})
    assert node.is_finished_ok, node.exit_message
    made, plain = node.outputs.proposals, proposal.outputs.proposals
    assert set(made.get_arraynames()) == set(plain.get_arraynames()) | set(SPREADS)
    for name in plain.get_arraynames():
        np.testing.assert_array_equal(made.get_array(name), plain.get_array(name))
    assert made.base.attributes.get("kernel") == plain.base.attributes.get("kernel")
    expected = _spread(node.inputs, walkers["walker_0"].arrays()["numbers"])
    for name, values in zip(SPREADS, expected, strict=True):
        np.testing.assert_allclose(made.get_array(name), values, rtol=1e-8)
        assert values.min() > 0


def _spread(inputs: Any, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evaluated here with the stored models at the end points of the job."""
    proposals = next(link.node for link in inputs._node.base.links.get_outgoing() if link.link_label == "proposals")
    energies, forces = [], []
    for node in (None, *(inputs.committee[name] for name in ("member_1", "member_2"))):
        with default_dtype(torch.float64):
            if node is None:
                model = load_checkpoint(FOUNDATION_FILE)
            else:
                with node.base.repository.as_path(node.FILENAME) as path:
                    model = load_checkpoint(path)
            potential = MacePotential(model, numbers, compute_stress=False)
            output = potential(proposals.get_array("positions"), proposals.get_array("cells"))
        energies.append(output.energies / len(numbers))
        forces.append(output.forces)
    return np.std(energies, axis=0, ddof=1), np.sqrt(np.var(forces, axis=0, ddof=1).mean(axis=(1, 2)))


@pytest.fixture
def parse_with_committee(parse, proposal_inputs, members):
    """Function: parse the output of a job that had a committee."""
    committee = {f"committee__{name}": node for name, node in members.items()}

    def with_links(name: str, inputs: Any, *others: Any) -> Any:
        return parse(name, inputs | committee, *others)

    return make_parse(with_links, proposal_inputs)


def test_unknown_spreads_are_no_failure(parse_with_committee) -> None:
    """NaN is let pass there and nowhere else."""
    spreads = dict.fromkeys(SPREADS, np.array([np.nan, 0.1]))
    outputs, node = parse_with_committee(json.dumps(RESULT), npz(arrays(**spreads)))
    assert node.is_finished_ok, node.exit_message
    for name in SPREADS:
        np.testing.assert_array_equal(outputs["proposals"].get_array(name), [np.nan, 0.1])


def test_spreads_that_are_missing(parse_with_committee) -> None:
    """Fails where a committee was asked for and nobody notices that it was not."""
    outputs, node = parse_with_committee(json.dumps(RESULT), npz(arrays()))
    assert node.exit_status == CODES.ERROR_OUTPUT_INCOMPLETE.status
    assert "committee_energy_spread" in node.exit_message
    assert not outputs


def test_the_decision_hands_them_on(nodes) -> None:  # noqa: F811
    """Fails where they change a decision, are lost, or stand where there was no committee."""
    plain, _ = decide(proposals_node(), nodes)
    assert not [key for key in plain if key.startswith("committee")]
    spreads = {name: np.array([0.25, 0.5]) for name in SPREADS}
    result, node = decide(proposals_node(**spreads), nodes)
    assert node.is_finished_ok, node.exit_message
    assert result == plain | {name: [0.25, 0.5] for name in SPREADS}


def test_a_diverged_walker_has_none(nodes) -> None:  # noqa: F811
    """None, as the database has no NaN."""
    del nodes["label_1"]
    diverged = diverged_proposals([False, True])
    content = {name: diverged.get_array(name) for name in diverged.get_arraynames()}
    spreads = {name: np.array([0.25, np.nan]) for name in SPREADS}
    result, node = decide(proposals_node(**content | spreads), nodes)
    assert node.is_finished_ok, node.exit_message
    assert [result[name] for name in SPREADS] == [[0.25, None], [0.25, None]]


def test_chain_and_summary() -> None:
    """Series only where there was a committee; a summary without one has no word of it."""
    assert not [name for name in small_chain().get_arraynames() if name.startswith("committee")]
    assert not [key for key in summarise_epoch(small_chain()).get_dict() if key.startswith("committee")]
    rows = [dict.fromkeys(SPREADS, values) for values in ([0.1, None], [0.2, 0.3])]
    pairs = (([0.01, None], [True, False]), ([0.03, 0.0], [False, True]))
    chain = chain_of(*(decision(i, *pair, **row) for i, (pair, row) in enumerate(zip(pairs, rows, strict=True))))
    series, _ = read_chain(chain)
    for name in SPREADS:
        np.testing.assert_array_equal(series[name], [[0.1, np.nan], [0.2, 0.3]])
    summary = summarise_epoch(chain).get_dict()
    assert summary["committee_force_spread_mev_per_angstrom"] == pytest.approx(200.0)
    assert summary["committee_energy_spread_mev_per_atom"] == pytest.approx(200.0)
    assert summary["committee_force_correlation"] is None, "four labels say nothing"

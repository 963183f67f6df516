"""EpochWorkChain: the chain is consistent, replayable, and survives labels that fail."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from committee import member, without_titanium
from run_examples import PROPOSALS, called, computed, lose_first_call

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.report.run_state import _read_epoch
from aiida_slhmc.standin.misbehave import draw
from aiida_slhmc.targets.vasp_work_chain import VaspLabelWorkChain
from aiida_slhmc.workflows import epoch
from aiida_slhmc.workflows.epoch import EpochWorkChain

CODES = EpochWorkChain.exit_codes


def decisions(node: orm.WorkChainNode) -> list[orm.CalcFunctionNode]:
    return called(node, "metropolis")


def test_outputs(first_epoch) -> None:
    """Fails where an output is missing or counts something else."""
    assert first_epoch.is_finished_ok
    summary = first_epoch.outputs.summary
    assert (summary["n_cycles"], summary["n_walkers"], summary["labels"], summary["failed_labels"]) == (2, 2, 4, 0)
    assert first_epoch.outputs.dataset.n_frames == 4
    accepted = [row for node in decisions(first_epoch) for row in node.outputs.result["accepted"]]
    assert summary["acceptance"] == np.mean(accepted)
    assert set(accepted) == {True, False}, "or the tests below would not see a rejection"
    assert all(node.is_labelled for node in first_epoch.outputs.walkers.values())


def test_states_follow_decisions(first_epoch) -> None:
    """Fails where a rejected proposal is carried on, an accepted one is not, or a walker gets another's state."""
    states = {k: first_epoch.inputs.walkers[f"walker_{k}"].uuid for k in range(2)}
    proposals = called(first_epoch, "MaceProposalCalculation")
    for proposal, decision in zip(proposals, decisions(first_epoch), strict=True):
        for k in range(2):
            assert proposal.inputs.states[f"walker_{k}"].uuid == states[k]
            assert decision.inputs[f"state_{k}"].uuid == states[k]
            label = decision.inputs[f"label_{k}"]
            assert label.creator.inputs.structure.uuid == proposal.outputs.structures[f"walker_{k}"].uuid
            if decision.outputs.result["accepted"][k]:
                states[k] = label.uuid
    assert {k: first_epoch.outputs.walkers[f"walker_{k}"].uuid for k in range(2)} == states


def test_block_is_all_labels_accepted_or_not(first_epoch) -> None:
    """Fails where only accepted configurations are trained on."""
    labels = [node.inputs[f"label_{k}"].uuid for node in decisions(first_epoch) for k in range(2)]
    block = first_epoch.outputs.dataset
    links = block.creator.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all()
    assert [link.node.uuid for link in sorted(links, key=lambda link: link.link_label)] == labels


def test_replay_is_bit_for_bit_and_the_context_small(first_epoch, epoch_builder) -> None:
    """Fails where anything but seed and place decides, or where the context grows with the number of cycles."""
    process = instantiate_process(get_manager().get_runner(), epoch_builder())
    process.execute()
    node = process.node
    assert node.is_finished_ok, node.exit_message
    for label in ("MaceProposalCalculation", "VaspCalculation"):
        assert len(computed(node, label)) == len(called(node, label)), "nothing came from the cache"
    for old, new in zip(decisions(first_epoch), decisions(node), strict=True):
        assert new.outputs.result.get_dict() == old.outputs.result.get_dict()
        for name in ("energies", "positions", "momenta"):
            arrays = [decision.inputs.proposals.get_array(name) for decision in (old, new)]
            np.testing.assert_array_equal(*arrays)
        assert [new.inputs[f"label_{k}"].energy for k in range(2)] == [
            old.inputs[f"label_{k}"].energy for k in range(2)
        ]
    assert set(process.ctx) == {
        "cycle",
        "failed_in_a_row",
        "diverged_in_a_row",
        "states",
        "restart_folders",
        "proposal",
        "label_0",
        "label_1",
    }
    assert len(process.ctx.states) == len(process.ctx.restart_folders) == 2


def test_committee(first_epoch, epoch_builder, tmp_path) -> None:
    """Real jobs with two members. Fails where members change the chain, or what they say is lost on the way."""
    committee = {f"member_{seed}": member(tmp_path, seed) for seed in (1, 2)}
    lone = without_titanium(tmp_path)
    with pytest.raises(ValueError, match=r"committee\.member_1: the model does not know Ti"):
        run_get_node(epoch_builder(committee={"member_1": lone}))
    with enable_caching(identifier="aiida.calculations:vasp.vasp"):
        _, node = run_get_node(epoch_builder(n_cycles=orm.Int(1), committee=committee))
    assert node.is_finished_ok, node.exit_message
    (proposal,) = called(node, "MaceProposalCalculation")
    assert {name: data.uuid for name, data in proposal.inputs.committee.items()} == {
        name: data.uuid for name, data in committee.items()
    }
    result, plain = (decisions(epoch_node)[0].outputs.result.get_dict() for epoch_node in (node, first_epoch))
    spreads = {key: result.pop(key) for key in list(result) if key.startswith("committee")}
    assert result == plain, "the same decisions, to the bit"
    spread = proposal.outputs.proposals.get_array("committee_force_spread")
    assert spreads["committee_force_spread"] == pytest.approx(spread.tolist(), rel=1e-12)
    np.testing.assert_allclose(node.outputs.chain.get_array("committee_force_spread"), [spread], rtol=1e-12)
    assert spread.min() > 0
    summary = node.outputs.summary.get_dict()
    assert summary["committee_force_spread_mev_per_angstrom"] == pytest.approx(1000 * spread.mean())
    assert summary["committee_force_correlation"] is None, "of two labels"
    assert not [key for key in first_epoch.outputs.summary.get_dict() if key.startswith("committee")]


def test_failed_label_is_a_rejection(first_epoch, epoch_builder) -> None:
    """Fails where one configuration that cannot be labelled stops the run, is accepted, or goes unrecorded."""
    structures = called(first_epoch, "MaceProposalCalculation")[0].outputs.structures
    draws = [draw(structures[f"walker_{k}"].get_ase()) for k in range(2)]
    failing = int(np.argmin(draws))
    with enable_caching(identifier=PROPOSALS):
        _, node = run_get_node(epoch_builder("no_xml", float(np.mean(draws)), n_cycles=orm.Int(1)))
    assert node.is_finished_ok, node.exit_message
    (decision,) = decisions(node)
    assert decision.outputs.result["accepted"][failing] is False
    assert decision.outputs.result["delta_h"][failing] is None
    record, label = (decision.inputs[f"label_{k}"] for k in (failing, 1 - failing))
    assert not record.is_labelled
    assert "exit code 422" in record.base.attributes.get("unlabelled_reason")
    assert label.is_labelled
    name = f"walker_{failing}"
    assert node.outputs.walkers[name].uuid == node.inputs.walkers[name].uuid
    summary = node.outputs.summary
    assert (summary["labels"], summary["failed_labels"]) == (1, 1)
    assert node.outputs.dataset.get_uuids() == [label.uuid]


def test_too_many_failed_labels(epoch_builder) -> None:
    """Fails where a target that never works burns the whole budget, or the record of it is lost."""
    with enable_caching(identifier=PROPOSALS):
        _, node = run_get_node(epoch_builder("no_xml", max_failed_labels=orm.Int(2)))
    assert node.exit_status == CODES.ERROR_TOO_MANY_FAILED_LABELS.status
    assert "2 labels in a row failed" in node.exit_message
    assert "exit code 422" in node.exit_message
    assert len(decisions(node)) == 1, "it stopped after the first cycle"
    assert node.outputs.summary["failed_labels"] == 2
    assert "dataset" not in node.outputs
    assert len(called(node, "record_unlabelled")) == 2
    for k in range(2):
        assert node.outputs.walkers[f"walker_{k}"].uuid == node.inputs.walkers[f"walker_{k}"].uuid


def test_failed_proposal(epoch_builder, first_epoch, computer) -> None:
    """Fails where the epoch goes on without a proposal, or does not say what became of it."""
    code = orm.InstalledCode(label="false", computer=computer, filepath_executable="false").store()
    _, node = run_get_node(epoch_builder(proposal={"code": code}))
    assert node.exit_status == CODES.ERROR_PROPOSAL_FAILED.status
    assert "cycle 0" in node.exit_message
    assert "exit code 300" in node.exit_message
    assert not called(node, "VaspCalculation")
    assert "chain" not in node.outputs


@pytest.mark.parametrize(
    ("process", "method", "cached"),
    [
        (MaceProposalCalculation, "prepare_for_submission", "aiida.calculations:vasp.vasp"),
        (VaspLabelWorkChain, "make_label", None),
    ],
    ids=["proposal", "label"],
)
def test_what_aiida_lost_is_launched_again(
    epoch_builder, first_epoch, monkeypatch, process: type, method: str, cached: str | None
) -> None:
    """A proposal or a label excepts. Fails where that ends the epoch, counts as a rejection, or changes the chain."""
    lose_first_call(monkeypatch, process, method)
    with enable_caching(identifier=cached):
        _, node = run_get_node(epoch_builder(n_cycles=orm.Int(1)))
    assert node.is_finished_ok, node.exit_message
    lost = [child for child in node.called if child.is_excepted]
    assert [child.process_label for child in lost] == [process.__name__]
    (decision,) = decisions(node)
    assert decision.outputs.result.get_dict() == decisions(first_epoch)[0].outputs.result.get_dict()
    assert node.outputs.summary["failed_labels"] == 0


def test_what_is_lost_twice_is_a_failed_label(epoch_builder, first_epoch, monkeypatch) -> None:
    """Fails where an error that comes back is tried for ever, or its reason is not on record."""

    def make_label(*_):
        raise ValueError("not a number")

    monkeypatch.setattr(VaspLabelWorkChain, "make_label", make_label)
    with enable_caching():
        _, node = run_get_node(epoch_builder(n_cycles=orm.Int(1), max_failed_labels=orm.Int(2)))
    assert node.exit_status == CODES.ERROR_TOO_MANY_FAILED_LABELS.status
    assert "excepted: ValueError: not a number" in node.exit_message
    assert len(called(node, "VaspLabelWorkChain")) == 4


def check_first_cycle_is_kept(node: orm.WorkChainNode, whole: orm.WorkChainNode) -> None:
    """Outputs are those of the first of two cycles, as in the *whole* epoch."""
    assert {"dataset", "chain", "summary"} <= set(node.outputs)
    np.testing.assert_array_equal(node.outputs.chain.get_array("delta_h"), whole.outputs.chain.get_array("delta_h")[:1])
    assert (node.outputs.summary["n_cycles"], node.outputs.summary["labels"]) == (1, 2)
    assert node.outputs.dataset.n_frames == 2
    second = called(whole, "MaceProposalCalculation")[1]
    for k in range(2):
        energies = [walkers[f"walker_{k}"].energy for walkers in (node.outputs.walkers, second.inputs.states)]
        assert energies[0] == energies[1], "the walkers go on from where they were"


def test_failed_proposal_keeps_what_was_decided(epoch_builder, first_epoch, computer, monkeypatch) -> None:
    """Fails where labels that are paid for are lost because a later job did not run."""
    code = orm.InstalledCode(label="false-later", computer=computer, filepath_executable="false").store()
    launch = epoch.launch_once

    def failing_later(parent, process, label, inputs, **options):
        given = inputs | ({"code": code} if label == "propose_00001" else {})
        return launch(parent, process, label, given, **options)

    monkeypatch.setattr(epoch, "launch_once", failing_later)
    with enable_caching():
        _, node = run_get_node(epoch_builder())
    assert node.exit_status == CODES.ERROR_PROPOSAL_FAILED.status
    assert "cycle 1" in node.exit_message
    check_first_cycle_is_kept(node, first_epoch)


def test_failed_decision_keeps_what_was_decided(epoch_builder, first_epoch, monkeypatch) -> None:
    """Fails where a failed decision passes for one with a result, or takes those before it with it."""
    run_once = epoch.run_once

    def swapped(parent, function, label, inputs, **options):
        if label == "decide_00001":
            inputs |= {"label_0": inputs["label_1"], "label_1": inputs["label_0"]}
        return run_once(parent, function, label, inputs, **options)

    monkeypatch.setattr(epoch, "run_once", swapped)
    with enable_caching():
        _, node = run_get_node(epoch_builder())
    assert node.exit_status == CODES.ERROR_DECISION_FAILED.status
    assert "cycle 1" in node.exit_message
    check_first_cycle_is_kept(node, first_epoch)


def test_one_divergence_is_a_rejection(with_divergence, first_epoch) -> None:
    """Fails where one walker's trajectory ends the epoch, is labelled, or counts as a label that failed."""
    node, guilty = with_divergence
    assert node.is_finished_ok, node.exit_message
    (decision,) = decisions(node)
    assert decision.outputs.result["diverged"] == [k == guilty for k in range(2)]
    assert len(called(node, "VaspLabelWorkChain")) == 1
    assert not called(node, "record_unlabelled")
    assert f"label_{guilty}" not in decision.inputs
    plain = decisions(first_epoch)[0].outputs.result
    for key in ("delta_h", "accepted", "random_number"):
        assert decision.outputs.result[key][1 - guilty] == plain[key][1 - guilty], "the other walker does not notice"
    summary = node.outputs.summary
    assert [summary[key] for key in ("labels", "failed_labels", "diverged")] == [1, 0, 1]
    assert node.outputs.dataset.get_uuids() == [decision.inputs[f"label_{1 - guilty}"].uuid]
    name = f"walker_{guilty}"
    assert node.outputs.walkers[name].uuid == node.inputs.walkers[name].uuid
    messages = [log.message for log in orm.Log.collection.get_logs_for(node)]
    assert any(f"cycle 0, {name}: diverged" in text and "beyond the bound" in text for text in messages)
    state = _read_epoch(node.pk, "finished", 0)
    assert (state.proposed, state.labels) == (2, 1)


def test_label_of_the_cycle_before_is_not_taken(with_divergence, first_epoch, epoch_builder) -> None:
    """The context still holds it. Fails where a walker that diverged gets the last cycle's label."""
    node, guilty = with_divergence
    process = instantiate_process(get_manager().get_runner(), epoch_builder())
    process.setup()
    (process.ctx.proposal,) = called(node, "MaceProposalCalculation")
    (process.ctx[f"label_{1 - guilty}"],) = called(node, "VaspLabelWorkChain")
    process.ctx[f"label_{guilty}"] = called(first_epoch, "VaspLabelWorkChain")[-1]
    states = list(process.ctx.states)
    assert process.decide() is None
    assert process.ctx.states[guilty] == states[guilty]


def test_divergences_are_no_failed_labels(with_divergence, epoch_builder) -> None:
    """Fails where the epoch stops because trajectories diverge, as if the target did not work."""
    node, guilty = with_divergence
    process = instantiate_process(get_manager().get_runner(), epoch_builder(max_failed_labels=orm.Int(1)))
    process.setup()
    (process.ctx.proposal,) = called(node, "MaceProposalCalculation")
    (process.ctx[f"label_{1 - guilty}"],) = called(node, "VaspLabelWorkChain")
    assert process.decide() is None
    assert process.ctx.failed_in_a_row == 0


@pytest.mark.slow
def test_divergent_proposal(epoch_builder, first_epoch) -> None:
    """Fails where a trajectory that diverged is labelled, or an epoch goes on in which nothing else happens."""
    parameters = first_epoch.inputs.parameters.get_dict() | {"max_integration_error": 1e-9}
    _, node = run_get_node(epoch_builder(parameters=orm.Dict(parameters)))
    assert node.exit_status == CODES.ERROR_ALL_DIVERGED.status
    assert "All trajectories of 2 cycles in a row diverged" in node.exit_message
    assert "beyond the bound of 1e-09 eV" in node.exit_message
    assert not called(node, "VaspCalculation")
    assert "dataset" not in node.outputs
    assert not node.outputs.chain.get_array("accepted").any()
    for name, walker in node.outputs.walkers.items():
        assert walker.uuid == node.inputs.walkers[name].uuid


def test_label_of_another_configuration(first_epoch, epoch_builder) -> None:
    """Fails where a label that was mixed up decides on a proposal."""
    first, second = called(first_epoch, "MaceProposalCalculation")
    process = instantiate_process(get_manager().get_runner(), epoch_builder())
    process.setup()
    process.ctx.proposal = first
    others = {node.inputs.structure.uuid: node for node in called(first_epoch, "VaspLabelWorkChain")}
    for k in range(2):
        process.ctx[f"label_{k}"] = others[second.outputs.structures[f"walker_{k}"].uuid]
    code = process.decide()
    assert code.status == CODES.ERROR_DECISION_FAILED.status
    assert "not of the configuration that was proposed" in code.message
    # the control: with its own labels the same step decides
    for k in range(2):
        process.ctx[f"label_{k}"] = others[first.outputs.structures[f"walker_{k}"].uuid]
    process.ctx.cycle = 1
    assert process.decide() is None

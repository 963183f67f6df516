"""Parts of a transfer that fail: the others are there, and the exit code names what is missing and why."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm
from made_transfer import chain, child, made_by_md, started, steps_of, swinging

from aiida_slhmc.audit import transfers
from aiida_slhmc.audit.transfers import check_transfer
from aiida_slhmc.calculations.epoch import collect_block
from aiida_slhmc.workflows import transfer
from aiida_slhmc.workflows.transfer import TransferWorkChain

CODES = TransferWorkChain.exit_codes
# so large that the window of the peak holds nothing
TORN = 1.4


@pytest.fixture(scope="module")
def nodes(foundation, labelled, computer) -> dict[str, Any]:
    """Two blocks of two labels, and the models that were trained on one of them and on both."""
    blocks = [collect_block(a=labelled(seed), b=labelled(seed + 1)) for seed in (1, 3)]
    models = [foundation.clone().store() for _ in range(2)]
    return {"foundation": foundation, "blocks": blocks, "models": models, "computer": computer}


def process_of(study_builder: Any, nodes: dict[str, Any], **more: Any) -> TransferWorkChain:
    """A transfer in nvt that has its run and dynamics with both models; *more* changes the dynamics."""
    builder = study_builder(ensembles={"npt": None}, control=None)
    model = nodes["foundation"]
    first = made_by_md(nodes["computer"], model, swinging(role="foundation_md"))
    inputs = builder.functionals["pbe"] | {"analysis": builder.analysis, "foundation": {"nvt": first}}
    process = started(inputs)
    blocks, models = nodes["blocks"], nodes["models"]
    given = {"model": model, "structure": inputs["nvt"]["slhmc"]["structure"]}
    named = {f"datasets__block_{k:04d}": block for k, block in enumerate(blocks)}
    run = child(process.node, "slhmc_nvt", "run", given, {"model": models[1], **named})
    for k, trained in enumerate(models, start=1):
        known = {f"datasets__block_{i:04d}": blocks[i] for i in range(k)}
        child(run, f"fine_tune_{k:04d}", "training", known, {"model": trained})
    if more.get("has_epoch", True):
        child(run, "epoch_0000", "reference", {}, {"chain": chain()})
    process.ctx.slhmc_nvt = run
    for k, trained in enumerate(models, start=1):
        if f"adapted_{k}" in more and more[f"adapted_{k}"] is None:
            continue
        sampled = made_by_md(nodes["computer"], trained, swinging(more.get(f"adapted_{k}", 1.0), role="adapted_md"))
        label = f"nvt_adapted_{2 * k:05d}"
        child(process.node, label, "md", {"model": trained}, {"trajectory": sampled})
    return process


def analysed(process: TransferWorkChain) -> Any:
    """The exit code, after all steps that analyse; there is no reference, as if it had been refused."""
    with steps_of(process):
        assert process.inspect_adaptation() is None
        process.inspect_production()
        while process.has_samples_left():
            process.analyse()
        return process.finish()


@pytest.fixture(scope="module")
def sound(study_builder, nodes) -> TransferWorkChain:
    """A transfer without a failure."""
    process = process_of(study_builder, nodes)
    assert analysed(process) is None
    return process


def test_a_sound_transfer_is_of_what_it_says(sound) -> None:
    """The control of the tests below, and what the audit finds in it: nothing."""
    assert set(sound.outputs["metrics"]) == {"nvt_adapted_00002", "nvt_adapted_00004", "nvt_foundation"}
    samples = {name: node["sample"] for name, node in sound.outputs["metrics"].items()}
    assert {name: sample["is_final"] for name, sample in samples.items() if "adapted" in name} == {
        "nvt_adapted_00002": False,
        "nvt_adapted_00004": True,
    }
    # a stand-in made the labels, and no reference says it
    stand_ins = {name: node["stand_in"] for name, node in sound.outputs["metrics"].items()}
    assert stand_ins == {"nvt_adapted_00002": True, "nvt_adapted_00004": True, "nvt_foundation": None}
    checked = list(check_transfer(sound.node))
    assert len(checked) > 10
    assert [problem for problem in checked if problem] == []


def test_an_analysis_that_fails_is_named_and_the_rest_is_there(study_builder, nodes) -> None:
    """Fails where an exception in one of them ends the transfer."""
    process = process_of(study_builder, nodes, adapted_1=TORN)
    code = analysed(process)
    assert code.status == CODES.ERROR_INCOMPLETE.status
    assert "analysis of nvt_adapted_00002: analyse_structure" in code.message
    assert "no distance" in code.message
    assert set(process.outputs["metrics"]) == {"nvt_adapted_00004", "nvt_foundation"}
    assert set(process.outputs["forward"]) == {"nvt"}


def test_without_the_last_models_dynamics_no_other_is_the_last(study_builder, nodes) -> None:
    process = process_of(study_builder, nodes, adapted_2=None)
    analysed(process)
    assert process.outputs["metrics"]["nvt_adapted_00002"]["sample"]["is_final"] is False


def test_a_run_without_a_chain_has_no_forward_errors(study_builder, nodes) -> None:
    code = analysed(process_of(study_builder, nodes, has_epoch=False))
    assert "forward errors of nvt: no epoch has left a chain" in code.message


def test_a_part_that_is_refused_is_missing(study_builder, nodes, monkeypatch) -> None:
    """Fails where the refusal of the reference's inputs, which were not there at submission, ends everything."""
    process = process_of(study_builder, nodes)
    launched = []

    def launch(parent: Any, kind: Any, label: str, _: Any) -> orm.ProcessNode:
        if label == "nvt_reference":
            raise ValueError("all walkers must be labelled")
        launched.append(label)
        return next(link.node for link in parent.node.base.links.get_outgoing() if link.link_label == label)

    monkeypatch.setattr(transfer, "launch_once", launch)
    monkeypatch.setattr(transfer, "reference_inputs", lambda *_: {})
    with steps_of(process):
        process.inspect_adaptation()
        process.produce()
    assert launched == ["nvt_adapted_00004"]
    assert process.ctx.missing == [
        "nvt_reference: EpochWorkChain was not launched: all walkers must be labelled",
    ]


@pytest.mark.parametrize(
    ("name", "make", "problem"),
    [
        ("labels", lambda: orm.Int(3), "labels is 3, and should be 4"),
        ("is_final", lambda: orm.Bool(False), "is_final is False, and should be True"),
        ("functional", lambda: orm.Str("hse06"), "called hse06, and the labels are of pbe"),
        ("trajectory", lambda: swinging(role="adapted_md").store(), "is of another trajectory"),
    ],
)
def test_what_an_analysis_is_said_to_be_of_is_checked(sound, monkeypatch, name, make, problem) -> None:
    """Fails where a model of fewer labels, or the foundation, may pass for the last one."""
    meant = next(
        link.node for link in sound.node.base.links.get_outgoing() if link.link_label == "analyse_nvt_adapted_00004"
    )
    wrong, read = make(), transfers.inputs_of

    def altered(node: orm.ProcessNode) -> dict[str, Any]:
        return read(node) | ({name: wrong} if node.uuid == meant.uuid else {})

    monkeypatch.setattr(transfers, "inputs_of", altered)
    found = [text for text in check_transfer(sound.node) if text]
    assert any(problem in text for text in found), found
    assert all("00004" in text for text in found)

"""A study of which one transfer fails: the other's tables are there, and say what is missing."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from made_transfer import child
from study_examples import whole_study

from aiida_slhmc.audit.transfers import check_study
from aiida_slhmc.workflows import study
from aiida_slhmc.workflows.study import StudyWorkChain

CODES = StudyWorkChain.exit_codes


def outputs_of_a_transfer() -> dict[str, orm.Data]:
    """Towards r2scan, at constant volume, by the labels of the links."""
    whole = whole_study(("r2scan",))
    outputs: dict[str, orm.Data] = {}
    for sample in (sample for sample in whole.samples if sample.ensemble == "nvt"):
        name = "nvt_foundation" if sample.functional is None else f"nvt_{sample.role}_{sample.labels}"
        outputs |= {f"metrics__{name}": orm.Dict(sample.metrics), f"curves__{name}": orm.ArrayData(sample.curves)}
    compared = (row for row in whole.comparisons if row["sample"]["ensemble"] == "nvt")
    return outputs | {f"comparisons__nvt_{k}": orm.Dict(row) for k, row in enumerate(compared)}


@pytest.fixture
def process(study_builder) -> StudyWorkChain:
    """After its transfers: that to pbe, the first, failed when it had no more than its history."""
    builder = study_builder(("pbe", "r2scan"), ensembles={"npt": None}, control=None)
    made = instantiate_process(get_manager().get_runner(), StudyWorkChain, **builder._inputs(prune=True))
    history = orm.Dict({"epochs": whole_study(("pbe",)).histories[0]["epochs"]})
    left = {"pbe": ({"histories__nvt": history}, 410), "r2scan": (outputs_of_a_transfer(), 0)}
    for functional, (outputs, status) in left.items():
        for node in outputs.values():
            node.store()
        label = f"transfer_{functional}"
        made.ctx[label] = child(made.node, label, "transfer", {}, outputs, status)
    made.ctx.missing = []
    return made


def reported(process: StudyWorkChain) -> Any:
    with process._process_scope():
        assert process.inspect_transfers() is None
        code = process.write_report()
    process.update_outputs()
    return code


def test_one_functional_fails_and_the_other_is_reported(process) -> None:
    """Fails where the foundation, analysed by both and reported once, is lost with the first of them."""
    code = reported(process)
    assert code.status == CODES.ERROR_INCOMPLETE.status
    assert "pbe: transfer" in code.message
    tables = process.outputs["tables"].get_dict()
    assert [row["sample"] for row in tables["table_1"]["nvt"]] == [
        "Foundation MACE MD",
        "r²SCAN-adapted MACE MD",
        "r²SCAN SLHMC reference",
    ]
    verdicts = {row["functional"]: row["verdict"] for row in tables["checks"]}
    assert set(verdicts) == {"pbe", "r2scan"}
    assert verdicts["pbe"].startswith("missing: the sample of the adapted model")
    assert tables["all_hold"] is None


def test_tables_are_checked_against_the_transfers(process) -> None:
    """What the audit finds: nothing; and a transfer's output that the tables do not have."""
    code = reported(process)
    process.node.set_exit_status(code.status)
    checked = list(check_study(process.node))
    assert len(checked) > 10
    assert [problem for problem in checked if problem] == []
    more = orm.Dict({"updates": []}).store()
    child(process.node, "transfer_hse06", "transfer", {}, {"forward__nvt": more})
    problems = [problem for problem in check_study(process.node) if problem]
    assert problems == ["its tables leave out forward_hse06_nvt"]


def test_a_report_that_fails_says_why(process, monkeypatch) -> None:
    """Fails where an exception in it ends the study without a word."""

    def broken(*_: Any) -> None:
        raise ValueError("no such figure")

    monkeypatch.setattr("aiida_slhmc.calculations.study_report.draw_figures", broken)
    code = reported(process)
    assert code.status == CODES.ERROR_REPORT_FAILED.status
    assert "no such figure" in code.message


def test_a_transfer_that_is_refused_is_missing(study_builder, process, monkeypatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("the pool has too few frames")

    monkeypatch.setattr(study, "launch_once", refuse)
    for name in ("nvt", "pool"):
        process.ctx.pop(f"foundation_{name}", None)
    monkeypatch.setattr(StudyWorkChain, "_foundation", lambda _: [])
    process.transfer()
    assert process.ctx.missing == [
        f"{name}: TransferWorkChain was not launched: the pool has too few frames" for name in ("pbe", "r2scan")
    ]

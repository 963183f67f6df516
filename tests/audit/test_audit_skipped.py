"""Calls that are not executed again: which may be passed over, and which are a finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import WorkChain, calcfunction, run_get_node
from aiida.tools.archive import create_archive
from altered_archive import Tampered

from aiida_slhmc.audit.rebuild import Verdict, rebuild
from aiida_slhmc.calculations.study_report import report_study
from aiida_slhmc.workflows.children import run_once

STUDY = "aiida.workflows:slhmc.study"


@calcfunction
def measured(volume: orm.Float) -> orm.Dict:
    """What a user did before the study."""
    return orm.Dict({"volume": volume.value})


class Reporting(WorkChain):
    """Calls the report, and nothing else; the tests call it a study."""

    @classmethod
    def define(cls, spec: Any) -> None:
        super().define(spec)
        spec.input("experiment", valid_type=orm.Dict)
        spec.outline(cls.report_all)
        spec.output("tables", valid_type=orm.Dict)
        spec.output("files", valid_type=orm.FolderData)

    def report_all(self) -> None:
        """The report of no transfer."""
        node = run_once(self, report_study, "report", {"experiment": self.inputs.experiment})
        for name in ("tables", "files"):
            self.out(name, node.outputs[name])


@pytest.fixture(scope="module")
def archive(aiida_profile, tmp_path_factory) -> Path:
    _, node = run_get_node(Reporting, experiment=measured(orm.Float(31.15)))
    assert node.is_finished_ok, node.exit_message
    return create_archive([node], filename=tmp_path_factory.mktemp("archive") / "study.aiida")


@pytest.fixture
def study(archive, tmp_path) -> Tampered:
    """The archive, in which the work chain says that it is a study."""
    content = Tampered(archive, tmp_path)
    (caller,) = content.processes("Reporting")
    content.sql("UPDATE db_dbnode SET process_type = ? WHERE uuid = ?", STUDY, caller)
    return content


@pytest.fixture
def verdict_on(tmp_path) -> Callable[[Tampered], Verdict]:
    return lambda content: rebuild(content.write(), tmp_path / "rebuilt")


def test_what_a_user_did_before_is_passed_over(study, verdict_on) -> None:
    """The control of the tests below: another package's call, which no work chain of this one has made, is counted."""
    verdict = verdict_on(study)
    assert verdict.is_good, verdict.differences
    assert verdict.executed == {"report_study": 1}
    assert sum(verdict.skipped.values()) == 1
    assert "measured" in next(iter(verdict.skipped))
    assert verdict.links["Reporting"] > 0


def test_a_report_that_says_it_is_another_packages(study, verdict_on) -> None:
    """Fails where the tables of a study may come from anything that is not executed again."""
    (report,) = study.processes("report_study")
    study.sql("UPDATE db_dbnode SET process_type = ? WHERE uuid = ?", "elsewhere.report_study", report)
    verdict = verdict_on(study)
    assert not verdict.is_good
    assert any(report in text and "cannot be executed again" in text for text in verdict.differences)
    assert any("its tables were made by no report" in text for text in verdict.differences)


def test_a_call_that_did_not_finish_and_has_outputs(study, verdict_on) -> None:
    (report,) = study.processes("report_study")
    study.attributes(report, lambda values: values.update(process_state="excepted"))
    verdict = verdict_on(study)
    assert not verdict.is_good
    assert any(report in text and "did not finish, and has outputs" in text for text in verdict.differences)


def test_tables_without_a_report(study, verdict_on) -> None:
    """The report is called by the study, and has made no tables of it."""
    (report,) = study.processes("report_study")
    tables = study.outputs(report)["tables"]
    (pk,) = study.row("SELECT id FROM db_dbnode WHERE uuid = ?", report)
    (output,) = study.row("SELECT id FROM db_dbnode WHERE uuid = ?", tables)
    study.sql("DELETE FROM db_dblink WHERE input_id = ? AND output_id = ? AND type = 'create'", pk, output)
    verdict = verdict_on(study)
    assert any("its tables were made by no report" in text for text in verdict.differences)

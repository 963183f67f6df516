"""The study's tables are written anew from an archive, and one altered number in them is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.tools.archive import create_archive
from altered_archive import Tampered
from study_examples import whole_study

from aiida_slhmc.audit.rebuild import Verdict, _write, rebuild
from aiida_slhmc.calculations.study_report import report_study


@pytest.fixture(scope="module")
def report(aiida_profile) -> orm.CalcFunctionNode:
    """The report of a small study: one functional at constant volume."""
    study = whole_study()
    samples = [s for s in study.samples if s.ensemble == "nvt" and s.functional in (None, "pbe")]
    inputs: dict[str, orm.Data] = {"experiment": orm.Dict(study.experiment)}
    for k, sample in enumerate(samples):
        inputs[f"metrics_{k}"] = orm.Dict(sample.metrics)
        if sample.curves:
            inputs[f"curves_{k}"] = orm.ArrayData(dict(sample.curves))
    about = {(s.about["role"], s.about["functional"], s.about["labels"]) for s in samples}
    for k, row in enumerate(study.comparisons):
        ends = [(row[name]["role"], row[name]["functional"], row[name]["labels"]) for name in ("sample", "reference")]
        if row["sample"]["ensemble"] == "nvt" and set(ends) <= about:
            inputs[f"comparison_{k}"] = orm.Dict(row)
    _, node = report_study.run_get_node(**inputs)
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture(scope="module")
def archive(report, tmp_path_factory) -> Path:
    return create_archive([report], filename=tmp_path_factory.mktemp("archive") / "study.aiida")


@pytest.fixture
def tampered(archive, tmp_path) -> Tampered:
    return Tampered(archive, tmp_path)


@pytest.fixture
def verdict_on(tmp_path) -> Callable[[Tampered], Verdict]:
    return lambda content: rebuild(content.write(), tmp_path / "rebuilt")


def test_tables_are_rebuilt(archive, report, tmp_path) -> None:
    """Fails where files are missing, or are not those of the study."""
    verdict = rebuild(archive, tmp_path / "rebuilt")
    assert verdict.is_good, verdict.differences
    assert verdict.executed == {"report_study": 1}
    assert verdict.outputs_equal == 2
    files = report.outputs.files.base.repository
    names = {str(root / name) for root, _, found in files.walk() for name in found}
    assert {"table1.csv", "summary.json"} <= names
    assert any(name.startswith("figures/") for name in names)
    assert {Path(path) for path in verdict.written} == {tmp_path / "rebuilt" / name for name in names}
    for name in names:
        assert (tmp_path / "rebuilt" / name).read_bytes() == files.get_object_content(name, mode="rb")


def test_altered_tables(tampered, report, verdict_on, tmp_path) -> None:
    """Fails where a number in a table, a row of it or a picture may be altered, or the altered one is handed out."""
    files, tables = report.outputs.files.uuid, report.outputs.tables.uuid
    table, text = tampered.content(files, "table1.csv"), tampered.content(files, "table_a2.csv")
    lines = table.splitlines(keepends=True)
    digit = max(k for k, byte in enumerate(lines[1]) if chr(byte) in "12345678")
    lines[1] = lines[1][:digit] + bytes([lines[1][digit] + 1]) + lines[1][digit + 1 :]
    tampered.file(files, "table1.csv", b"".join(lines))
    tampered.file(files, "table_a2.csv", b"".join(text.splitlines(keepends=True)[:-1]))
    pictures = [str(path) for path in sorted(Path(name) for name in _names(report)) if path.suffix == ".png"]
    if len(pictures) > 1:
        tampered.file(files, pictures[0], tampered.content(files, pictures[1]))
    first = sorted(report.outputs.tables.get_dict())[0]
    tampered.attributes(tables, lambda values: values.__setitem__(first, "better"))
    verdict = verdict_on(tampered)
    assert not verdict.is_good
    for what in ("table1.csv", "table_a2.csv", *pictures[:1]):
        assert any(files in text and what in text for text in verdict.differences), what
    assert any(tables in text and first in text for text in verdict.differences)
    assert (tmp_path / "rebuilt" / "table1.csv").read_bytes() == table, "rebuilt, not copied"


def _names(report: orm.CalcFunctionNode) -> list[str]:
    files = report.outputs.files.base.repository
    return [str(root / name) for root, _, found in files.walk() for name in found]


def test_several_reports(report, tmp_path, aiida_profile) -> None:
    """Fails where the second overwrites the first."""
    _, other = report_study.run_get_node(experiment=orm.Dict({"volume": 31.0, "source": "another"}))
    path = create_archive([report, other], filename=tmp_path / "two.aiida")
    verdict = rebuild(path, tmp_path / "rebuilt")
    assert verdict.is_good, verdict.differences
    assert (tmp_path / "rebuilt" / "summary.json").is_file()
    assert (tmp_path / "rebuilt" / other.uuid / "summary.json").is_file()


def test_a_name_that_leads_out_of_the_folder(tmp_path, monkeypatch, aiida_profile) -> None:
    """Fails where what an archive says becomes a path anywhere on the referee's disk."""
    for name in ("../evil.csv", "/tmp/evil.csv", "sub/../../evil.csv"):
        monkeypatch.setattr("aiida_slhmc.audit.rebuild.node_files", lambda _, found=name: [found])
        with pytest.raises(ValueError, match="outside the folder"):
            _write({"files": orm.FolderData()}, tmp_path / "rebuilt")
    assert list(tmp_path.iterdir()) == []

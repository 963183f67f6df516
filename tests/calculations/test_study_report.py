"""The report of a study as a calculation function: what goes in arrives, what comes out can be read."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from aiida import orm
from study_examples import whole_study

from aiida_slhmc.calculations.study_report import report_study


def inputs_of(study: Any) -> dict[str, orm.Data]:
    """The nodes of a study, under names in no particular order."""
    nodes: dict[str, orm.Data] = {"experiment": orm.Dict(study.experiment)}
    for k, sample in enumerate(study.samples):
        suffix = f"{97 * k % 101:03d}"
        nodes |= {f"metrics_{suffix}": orm.Dict(sample.metrics), f"curves_{suffix}": orm.ArrayData(sample.curves)}
    nodes |= {f"comparison_{k}": orm.Dict(row) for k, row in enumerate(study.comparisons)}
    for forward, history in zip(study.forward, study.histories, strict=True):
        suffix = f"{forward['functional']}_{forward['ensemble']}"
        nodes |= {f"forward_{suffix}": orm.Dict(forward), f"history_{suffix}": orm.Dict({"epochs": history["epochs"]})}
    return nodes


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Everything at any depth by where it stands."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: item for name, part in items for key, item in flat(part, f"{path}/{name}").items()}
    return {path: value}


@pytest.fixture(scope="module")
def report(aiida_profile) -> tuple[dict[str, Any], orm.CalcFunctionNode]:
    return report_study.run_get_node(**inputs_of(whole_study()))


def test_files(report) -> None:
    result, node = report
    assert node.is_finished_ok
    repository = result["files"].base.repository
    assert sorted(repository.list_object_names()) == [
        "checks.csv",
        "checks.md",
        "figures",
        "summary.json",
        "table1.csv",
        "table1.md",
        "table_a2.csv",
        "table_a2.md",
    ]
    pictures = [f"fig_{name}.png" for name in ("2", "3", "4", "5", "6", "a1", "a2", "a3")]
    assert sorted(repository.list_object_names("figures")) == pictures
    for name in pictures:
        assert repository.get_object_content(f"figures/{name}", mode="rb").startswith(b"\x89PNG")
    for name in ("table1.md", "table_a2.md", "checks.md"):
        assert repository.get_object_content(name).startswith("The labels come from a stand-in")


def test_numbers_are_the_same_everywhere(report) -> None:
    """Fails where the table in the file is not that of the node, or digits are lost."""
    result, _ = report
    repository, tables = result["files"].base.repository, result["tables"].get_dict()
    # AiiDA keeps fourteen digits of a number
    summary = json.loads(repository.get_object_content("summary.json"))
    written, stored = flat(summary), flat(tables)
    numbers = {path for path, value in written.items() if isinstance(value, float)}
    assert len(numbers) > 500
    assert [written[path] for path in sorted(numbers)] == pytest.approx(
        [stored[path] for path in sorted(numbers)], rel=1e-12
    )
    assert {path: value for path, value in stored.items() if path not in numbers} == {
        path: value for path, value in written.items() if path not in numbers
    }
    rows = list(csv.DictReader(io.StringIO(repository.get_object_content("table1.csv"))))
    table = [*tables["table_1"]["nvt"], *tables["table_1"]["npt"]]
    assert [row["sample"] for row in rows] == [row["sample"] for row in table]
    names = ("nearest_distance_angstrom", "w1_ratio", "w1_ratio_se", "volume_angstrom3")
    pairs = [
        (row[name], expected[name])
        for row, expected in zip(rows, table, strict=True)
        for name in names
        if name in expected
    ]
    known = [(float(text), value) for text, value in pairs if value is not None]
    assert [text for text, _ in known] == pytest.approx([value for _, value in known], rel=1e-12)
    # seven samples at constant volume, seven distances with errors, eight volumes and the experiment's
    assert len(known) == 7 + 2 * 7 + 9


def test_history_has_its_name_from_the_input(report) -> None:
    acceptance = report[0]["tables"]["acceptance"]
    assert sorted((row["functional"], row["ensemble"]) for row in acceptance) == [
        (functional, ensemble) for functional in ("hse06", "pbe", "r2scan") for ensemble in ("npt", "nvt")
    ]
    assert all(row["proposals"] == 390 for row in acceptance)


@pytest.mark.parametrize("name", ["metric_1", "curves", "history_nvt", "history_pbe_nve"])
def test_unknown_input_is_refused(aiida_profile, name) -> None:
    """Fails where a misspelt input is left out in silence."""
    result, node = report_study.run_get_node(**{name: orm.Dict({"epochs": []})})
    assert not result
    assert node.exit_status == 400
    assert name in node.exit_message


def test_a_study_with_one_run_only(aiida_profile) -> None:
    """No control, no experiment, one ensemble, one functional."""
    study = whole_study(("r2scan",))
    nodes = {name: node for name, node in inputs_of(study).items() if name.split("_")[0] in ("metrics", "comparison")}
    nodes = {name: node for name, node in nodes.items() if "npt" not in json.dumps(node.get_dict())}
    result, node = report_study.run_get_node(**nodes)
    assert node.is_finished_ok
    content = result["tables"].get_dict()
    assert [row["sample"] for row in content["table_1"]["nvt"]] == [
        "Foundation MACE MD",
        "r²SCAN-adapted MACE MD",
        "r²SCAN SLHMC reference",
    ]
    assert content["table_1"]["npt"] == content["table_a2"] == []
    assert [row["check"] for row in content["checks"]] == ["closer_to_reference"]
    assert result["files"].base.repository.list_object_names() == [
        "checks.csv",
        "checks.md",
        "summary.json",
        "table1.csv",
        "table1.md",
        "table_a2.csv",
        "table_a2.md",
    ]


def test_a_functional_that_failed_is_in_the_report(aiida_profile) -> None:
    """Fails where the tables of a study say nothing of what was asked for and is not there."""
    result, node = report_study.run_get_node(requested_pbe_npt=orm.Str("pbe"))
    assert node.is_finished_ok
    assert (result["tables"]["functionals"], result["tables"]["all_hold"]) == (["pbe"], None)
    assert "missing: the sample of the adapted model" in result["files"].base.repository.get_object_content("checks.md")
    _, node = report_study.run_get_node(requested_pbe_nve=orm.Str("pbe"))
    assert "requested_<functional>_<nvt, npt, relabel>" in node.exit_message

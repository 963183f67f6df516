"""Tables of a study: which samples are in them, what is compared with what, and the errors of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from study_examples import EXPERIMENT, whole_study

from aiida_slhmc.analysis.bootstrap import Estimate
from aiida_slhmc.analysis.study.samples import Study
from aiida_slhmc.analysis.study.tables import (
    difference,
    ratio,
    table_1_markdown,
    table_1_npt,
    table_1_nvt,
    table_a2,
)


@pytest.fixture(scope="module")
def study() -> Study:
    return whole_study()


def only(study: Study, **wanted) -> dict:
    """The one sample with these properties."""
    found = [s for s in study.samples if all(s.about[key] == value for key, value in wanted.items())]
    assert len(found) == 1
    return found[0].metrics


def test_rows_in_the_order_of_the_ladder(study) -> None:
    """Fails where a model before the last has a row, or a functional stands in another's place."""
    assert [row["sample"] for row in table_1_nvt(study)] == [
        "Foundation MACE MD",
        "PBE-adapted MACE MD",
        "PBE SLHMC reference",
        "r²SCAN-adapted MACE MD",
        "r²SCAN SLHMC reference",
        "HSE06-adapted MACE MD",
        "HSE06 SLHMC reference",
    ]
    npt = [row["sample"] for row in table_1_npt(study)]
    assert npt[-2:] == ["HSE06 relabelled control", "Experiment (neutrons, 300 K)"]
    assert [row["labels"] for row in table_1_nvt(study)] == [0, 600, None, 600, None, 600, None]


def test_values_are_those_of_the_samples(study) -> None:
    metrics = only(study, role="adapted_md", ensemble="nvt", functional="r2scan", labels=600)
    row = next(row for row in table_1_nvt(study) if row["role"] == "adapted_md" and row["functional"] == "r2scan")
    assert [row["nearest_distance_angstrom"], row["nearest_distance_angstrom_se"]] == metrics["nearest_neighbour"][
        "mean"
    ]
    assert [row["first_peak_angstrom"], row["first_peak_angstrom_se"]] == metrics["peaks"]["Ti-O"]
    assert [row["coordination"], row["coordination_se"]] == metrics["coordination"]["mean"]
    assert row["conditions"] == "NVT, 300 K"


def test_distance_is_to_the_own_functional(study) -> None:
    """Fails where the foundation's distance to another functional's reference is taken."""
    for row in table_1_nvt(study):
        if row["role"] != "adapted_md":
            assert row.get("w1_angstrom") is None
            continue
        found = {}
        for comparison in study.comparisons:
            reference, sample = comparison["reference"], comparison["sample"]
            if (reference["functional"], reference["ensemble"]) == (row["functional"], "nvt"):
                found[sample["role"], sample["labels"]] = comparison["wasserstein"]
        assert [row["w1_angstrom"], row["w1_angstrom_se"]] == found["adapted_md", 600]
        assert row["w1_foundation_angstrom"] == found["foundation_md", 0][0]
        assert row["w1_ratio"] == pytest.approx(row["w1_foundation_angstrom"] / row["w1_angstrom"], rel=1e-14)


def test_volumes_are_compared(study) -> None:
    reference = only(study, role="slhmc_chain", ensemble="npt", functional="hse06")["cell"]["volume"]
    row = next(row for row in table_1_npt(study) if row["sample"] == "HSE06 relabelled control")
    off = row["volume_angstrom3"] - reference[0]
    error = math.hypot(row["volume_angstrom3_se"], reference[1])
    assert row["difference_to_reference_angstrom3"] == pytest.approx(off, rel=1e-12)
    assert row["difference_to_reference_angstrom3_se"] == pytest.approx(error, rel=1e-12)
    assert row["difference_to_reference_in_se"] == pytest.approx(off / error, rel=1e-12)
    assert row["difference_to_experiment_angstrom3"] == pytest.approx(row["volume_angstrom3"] - 31.15, rel=1e-12)
    assert row["volume_propagated_se"] == 0.06
    assert row["conditions"] == "NPT, 300 K, 0.101325 MPa"


def test_reference_is_not_compared_with_itself(study) -> None:
    rows = [row for row in table_1_npt(study) if row.get("role") == "slhmc_chain"]
    assert len(rows) == 3
    assert all(row["difference_to_reference_angstrom3"] is None for row in rows)


def test_reference_at_another_temperature_is_none(study) -> None:
    """Fails where a sample at 300 K is measured against a chain at 600 K."""
    changed = [
        dataclasses.replace(sample, metrics=sample.metrics | {"temperature": 600.0})
        if sample.role == "slhmc_chain"
        else sample
        for sample in study.samples
    ]
    rows = table_1_npt(dataclasses.replace(study, samples=changed))
    assert any(row.get("temperature") == 600.0 for row in rows)
    assert all(row.get("difference_to_reference_angstrom3") is None for row in rows)


def test_table_a2(study) -> None:
    rows = table_a2(study)
    shell = only(study, role="control_md", ensemble="npt")["split_shell"]
    control = next(row for row in rows if row.get("role") == "control_md")
    for name in ("short", "long", "mean"):
        assert [control[f"{name}_bonds_angstrom"], control[f"{name}_bonds_angstrom_se"]] == shell[name]
    assert rows[-1]["short_bonds_angstrom"] == EXPERIMENT["short"]
    assert "mean_bonds_angstrom" not in rows[-1]


@pytest.mark.parametrize(
    ("operation", "exact", "first", "second"),
    [
        (ratio, np.divide, Estimate(0.05, 0.002), Estimate(0.004, 0.0002)),
        (difference, np.subtract, Estimate(31.4, 0.05), Estimate(32.0, 0.04)),
    ],
)
def test_errors_against_draws(operation, exact, first, second) -> None:
    """To 3 %, of which the draws are 0.5 %. Control: with either of the errors left out it is not."""
    generator = np.random.default_rng(3)
    spread = exact(*(generator.normal(item.value, item.standard_error, 20000) for item in (first, second))).std()
    assert operation(first, second).standard_error == pytest.approx(spread, rel=0.03)
    certain = [item._replace(standard_error=0.0) for item in (first, second)]
    for pair in ((first, certain[1]), (certain[0], second)):
        assert operation(*pair).standard_error != pytest.approx(spread, rel=0.03)


def test_undefined_ratio() -> None:
    assert ratio(None, Estimate(1.0, 0.1)) is None
    assert ratio(Estimate(1.0, 0.1), Estimate(0.0, 0.1)) is None


def test_markdown_has_both_blocks(study) -> None:
    blocks = table_1_markdown(study).split("\n\n")
    assert len(blocks) == 2
    assert "Mean min Ti–O (Å)" in blocks[0]
    assert "V (Å³)" not in blocks[0]
    assert "V (Å³)" in blocks[1]
    assert "31.15" in blocks[1].splitlines()[-1]


def test_unknown_error_is_no_number(study) -> None:
    """Fails where a standard error that the analysis could not tell (None) stops the table or becomes zero."""
    sample = next(s for s in study.samples if s.role == "adapted_md" and s.ensemble == "npt" and s.is_final)
    cell = sample.metrics["cell"] | {"volume": [sample.metrics["cell"]["volume"][0], None]}
    changed = dataclasses.replace(sample, metrics=sample.metrics | {"cell": cell})
    samples = [changed if item is sample else item for item in study.samples]
    row = next(r for r in table_1_npt(dataclasses.replace(study, samples=samples)) if r.get("role") == "adapted_md")
    assert row["volume_angstrom3"] == cell["volume"][0]
    assert row["volume_angstrom3_se"] is None
    assert row["difference_to_reference_in_se"] is None

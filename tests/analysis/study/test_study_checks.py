"""Checks of a study: they hold where they should, and fail where they should not hold."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from study_examples import whole_study

from aiida_slhmc.analysis.bootstrap import Estimate
from aiida_slhmc.analysis.study.checks import checks, checks_markdown, difference_of_deviations
from aiida_slhmc.analysis.study.samples import Study
from aiida_slhmc.analysis.study.summary import cumulative_acceptance, summary


@pytest.fixture(scope="module")
def study() -> Study:
    return whole_study()


def row_of(study: Study, check: str, functional: str = "hse06", ensemble: str | None = None) -> dict[str, Any]:
    found = [row for row in checks(study) if (row["check"], row["functional"]) == (check, functional)]
    return next(row for row in found if ensemble in (None, row["ensemble"]))


def with_distance(study: Study, role: str, ensemble: str, distance: list[float]) -> Study:
    """Another Wasserstein distance between the final hse06 sample of this role and its reference."""
    rows = []
    for row in study.comparisons:
        is_meant = (row["sample"]["role"], row["sample"]["ensemble"], row["sample"]["is_final"]) == (
            role,
            ensemble,
            True,
        )
        is_meant &= row["reference"]["functional"] == "hse06"
        rows.append(row | {"wasserstein": distance} if is_meant else row)
    return dataclasses.replace(study, comparisons=rows)


def with_volume(study: Study, role: str, volume: list[float]) -> Study:
    """Another volume of the final hse06 samples of this role at constant pressure."""
    samples = []
    for sample in study.samples:
        is_meant = (sample.role, sample.ensemble, sample.functional) == (role, "npt", "hse06") and sample.is_final
        cell = sample.metrics["cell"] | {"volume": volume}
        changed = dataclasses.replace(sample, metrics=sample.metrics | {"cell": cell})
        samples.append(changed if is_meant else sample)
    return dataclasses.replace(study, samples=samples)


def test_all_checks_of_a_whole_study(study) -> None:
    names = [(row["check"], row["functional"], row["ensemble"]) for row in checks(study)]
    expected = [(check, name, e) for name in ("pbe", "r2scan", "hse06") for check, e in TWO]
    assert names == [*expected, ("control_distance", "hse06", "npt"), ("control_volume", "hse06", "npt")]
    assert summary(study)["all_hold"] is True
    assert checks_markdown(study).count("\n") == len(names) + 2


TWO = (("closer_to_reference", "nvt"), ("same_volume", "npt"))


def test_ratio_has_its_bound(study) -> None:
    """Positive and negative control around ten."""
    foundation = next(
        row["wasserstein"][0]
        for row in study.comparisons
        if row["sample"]["role"] == "foundation_md" and row["reference"]["functional"] == "hse06"
    )
    for factor, holds in ((10.2, True), (9.8, False)):
        changed = with_distance(study, "adapted_md", "nvt", [foundation / factor, 0.0001])
        row = row_of(changed, "closer_to_reference")
        assert row["value"] == pytest.approx(factor)
        assert row["holds"] is holds
        assert summary(changed)["all_hold"] is holds


def test_floor_is_said(study) -> None:
    """Fails where nobody learns that the distance left is only noise, or where it is said of a real one."""
    words = "that of equal ensembles"
    assert (
        words in row_of(with_distance(study, "adapted_md", "nvt", [0.0012, 0.0004]), "closer_to_reference")["verdict"]
    )
    assert (
        words
        not in row_of(with_distance(study, "adapted_md", "nvt", [0.003, 0.0004]), "closer_to_reference")["verdict"]
    )


@pytest.mark.parametrize(("off", "holds"), [(0.13, True), (-0.13, True), (0.15, False), (-0.15, False)])
def test_volume_within_two_errors(study, off, holds) -> None:
    """The error of the difference is 0.0707 Å³."""
    reference = study.reference("npt", "hse06").estimate("cell", "volume").value
    row = row_of(with_volume(study, "adapted_md", [reference + off, 0.05]), "same_volume")
    assert row["value"] == pytest.approx(abs(off))
    assert row["bound"] == pytest.approx(2 * 0.05 * 2**0.5)
    assert row["holds"] is holds


@pytest.mark.parametrize(
    ("off", "words"), [(0.5, "worse"), (-0.6, "worse"), (-0.4, "not"), (0.3, "not"), (0.1, "better")]
)
def test_control_against_adapted_volume(study, off, words) -> None:
    """The adapted model is off by +0.3 Å³; fails where the sign of a deviation counts.

    Where the two are on different sides of the reference, its own error, 0.05 Å³, counts twice.
    """
    reference = study.reference("npt", "hse06").estimate("cell", "volume").value
    changed = with_volume(study, "adapted_md", [reference + 0.3, 0.02])
    row = row_of(with_volume(changed, "control_md", [reference + off, 0.02]), "control_volume")
    assert f"the control is {'not measurably different' if words == 'not' else f'measurably {words}'}" == row["verdict"]
    assert row["holds"] is None


def test_control_distance(study) -> None:
    for distance, words in ((0.01, "measurably worse"), (0.0018, "not measurably different")):
        changed = with_distance(
            with_distance(study, "adapted_md", "npt", [0.0015, 0.0004]), "control_md", "npt", [distance, 0.0004]
        )
        assert row_of(changed, "control_distance")["verdict"] == f"the control is {words}"


def test_control_is_judged_at_its_own_labels(study) -> None:
    """Fails where a control of 150 labels is compared with a model of 600."""
    samples = [
        dataclasses.replace(s, metrics=s.metrics | {"sample": s.about | {"labels": 150}})
        if s.role == "control_md"
        else s
        for s in study.samples
    ]
    row = row_of(dataclasses.replace(study, samples=samples), "control_volume")
    assert (row["labels"], row["control_labels"]) == (150, 150)


@pytest.mark.parametrize("side", [1, -1])
def test_error_of_deviations_against_draws(side) -> None:
    """To 3 %; fails where the reference's error is forgotten (opposite sides) or does not cancel (one side)."""
    reference, adapted, control = Estimate(31.4, 0.05), Estimate(31.4 + side * 0.3, 0.03), Estimate(32.2, 0.04)
    generator = np.random.default_rng(5)
    r, a, c = (generator.normal(item.value, item.standard_error, 20000) for item in (reference, adapted, control))
    draws = np.abs(c - r) - np.abs(a - r)
    estimate = difference_of_deviations(control, adapted, reference)
    assert estimate.value == pytest.approx(draws.mean(), abs=0.005)
    assert estimate.standard_error == pytest.approx(draws.std(), rel=0.03)
    naive = np.sqrt(sum(item.standard_error**2 for item in (reference, adapted, control)))
    assert naive != pytest.approx(draws.std(), rel=0.03)


@pytest.mark.parametrize("role", ["foundation_md", "adapted_md", "control_md", "slhmc_chain"])
@pytest.mark.parametrize("ensemble", ["nvt", "npt", None])
def test_missing_samples_have_no_rows(study, role, ensemble) -> None:
    """Fails where a check is made up, or where its absence stops the others."""
    kept = [s for s in study.samples if s.role != role or ensemble not in (None, s.ensemble)]
    content = summary(dataclasses.replace(study, samples=kept))
    rows = [row for table in content["table_1"].values() for row in table]
    gone = {row.get("ensemble") for row in rows if row.get("role") == role}
    assert not gone if ensemble is None else ensemble not in gone
    found = {(row["check"], row["ensemble"]) for row in content["checks"]}
    lost = {
        "foundation_md": {TWO[0]} if ensemble != "npt" else set(),
        "adapted_md": {"nvt": {TWO[0]}, "npt": {TWO[1], *CONTROL}, None: {*TWO, *CONTROL}}[ensemble],
        "control_md": set(CONTROL) if ensemble != "nvt" else set(),
        "slhmc_chain": {"nvt": {TWO[0]}, "npt": {TWO[1], *CONTROL}, None: {*TWO, *CONTROL}}[ensemble],
    }[role]
    assert found == {*TWO, *CONTROL} - lost


CONTROL = (("control_distance", "npt"), ("control_volume", "npt"))


def test_nothing_at_all() -> None:
    content = summary(Study())
    assert content["checks"] == content["table_a2"] == content["table_1"]["nvt"] == []
    assert content["all_hold"] is None


def test_cumulative_acceptance() -> None:
    """Fails where epochs of different sizes count alike."""
    epochs = [
        {"n_cycles": 10, "n_walkers": 2, "labels": 19, "acceptance": 0.5},
        {"n_cycles": 30, "n_walkers": 2, "labels": 60, "acceptance": 0.9},
    ]
    proposals, acceptance = cumulative_acceptance({"epochs": epochs})
    assert proposals.tolist() == [20, 80]
    assert acceptance.tolist() == pytest.approx([0.5, (10 + 54) / 80])


def without(study: Study, **about: Any) -> Study:
    """The study without samples that are so."""
    kept = [s for s in study.samples if any(s.about[key] != value for key, value in about.items())]
    return dataclasses.replace(study, samples=kept)


REQUESTED = [(name, part) for name in ("pbe", "r2scan", "hse06") for part in ("nvt", "npt")]


def test_what_was_asked_for_and_is_missing_is_said(study) -> None:
    """Fails where all checks hold because some of them are not there. Control: the whole study, which holds."""
    whole = dataclasses.replace(study, requested=[*REQUESTED, ("hse06", "relabel")])
    assert checks(whole) == checks(study)
    assert summary(whole)["all_hold"] is True
    for lost, check, what in (
        ({"role": "slhmc_chain", "ensemble": "npt", "functional": "pbe"}, "same_volume", "sample of the reference"),
        ({"role": "adapted_md", "ensemble": "nvt", "functional": "pbe"}, "closer_to_reference", "the adapted model"),
    ):
        row = row_of(without(whole, **lost), check, "pbe")
        assert (row["value"], row["holds"]) == (None, None)
        assert row["verdict"].startswith("missing: ")
        assert what in row["verdict"]
        assert summary(without(whole, **lost))["all_hold"] is None
        assert summary(without(study, **lost))["all_hold"] is True, "nobody asked for it"
    lost = without(whole, role="control_md", ensemble="npt", functional="hse06")
    assert row_of(lost, "control")["verdict"] == "missing: its sample"
    assert summary(lost)["all_hold"] is None


def test_a_functional_of_which_nothing_is_there(study) -> None:
    """Its transfer failed: two rows, and nothing else changes."""
    more = dataclasses.replace(study, requested=[*REQUESTED, ("b3lyp", "nvt"), ("b3lyp", "npt")])
    rows = [row for row in checks(more) if row["functional"] == "b3lyp"]
    assert [row["check"] for row in rows] == ["closer_to_reference", "same_volume"]
    assert summary(more)["all_hold"] is None
    assert summary(more)["table_1"] == summary(study)["table_1"]
    assert checks_markdown(more).count("missing: ") == 2


def test_a_check_that_fails_outweighs_one_that_is_missing(study) -> None:
    worse = with_volume(study, "adapted_md", [40.0, 0.01])
    assert summary(dataclasses.replace(worse, requested=[("b3lyp", "nvt")]))["all_hold"] is False


def test_a_model_on_the_way_is_not_the_last(study) -> None:
    """Where the last one's dynamics failed. Fails where a model of fewer labels has its row in the tables."""
    lost = without(study, role="adapted_md", ensemble="npt", functional="pbe", is_final=True)
    assert lost.adapted("npt", "pbe") is None
    assert len(lost.of("adapted_md", "npt", "pbe")) == 2

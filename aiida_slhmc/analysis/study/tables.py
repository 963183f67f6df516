"""Tables of a study, after Table 1 and Table A2 of Thomsen, Shiga and Nagai (2026): one row for each sample.

A row is a dictionary of plain numbers; the standard error of ``x`` is ``x_se``. A sample that is missing has no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from aiida_slhmc.analysis.bootstrap import Estimate
from aiida_slhmc.analysis.study.formatting import ERROR, to_markdown
from aiida_slhmc.analysis.study.samples import (
    ADAPTED,
    CONTROL,
    FOUNDATION,
    REFERENCES,
    Sample,
    Study,
    estimate_of,
    functional_name,
)

__all__ = (
    "columns",
    "difference",
    "ratio",
    "sample_name",
    "table_1_markdown",
    "table_1_npt",
    "table_1_nvt",
    "table_a2",
    "titles",
)

Row = dict[str, Any]
STRUCTURE = {
    "nearest_distance_angstrom": ("nearest_neighbour", "mean"),
    "first_peak_angstrom": ("peaks",),
    "coordination": ("coordination", "mean"),
}
SHELL = {f"{name}_bonds_angstrom": name for name in ("short", "long", "mean")}
CELL = ("a", "b", "c", "volume")
FORMS = {"difference_to_reference_in_se": "+.1f"}
NAMES = {
    FOUNDATION: "Foundation MACE MD",
    ADAPTED: "{}-adapted MACE MD",
    "slhmc_chain": "{} SLHMC reference",
    "slhmc_accepted": "{} SLHMC accepted states",
    CONTROL: "{} relabelled control",
}


def sample_name(sample: Sample) -> str:
    """A sample in words."""
    return NAMES.get(sample.role, "{} " + sample.role).format(functional_name(sample.functional))


def table_1_nvt(study: Study) -> list[Row]:
    """Structure at constant volume, and how far each sample is from the target's reference.

    ``w1_angstrom`` is the Wasserstein distance to the reference of the sample's own functional, ``w1_foundation…``
    that of the foundation to the same reference, ``w1_ratio`` foundation over sample. ``w1_floor…`` is what two finite
    samples of one ensemble would have; its ``_se`` is the standard deviation of that.
    """
    return [{**_about(sample), **_structure(sample), **_distance(study, sample)} for sample in _rows_of(study, "nvt")]


def table_1_npt(study: Study) -> list[Row]:
    """Cells at constant pressure, per formula unit; differences to the functional's reference and to experiment.

    ``volume_propagated_se`` and those of the lengths are the paper's errors, from the fluctuations of the cell's
    diagonal; differences are judged by ``volume_angstrom3_se``, which knows about correlation.
    """
    rows = []
    for sample in _rows_of(study, "npt"):
        row = {**_about(sample), **_cell(study, sample), **_distance(study, sample)}
        for name in ("volume", *CELL[:3]):
            propagated = sample.estimate("cell", f"{name}_propagated")
            row[f"{name}_propagated{ERROR}"] = _finite(propagated.standard_error) if propagated else None
        rows.append(row)
    measured = {f"{name}_angstrom": study.experiment.get(name) for name in CELL[:3]}
    measured["volume_angstrom3"] = study.experiment.get("volume")
    return rows + _experiment_row(measured, study.experiment.get("source")) if rows else []


def table_a2(study: Study) -> list[Row]:
    """The first shell at constant pressure: mean of the short bonds, of the long ones and of all."""
    rows = []
    for sample in _rows_of(study, "npt"):
        shell = {name: sample.estimate("split_shell", key) for name, key in SHELL.items()}
        if any(shell.values()):
            rows.append({**_about(sample), **columns(shell)})
    measured = {name: study.experiment.get(key) for name, key in SHELL.items()}
    source = study.experiment.get("shell_source", study.experiment.get("source"))
    return rows + _experiment_row(measured, source) if rows else []


def titles(study: Study) -> dict[str, str]:
    """Headings of the columns that people read; the samples say which species they are about."""
    pair = next((sample.pair.replace("-", "–") for sample in study.samples), "")
    return {
        "sample": "Model / sampling",
        "conditions": "Ensemble",
        "labels": "Labels",
        "nearest_distance_angstrom": f"Mean min {pair} (Å)",
        "first_peak_angstrom": f"{pair} first peak (Å)",
        "coordination": f"{pair} coordination",
        "volume_angstrom3": "V (Å³)",
        "difference_to_reference_angstrom3": "V − V(reference) (Å³)",
        "difference_to_reference_in_se": "… in standard errors",
        "difference_to_experiment_angstrom3": "V − V(experiment) (Å³)",
        "w1_angstrom": "W₁ to reference (Å)",
        "w1_floor_angstrom": "W₁ of equal ensembles (Å)",
        "w1_foundation_angstrom": "W₁ of foundation (Å)",
        "w1_ratio": "foundation / this",
        "short_bonds_angstrom": f"Short {pair} (Å)",
        "long_bonds_angstrom": f"Long {pair} (Å)",
        "mean_bonds_angstrom": f"Mean {pair} of the shell (Å)",
    }


def table_1_markdown(study: Study) -> str:
    """Both blocks of Table 1, one below the other."""
    heads = titles(study)
    blocks = [to_markdown(table(study), heads, forms=FORMS) for table in (table_1_nvt, table_1_npt)]
    return "\n".join(block for block in blocks if block)


def columns(estimates: dict[str, Estimate | None]) -> Row:
    """Two columns for each estimate, its value and its error; None where there is none."""
    row: Row = {}
    for name, estimate in estimates.items():
        row[name] = None if estimate is None else estimate.value
        row[name + ERROR] = None if estimate is None else _finite(estimate.standard_error)
    return row


def ratio(numerator: Estimate | None, denominator: Estimate | None) -> Estimate | None:
    """Quotient with its error to first order, the two taken as independent; None where it is not defined."""
    if numerator is None or denominator is None or denominator.value == 0:
        return None
    value = numerator.value / denominator.value
    terms = (numerator.standard_error / denominator.value, value * denominator.standard_error / denominator.value)
    return Estimate(value, math.hypot(*terms))


def difference(first: Estimate | None, second: Estimate | None) -> Estimate | None:
    """First less second, the two taken as independent."""
    if first is None or second is None:
        return None
    return Estimate(first.value - second.value, math.hypot(first.standard_error, second.standard_error))


def _rows_of(study: Study, ensemble: str) -> Iterator[Sample]:
    """The foundation's sample; of each functional the last model's, the references, the control's."""
    found = [study.foundation(ensemble)]
    for functional in study.functionals:
        found.append(study.adapted(ensemble, functional))
        for role in REFERENCES:
            found += study.of(role, ensemble, functional)
        found.append(study.control(ensemble, functional))
    return (sample for sample in found if sample is not None)


def _about(sample: Sample) -> Row:
    names = ("temperature", "pressure", "n_frames", "n_atoms", "stand_in")
    known = {name: sample.metrics.get(name) for name in names}
    return {"sample": sample_name(sample), "conditions": _conditions(sample), **sample.about, **known}


def _conditions(sample: Sample) -> str:
    """Ensemble, temperature and pressure in words."""
    temperature, pressure = (sample.metrics.get(name) for name in ("temperature", "pressure"))
    words = [sample.ensemble.upper()]
    words += [] if temperature is None else [f"{temperature:g} K"]
    # a thermal pressure in GPa has too many zeros
    words += [] if pressure is None or sample.ensemble != "npt" else [f"{1000 * pressure:g} MPa"]
    return ", ".join(words)


def _structure(sample: Sample) -> Row:
    paths = STRUCTURE | {"first_peak_angstrom": ("peaks", sample.pair)}
    return columns({name: sample.estimate(*path) for name, path in paths.items()})


def _distance(study: Study, sample: Sample) -> Row:
    """Distance to the reference; nothing for the references and the foundation, which has one for each functional."""
    if sample.functional is None or sample.role in REFERENCES:
        return {}
    reference = study.reference(sample.ensemble, sample.functional)
    own, other = (study.comparison(item, reference) for item in (sample, study.foundation(sample.ensemble)))
    distances = [estimate_of(comparison.get("wasserstein")) for comparison in (own, other)]
    return columns(
        {
            "w1_angstrom": distances[0],
            "w1_floor_angstrom": estimate_of(own.get("floor")),
            "w1_foundation_angstrom": distances[1],
            "w1_ratio": ratio(distances[1], distances[0]),
        }
    )


def _cell(study: Study, sample: Sample) -> Row:
    lengths = {f"{name}_angstrom": sample.estimate("cell", name) for name in CELL[:3]}
    volume = sample.estimate("cell", "volume")
    reference = study.reference(sample.ensemble, sample.functional) if sample.functional else None
    is_reference = reference is None or sample.role in REFERENCES
    target = None if is_reference or reference is None else reference.estimate("cell", "volume")
    off = difference(volume, target)
    measured = study.experiment.get("volume")
    row = columns(
        {
            **lengths,
            "volume_angstrom3": volume,
            "difference_to_reference_angstrom3": off,
            "difference_to_experiment_angstrom3": difference(volume, estimate_of([measured, 0.0])),
        }
    )
    # NaN where the error is not known, and an error of zero says nothing either
    in_se = off.value / (off.standard_error or math.nan) if off else math.nan
    return row | {"difference_to_reference_in_se": _finite(in_se)}


def _experiment_row(measured: Row, source: str | None) -> list[Row]:
    """The experiment's own row, where it says anything."""
    known = {name: float(value) for name, value in measured.items() if value is not None}
    return [{"sample": f"Experiment ({source})" if source else "Experiment", **known}] if known else []


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""What a study has to show for each functional, and whether it does.

A check is a row: ``check``, ``quantity`` in words, ``functional``, ``ensemble``, ``labels``, ``value`` with its error,
``bound``, ``relation``, ``holds`` and ``verdict``. The comparison with the control has no ``holds``: what comes out is
a finding, not a requirement. What was asked for and cannot be judged has neither ``value`` nor ``holds``, and a verdict
that names what is missing.
"""

from __future__ import annotations

import math
from typing import Any

from aiida_slhmc.analysis.bootstrap import Estimate
from aiida_slhmc.analysis.study.formatting import ERROR, to_markdown
from aiida_slhmc.analysis.study.samples import ENSEMBLES, Sample, Study, estimate_of, functional_name
from aiida_slhmc.analysis.study.tables import columns, difference, ratio

__all__ = ("LEAST_RATIO", "SIGNIFICANT", "checks", "checks_markdown", "difference_of_deviations")

Row = dict[str, Any]
# by what factor the training brings the nearest neighbours closer to the reference, at least; the paper's is 40
LEAST_RATIO = 10.0
CLOSER, SAME_VOLUME = "W₁(foundation) / W₁(adapted)", "abs(V(adapted) − V(reference)) (Å³)"
# standard errors; a difference of two is one in twenty by chance
SIGNIFICANT = 2.0
TITLES = {
    "check": "Check",
    "quantity": "Quantity",
    "functional": "Functional",
    "ensemble": "Ensemble",
    "labels": "Labels",
    "control_labels": "Labels of control",
    "value": "Value",
    "relation": "",
    "bound": "Bound",
    "holds": "Holds",
    "verdict": "In words",
}


def checks(study: Study) -> list[Row]:
    """All that can be judged with the samples that are there, and what was asked for and cannot."""
    rows: list[Row | None] = []
    for functional in study.functionals:
        rows += [
            _closer(study, functional) or _missing(study, "closer_to_reference", CLOSER, "nvt", functional),
            _same_volume(study, functional) or _missing(study, "same_volume", SAME_VOLUME, "npt", functional),
        ]
        control = [_control_distance(study, ensemble, functional) for ensemble in ENSEMBLES]
        control.append(_control_volume(study, functional))
        rows += control if any(control) else [_missing_control(study, functional)]
    return [row for row in rows if row is not None]


def checks_markdown(study: Study) -> str:
    """The checks as people read them."""
    rows = [row | {"functional": functional_name(row["functional"])} for row in checks(study)]
    return to_markdown(rows, TITLES, forms={"bound": ".3g"})


def difference_of_deviations(
    control: Estimate | None, adapted: Estimate | None, reference: Estimate | None
) -> Estimate | None:
    """How much farther from the reference the control is: |control − reference| − |adapted − reference|.

    The error is to first order. The reference's own cancels where both are on one side of it, and counts twice where
    they are not; a deviation of about its own error is not linear, and the error given is then rather too large.
    """
    if control is None or adapted is None or reference is None:
        return None
    off = [item.value - reference.value for item in (control, adapted)]
    signs = [math.copysign(1, value) for value in off]
    error = math.hypot(control.standard_error, adapted.standard_error, (signs[0] - signs[1]) * reference.standard_error)
    return Estimate(abs(off[0]) - abs(off[1]), error)


def _closer(study: Study, functional: str) -> Row | None:
    """Distance of the foundation to the reference over that of the adapted model, at constant volume."""
    adapted, reference = study.adapted("nvt", functional), study.reference("nvt", functional)
    own, other = (study.comparison(sample, reference) for sample in (adapted, study.foundation("nvt")))
    value = ratio(estimate_of(other.get("wasserstein")), estimate_of(own.get("wasserstein")))
    if value is None or adapted is None:
        return None
    verdict = _against(value.value - LEAST_RATIO, value.standard_error)
    if _is_at_floor(own):
        verdict += "; W₁ of the adapted model is that of equal ensembles, so that the ratio is limited by the samples"
    return _row(
        "closer_to_reference", CLOSER, adapted, value, LEAST_RATIO, "≥", value.value >= LEAST_RATIO, verdict=verdict
    )


def _same_volume(study: Study, functional: str) -> Row | None:
    """Volume of the adapted model against the reference's, in the error of their difference."""
    adapted, reference = study.adapted("npt", functional), study.reference("npt", functional)
    if adapted is None or reference is None:
        return None
    off = difference(adapted.estimate("cell", "volume"), reference.estimate("cell", "volume"))
    if off is None or math.isnan(off.standard_error):
        return None
    bound, value = SIGNIFICANT * off.standard_error, Estimate(abs(off.value), off.standard_error)
    verdict = f"{value.value / off.standard_error:.1f} standard errors" if off.standard_error else ""
    return _row("same_volume", SAME_VOLUME, adapted, value, bound, "≤", value.value <= bound, verdict=verdict)


def _control_distance(study: Study, ensemble: str, functional: str) -> Row | None:
    """Distance of the control to the reference less that of the adapted model."""
    control, adapted = _control_and_adapted(study, ensemble, functional)
    reference = study.reference(ensemble, functional)
    first, second = (
        estimate_of(study.comparison(sample, reference).get("wasserstein")) for sample in (control, adapted)
    )
    return _control_row(
        "control_distance", "W₁(control) − W₁(adapted) (Å)", control, adapted, difference(first, second)
    )


def _control_volume(study: Study, functional: str) -> Row | None:
    """How much farther from the reference's volume the control is than the adapted model."""
    control, adapted = _control_and_adapted(study, "npt", functional)
    samples = (control, adapted, study.reference("npt", functional))
    volumes = [sample.estimate("cell", "volume") if sample else None for sample in samples]
    quantity = "abs(V(control) − V(reference)) − abs(V(adapted) − V(reference)) (Å³)"
    return _control_row("control_volume", quantity, control, adapted, difference_of_deviations(*volumes))


def _control_and_adapted(study: Study, ensemble: str, functional: str) -> tuple[Sample | None, Sample | None]:
    """The control and the model of as many labels of the target's own ensemble, else the last one."""
    control, adapted = study.control(ensemble, functional), study.adapted(ensemble, functional)
    if control is not None:
        evolution = [sample for sample in study.evolution(ensemble, functional) if sample.functional]
        adapted = next((sample for sample in evolution if sample.labels == control.labels), adapted)
    return control, adapted


def _missing(study: Study, check: str, quantity: str, ensemble: str, functional: str) -> Row | None:
    """The row of a check that was asked for and cannot be judged."""
    if (functional, ensemble) not in study.requested:
        return None
    needed = {"adapted model": study.adapted(ensemble, functional), "reference": study.reference(ensemble, functional)}
    if check == "closer_to_reference":
        needed["foundation"] = study.foundation(ensemble)
    lacking = [f"the sample of the {name}" for name, sample in needed.items() if sample is None]
    return _missing_row(check, quantity, functional, ensemble, lacking or ["the comparison of its samples"])


def _missing_control(study: Study, functional: str) -> Row | None:
    if (functional, "relabel") not in study.requested:
        return None
    samples = [study.control(ensemble, functional) for ensemble in ENSEMBLES]
    what = "what it is compared with" if any(samples) else "its sample"
    return _missing_row("control", "control against adapted model", functional, None, [what])


def _missing_row(check: str, quantity: str, functional: str, ensemble: str | None, lacking: list[str]) -> Row:
    nothing = dict.fromkeys(("labels", "control_labels", "value", "value" + ERROR, "relation", "bound", "holds"))
    about = {"check": check, "quantity": quantity, "functional": functional, "ensemble": ensemble}
    return about | nothing | {"verdict": f"missing: {', '.join(lacking)}"}


def _control_row(
    check: str, quantity: str, control: Sample | None, adapted: Sample | None, value: Estimate | None
) -> Row | None:
    if control is None or adapted is None or value is None or math.isnan(value.standard_error):
        return None
    bound = SIGNIFICANT * value.standard_error
    verdict = "the control is not measurably different"
    if abs(value.value) > bound:
        verdict = f"the control is measurably {'worse' if value.value > 0 else 'better'}"
    row = _row(check, quantity, adapted, value, bound, ">", None, verdict=verdict)
    return row | {"control_labels": control.labels}


def _row(
    check: str,
    quantity: str,
    sample: Sample,
    value: Estimate,
    bound: float,
    relation: str,
    holds: bool | None,
    *,
    verdict: str,
) -> Row:
    return {
        "check": check,
        "quantity": quantity,
        "functional": sample.functional,
        "ensemble": sample.ensemble,
        "labels": sample.labels,
        "control_labels": None,
        **columns({"value": value}),
        "relation": relation,
        "bound": bound,
        "holds": holds,
        "verdict": verdict,
    }


def _against(distance: float, error: float) -> str:
    """On which side of its bound a value is, and whether its error lets us say so."""
    side = "above the bound" if distance >= 0 else "below the bound"
    if not error > 0:
        return side
    return f"{side}, by {abs(distance) / error:.1f} standard errors"


def _is_at_floor(comparison: dict[str, Any]) -> bool:
    """Whether a distance is no longer than samples of one ensemble would show."""
    distance, floor = (estimate_of(comparison.get(name)) for name in ("wasserstein", "floor"))
    if distance is None or floor is None:
        return False
    spread = 0.0 if math.isnan(floor.standard_error) else floor.standard_error
    return distance.value <= floor.value + SIGNIFICANT * spread

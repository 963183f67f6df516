"""The gate: the rule by which a fine-tuned model that is worse than its parent is not used.

Standard library only: the job judges by it what it has trained, and the AiiDA process what was cut short.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ("worse_errors",)


def worse_errors(ratios: Mapping[str, float | None], factor: float | None, *, from_scratch: bool) -> dict[str, float]:
    """Return the errors over the parent's that the gate does not let pass, by name; none where it is off.

    :param ratios: validation errors of the trained model over the parent's; None where that is not known
    :param factor: the largest ratio that passes; None for no gate
    :param from_scratch: whether the weights were drawn anew: such a model is not measured by the one it is to replace
    """
    if factor is None or from_scratch:
        return {}
    return {name: ratio for name, ratio in ratios.items() if ratio is not None and ratio > factor}

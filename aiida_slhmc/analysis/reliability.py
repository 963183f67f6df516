"""When the diagnostics of an epoch or a run say that it is not to be trusted: one plain sentence for each reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from scipy import stats

from aiida_slhmc.kernel.diagnostics import predicted_acceptance
from aiida_slhmc.kernel.timestep_rule import INTEGRATION_ACCEPTANCE
from aiida_slhmc.kernel.units import thermal_energy

__all__ = ("epoch_warnings", "run_warnings")

# of fewer labels no mean, deviation or fraction is sharp enough to accuse anything
MIN_LABELS = 20
# per walker; of fewer cycles R-hat and the effective sample size are mostly noise
MIN_CYCLES = 20
# the labels of a chain are correlated, so that its errors come out too small; four of them leave room for that
CREUTZ_ERRORS = 4.0
# Vehtari et al. (2021) ask for 1.01 with hundreds of values per chain; labels are too dear for that. A stationary
# chain reaches 1.05 too where its halves are shorter than some ten autocorrelation times
SPLIT_R_HAT = 1.05
# R-hat of white noise exceeds it by chance once in a thousand epochs; matters below 50 cycles, where it is above 1.05
R_HAT_CHANCE = 1e-3
# the error of a mean is then itself known to a quarter only (1/√2n)
EFFECTIVE_SAMPLE_SIZE = 10.0
# a chain that cannot enter a tenth of what it proposes samples another ensemble; one failure alone happens
FAILED_FRACTION, FAILED_LABELS = 0.1, 2
# divergences cost acceptance, not exactness; one alone happens
DIVERGED_FRACTION, DIVERGED = 0.1, 2
# 4 standard deviations of a normal law, and 2 errors of the predicted acceptance's σ
ACCEPTANCE_LEVEL, SIGMA_ERRORS = 0.9999, 2.0
# twenty labels for one move
ACCEPTANCE = 0.05

Summary = dict[str, Any]


def epoch_warnings(summary: Summary) -> list[str]:
    """The warnings of an epoch.

    :param summary: what :func:`aiida_slhmc.analysis.epoch_summary.summarise` computes; numbers may be NaN, never None.
    """
    return _run(summary, (*_OF_A_CHAIN, _prediction, _integration))


def run_warnings(summary: Summary) -> list[str]:
    """The warnings of a whole run. σ(ΔH) changes with the model, so that it predicts no acceptance here."""
    return _run(summary, _OF_A_CHAIN)


def _run(summary: Summary, checks: tuple[Callable[[Summary], str | None], ...]) -> list[str]:
    return [sentence for check in checks if (sentence := check(summary)) is not None]


def _failed_labels(summary: Summary) -> str | None:
    failed = summary["failed_labels"]
    asked = failed + summary["labels"]
    if failed < FAILED_LABELS or failed <= FAILED_FRACTION * asked:
        return None
    return (
        f"{failed} of {asked} labels failed: the chain cannot enter these states, which changes what it samples; "
        "look at the target's settings."
    )


def _diverged(summary: Summary) -> str | None:
    diverged, proposed = summary["diverged"], _proposed(summary)
    if diverged < DIVERGED or diverged <= DIVERGED_FRACTION * proposed:
        return None
    return (
        f"{diverged} of {proposed} proposals diverged and were refused: the chain is as exact as without them, but "
        "slower; take a smaller time step, or a model that is stable at this temperature."
    )


def _acceptance(summary: Summary) -> str | None:
    if _proposed(summary) < MIN_LABELS or summary["acceptance"] >= ACCEPTANCE:
        return None
    return (
        f"Acceptance is {summary['acceptance']:.3f}, below {ACCEPTANCE}: the chain hardly moves; "
        "shorten the proposals, or train the model on more labels first."
    )


def _creutz(summary: Summary) -> str | None:
    """Off by more than four errors.

    The mean of few weights with a long tail lies below 1, and their spread is too small: with βσ = 2 and 20 labels
    every fifth stationary epoch would be accused. So the error is at least that of a Gaussian ΔH with this σ, whose
    weights have the variance exp(β²σ²) − 1.
    """
    if summary["labels"] < MIN_LABELS:
        return None
    width = summary["sigma_delta_h"] / thermal_energy(summary["temperature"])
    gaussian = math.sqrt(math.expm1(min(width**2, 300.0)) / summary["labels"])
    if abs(summary["creutz"] - 1) <= CREUTZ_ERRORS * max(summary["creutz_error"], gaussian):
        return None
    return (
        f"The mean of exp(−βΔH) is {summary['creutz']:.3g} ± {summary['creutz_error']:.2g} instead of 1: the chain may "
        "not be stationary yet, or the labels may not be consistent with each other."
    )


def _r_hat(summary: Summary, name: str) -> str | None:
    value = summary[f"{name}_split_r_hat"]
    if summary["n_cycles"] < MIN_CYCLES or not value > _r_hat_limit(summary["n_cycles"], summary["n_walkers"]):
        return None
    return (
        f"Split R-hat of the {name} is {value:.2f}: the walkers, or the two halves of the chain, do not agree yet; "
        "averages over so few cycles are not to be relied on."
    )


def _r_hat_limit(n_cycles: int, n_walkers: int) -> float:
    """1.05, or what white noise rarely exceeds where that is more: B/W of R-hat then follows Fisher's F law."""
    n, m = n_cycles // 2, 2 * n_walkers
    by_chance = math.sqrt((stats.f.isf(R_HAT_CHANCE, m - 1, m * (n - 1)) + n - 1) / n)
    return max(SPLIT_R_HAT, by_chance)


def _effective_size(summary: Summary, name: str) -> str | None:
    value = summary[f"{name}_effective_sample_size"]
    if summary["n_cycles"] < MIN_CYCLES or not value < EFFECTIVE_SAMPLE_SIZE:
        return None
    return (
        f"The effective sample size of the {name} is {value:.1f}, below {EFFECTIVE_SAMPLE_SIZE:.0f}: its mean and the "
        "error of that are not to be relied on; more cycles are needed."
    )


def _prediction(summary: Summary) -> str | None:
    """The acceptance among labelled proposals against erfc(βσ/2√2), both with their errors."""
    labels = summary["labels"]
    if labels < MIN_LABELS:
        return None
    n_accepted = round(summary["acceptance"] * _proposed(summary))
    interval = stats.binomtest(n_accepted, labels).proportion_ci(confidence_level=ACCEPTANCE_LEVEL, method="wilson")
    # the relative error of a standard deviation of n Gaussian values is 1/√2(n−1)
    error = SIGMA_ERRORS / math.sqrt(2 * (labels - 1))
    low, high = (
        predicted_acceptance(summary["sigma_delta_h"] * factor, summary["temperature"])
        for factor in (1 + error, 1 - error)
    )
    if interval.low <= high and interval.high >= low:
        return None
    return (
        f"Acceptance of labelled proposals is {n_accepted / labels:.2f}, but the spread of ΔH predicts "
        f"{summary['predicted_acceptance']:.2f}: the chain may not be stationary, or a few proposals are unlike others."
    )


def _integration(summary: Summary) -> str | None:
    sigma, mismatch = summary["sigma_integration"], summary["sigma_mismatch"]
    predicted = summary["predicted_acceptance_integration"]
    if summary["labels"] < MIN_LABELS or not (sigma > mismatch and predicted < INTEGRATION_ACCEPTANCE):
        return None
    return (
        f"The integration error (σ {1000 * sigma:.3g} meV) exceeds the mismatch of model and target "
        f"({1000 * mismatch:.3g} meV) and alone lowers the acceptance to {predicted:.2f}: shorten the time step."
    )


def _proposed(summary: Summary) -> int:
    """All proposals, of which the acceptance is a fraction."""
    return int(summary["labels"] + summary["failed_labels"] + summary["diverged"])


_OF_A_CHAIN: tuple[Callable[[Summary], str | None], ...] = (
    _failed_labels,
    _diverged,
    _acceptance,
    _creutz,
    lambda summary: _r_hat(summary, "energy"),
    lambda summary: _r_hat(summary, "volume"),
    lambda summary: _effective_size(summary, "energy"),
    lambda summary: _effective_size(summary, "volume"),
)

"""What becomes of a run after children that did not do what they should."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from run_examples import training_that_ended

from aiida_slhmc.workflows.outcomes import describe_epoch, is_refused, refusal_of, result_of, usable_model


@calcfunction
def halve(number: orm.Int) -> orm.Int | ExitCode:
    return ExitCode(410, f"{number.value} is odd") if number.value % 2 else orm.Int(number.value // 2)


def test_result_or_the_reason_why_there_is_none() -> None:
    """Fails where all that is said is that a node has no output `result`."""
    assert result_of(halve.run_get_node(orm.Int(4))[1]) == 2
    with pytest.raises(RuntimeError, match=r"halve<\d+> ended with exit code 410: 3 is odd"):
        result_of(halve.run_get_node(orm.Int(3))[1])


def test_line_of_an_epoch(with_divergence, first_epoch) -> None:
    """Divergences are said where there are any, and only there."""
    assert "1 labels (1 proposals diverged), acceptance" in describe_epoch(with_divergence[0].outputs.summary)
    assert "4 labels, acceptance" in describe_epoch(first_epoch.outputs.summary)


BAD = {"gate": {"factor": 1.5, "ratios": {"loss": 1.2, "force_rmse_mev_per_angstrom": 1.75}}}
GOOD = {"gate": {"factor": 1.5, "ratios": {"loss": 0.2, "force_rmse_mev_per_angstrom": None}}}
OFF = {"gate": {"factor": None, "ratios": {"loss": 9.0}}}
FROM_SCRATCH = BAD | {"parameters": {"from_scratch": True}}


@pytest.mark.parametrize(
    ("status", "metrics", "is_used", "refused"),
    [
        (0, {}, True, False),
        (311, GOOD, True, False),
        (311, OFF, True, False),
        (311, FROM_SCRATCH, True, False),
        (311, BAD, False, True),
        (340, {}, False, True),
        (341, {}, False, True),
        (342, BAD, False, True),
        (411, {}, False, False),
        (412, {}, False, False),
    ],
)
def test_which_models_are_used(foundation, status: int, metrics: dict[str, Any], is_used: bool, refused: bool) -> None:
    """Fails where a model proposes that is worse than its parent, or a broken job passes for a refusal."""
    node = training_that_ended(status, model=foundation, metrics=metrics)
    model = usable_model(node)
    assert (model is not None, is_refused(node)) == (is_used, refused)
    assert model is None or model.uuid == foundation.uuid


def test_a_refusal_says_the_figures(foundation) -> None:
    assert refusal_of(training_that_ended(342, model=foundation)) == "so and so."
    text = refusal_of(training_that_ended(311, model=foundation, metrics=BAD))
    assert text == "Out of wall time, and on the validation set force_rmse_mev_per_angstrom is 1.75 times the parent's."

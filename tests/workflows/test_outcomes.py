"""What becomes of a run after children that did not do what they should."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_slhmc.workflows.outcomes import describe_epoch, result_of


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

"""The table of a finished run and the warnings below it."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from aiida_slhmc.report.display import epoch_table
from aiida_slhmc.report.figure import plot_history


def epoch(number: int, warnings: list[str]) -> dict[str, Any]:
    """A summary with the keys that reports read."""
    return {
        "epoch": number,
        "labels": 12,
        "acceptance": 0.5,
        "acceptance_interval": [0.25, 0.75],
        "n_steps": 20.0,
        "force_rmse_mev_per_angstrom": 80.0,
        "energy_rmse_mev_per_atom": None,
        "energy_rmse_centred_mev_per_atom": None,
        "creutz": 1.02,
        "creutz_error": 0.1,
        "warnings": warnings,
    }


def printed(history: dict[str, Any]) -> str:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(epoch_table(history))
    return capture.get()


def test_warnings_stand_below_the_table() -> None:
    """Fails where a warning is not shown, or it is not said which epoch it is of."""
    history = {"epochs": [epoch(0, []), epoch(1, ["Something is off."])], "run": {"warnings": ["All is off."]}}
    lines = printed(history).rstrip().splitlines()
    assert lines[-2:] == ["Epoch 1: Something is off.", "All epochs: All is off."]


def test_nothing_below_the_table_where_all_is_well() -> None:
    text = printed({"epochs": [epoch(0, [])], "run": {"warnings": []}})
    assert "1.02 ± 0.1" in text.rstrip().splitlines()[-1]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_figure(tmp_path, ending: str) -> None:
    path = tmp_path / f"epochs.{ending}"
    plot_history({"epochs": [epoch(0, []), epoch(1, [])]}, path, title="a run")
    assert path.stat().st_size > 1000

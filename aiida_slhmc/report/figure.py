"""The picture of a run: forward errors, acceptance and proposal length per epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ("plot_history",)


def plot_history(history: dict[str, Any], path: Path, *, title: str) -> None:
    """Draw the epochs of the ``history`` output of a run into *path* (PNG, PDF or SVG by its ending)."""
    epochs = history["epochs"]
    x = [epoch["epoch"] for epoch in epochs]
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    force, energy, acceptance, creutz = figure.subplots(2, 2, sharex=True).flat
    force.semilogy(x, _column(epochs, "force_rmse_mev_per_angstrom"), "o-")
    force.set_ylabel("forward force RMSE (meV/Å)")
    energy.semilogy(x, _column(epochs, "energy_rmse_mev_per_atom"), "o-", label="raw")
    energy.semilogy(x, _column(epochs, "energy_rmse_centred_mev_per_atom"), "s--", label="mean offset removed")
    energy.set_ylabel("forward energy RMSE (meV/atom)")
    energy.legend()
    _acceptance(acceptance, x, epochs)
    creutz.errorbar(x, _column(epochs, "creutz"), yerr=_column(epochs, "creutz_error"), fmt="o-", capsize=3)
    creutz.axhline(1, color="grey", linewidth=0.8)
    creutz.set_ylabel("⟨exp(−βΔH)⟩ (1 at stationarity)")
    for axes in (acceptance, creutz):
        axes.set_xlabel("epoch")
        axes.set_xticks(x)
    figure.savefig(path, dpi=130)


def _acceptance(axes: Any, x: list[int], epochs: list[dict[str, Any]]) -> None:
    values = _column(epochs, "acceptance")
    interval = np.array([epoch["acceptance_interval"] for epoch in epochs])
    below, above = values - interval[:, 0], interval[:, 1] - values
    axes.errorbar(x, values, yerr=np.clip([below, above], 0, None), fmt="o-", capsize=3)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("acceptance (95 % interval)")
    length = axes.twinx()
    length.plot(x, _column(epochs, "n_steps"), "^:", color="tab:orange")
    length.set_ylabel("proposal length (steps, triangles)", color="tab:orange")
    length.set_ylim(bottom=0)


def _column(epochs: list[dict[str, Any]], key: str) -> np.ndarray:
    """The values over epochs, NaN where there is none."""
    return np.array([np.nan if epoch[key] is None else epoch[key] for epoch in epochs], dtype=float)

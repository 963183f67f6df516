"""What a selection of the labels saves as they grow, and what it forgets.

    OMP_NUM_THREADS=1 python benchmarks/fine_tuning/selection.py [--updates 20] [--epochs 2]

Twenty updates, each with a block of 12 labels more of the stand-in's "PBE" (no DFT, 12-atom rutile): training on all
labels, on the newest block and a window of the 36 latest of the older ones, and on the newest block and a reservoir of
36 of the older ones. Same data, same seed, same number of epochs. The cell lengths grow from block to block, by 4 % in
all, so that a window can forget where the run has been. After each update the model meets configurations it was never
trained on: 12 `now`, in the cell of the newest block, and 12 `old`, in the cell of the first.

The table is printed and left in build/fine_tuning/, the picture in docs/images/selection_cost.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import FOUNDATION, ROOT, configurations
from jobs import BALANCED, environment, leave, markdown, run_job, warm_up
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

TARGET = "pbe"
N_BLOCK = 12
STRETCH = (0.98, 1.02)  # factors of the cell lengths at the first and at the last block
SIZE = 36
SELECTIONS: dict[str, dict[str, Any]] = {
    "all": {"method": "all"},
    f"window {SIZE}": {"method": "window", "size": SIZE},
    f"reservoir {SIZE}": {"method": "reservoir", "size": SIZE},
}
SHOWN = (1, 2, 5, 10, 15, 20)
OPTIONS = BALANCED | {"learning_rate": 0.002, "scheduler": "constant", "gate_factor": None}
FORCE = "force_rmse_mev_per_angstrom"
Updates = list[dict[str, Any]]  # figures of each update


def make_blocks(n_updates: int, seed: int) -> list[list[Any]]:
    """One block for each update, its cell a little larger than the one's before."""
    stretch = np.repeat(np.linspace(*STRETCH, n_updates), N_BLOCK)
    frames = configurations(TARGET, len(stretch), seed=seed, stretch=list(stretch), steps_per_frame=100)
    return [frames[start : start + N_BLOCK] for start in range(0, len(frames), N_BLOCK)]


def follow(
    folder: Path, selection: dict[str, Any], blocks: list[list[Any]], tests: list[list[Any]], epochs: int
) -> Updates:
    """Update a model with block after block."""
    model, figures = FOUNDATION, []
    options = OPTIONS | {"max_epochs": epochs, "patience": epochs, "selection": selection}
    for index in range(len(blocks)):
        probes = {"now": tests[index], "old": tests[0]}
        outcome = run_job(folder / f"{index:02d}", model, blocks[: index + 1], options, probes=probes)
        model = outcome.model
        figures.append(
            {
                "update": index + 1,
                "cpu_seconds": outcome.cpu_seconds,
                "n_labels": N_BLOCK * (index + 1),
                "n_training": outcome.metrics["n_training"],
                "now": outcome.probe("now")[FORCE],
                "old": outcome.probe("old")[FORCE],
                "status": outcome.status,
            }
        )
        print(folder.name, figures[-1], flush=True)
    return figures


def table(found: dict[str, Updates]) -> str:
    """Figures of some updates, and the sums."""
    heads = ["update"]
    for name in found:
        heads += [f"{name}: CPU (s)", "trained on", "now (meV/Å)", "old (meV/Å)"]
    n_updates = len(next(iter(found.values())))
    rows = []
    for update in [number for number in SHOWN if number <= n_updates]:
        row: list[Any] = [update]
        for updates in found.values():
            figures = updates[update - 1]
            row += [
                f"{figures['cpu_seconds']:.1f}",
                figures["n_training"],
                f"{figures['now']:.1f}",
                f"{figures['old']:.1f}",
            ]
        rows.append(row)
    total: list[Any] = [f"sum of {n_updates}"]
    for updates in found.values():
        seconds, configurations_trained = (
            sum(figures[key] for figures in updates) for key in ("cpu_seconds", "n_training")
        )
        total += [f"{seconds:.1f}", configurations_trained, None, None]
    return markdown(heads, [*rows, total])


def draw(found: dict[str, Updates], path: Path) -> None:
    """Cost of each update, and the errors after it."""
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    cost, error = figure.subplots(1, 2)
    for color, (name, updates) in zip(("tab:blue", "tab:orange", "tab:green"), found.items(), strict=True):
        numbers = [figures["update"] for figures in updates]
        cost.plot(numbers, [figures["cpu_seconds"] for figures in updates], "o-", ms=3, color=color, label=name)
        error.plot(numbers, [figures["now"] for figures in updates], "-", color=color, label=f"{name}: newest cell")
        error.plot(numbers, [figures["old"] for figures in updates], "--", color=color, label=f"{name}: first cell")
    cost.set(xlabel="update", ylabel="CPU time of the update (s)", ylim=(0, None))
    error.set(xlabel="update", ylabel="force RMSE of new configurations (meV/Å)", yscale="log")
    cost.legend()
    error.legend(fontsize=7)
    error.set_yticks((10, 20, 50, 100, 200), ("10", "20", "50", "100", "200"))
    error.minorticks_off()
    for axes in (cost, error):
        axes.set_xticks(SHOWN)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{N_BLOCK} labels more at each update; stand-in, not DFT", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fine_tuning")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "selection_cost.png")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    blocks, tests = (make_blocks(arguments.updates, seed) for seed in (11, 12))
    folder = arguments.folder / "selection"
    warm_up(folder / "warm_up", FOUNDATION, blocks[0])
    found = {
        name: follow(folder / name.split()[0], selection, blocks, tests, arguments.epochs)
        for name, selection in SELECTIONS.items()
    }
    content = environment() | {"epochs": arguments.epochs, "selections": found}
    leave(arguments.folder, "selection", content, table(found))
    draw(found, arguments.picture)


if __name__ == "__main__":
    main()

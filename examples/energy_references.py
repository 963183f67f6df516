"""Which energy references should a fine-tuning towards another functional start from? An experiment without AiiDA.

    OMP_NUM_THREADS=1 python examples/energy_references.py [--epochs 10] [--cases pbe r2scan hse06 "pbe, isolated ions"]

(about ten minutes on an idle core; what an earlier start has finished is kept)

Four blocks of 12 labels of each of the stand-in's functionals (rigid-ion potentials, no DFT; 12-atom rutile at 300 K).
The foundation is updated block after block as in a self-learning run, with the references

- keep: those of the foundation;
- average: least squares of the labels' energies (the paper's; MACE's ``E0s=average``);
- shift: the foundation's, moved by least squares of its energy errors (the default here);
- explicit: a table, here of isolated ions, whose energy is 0 in these potentials.

They are set at the first update and kept after it, at the learning rates 0.01 (the paper's) and 0.001 (`balanced`). In
the last case the same foundation has the references of isolated ions and its cohesive energy in its interaction part,
as foundations have that were trained with energies of isolated atoms; it predicts the same.

Each update has the same number of epochs, in single precision, which gives the same errors in less time; patience is
off. Errors are forward errors: of a block, by the model that was trained on the blocks before it. The table and the
figures are left in build/energy_references/, the picture in docs/images/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "fine_tuning"))  # data and jobs are shared with the benchmarks

from data import FOUNDATION, configurations  # noqa: E402
from jobs import BALANCED, environment, leave, markdown, run_job  # noqa: E402

from aiida_slhmc.worker.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from aiida_slhmc.worker.references import get_atomic_energies, set_atomic_energies  # noqa: E402

N_BLOCKS, N_BLOCK = 4, 12
REFERENCES: dict[str, dict[str, Any]] = {
    "keep": {"method": "keep"},
    "average": {"method": "average"},
    "shift": {"method": "shift"},
    "explicit": {"method": "explicit", "table": {"Ti": 0.0, "O": 0.0}},
}
RATES = ("0.01", "0.001")
# name -> functional, and whether the foundation's references are those of isolated ions
CASES = {
    "pbe": ("pbe", False),
    "r2scan": ("r2scan", False),
    "hse06": ("hse06", False),
    "pbe, isolated ions": ("pbe", True),
}
FORCE, ENERGY = "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom"
OFFSET_REMOVED = "energy_offset_removed_rmse_mev_per_atom"
COLORS = {"keep": "tab:gray", "average": "tab:orange", "shift": "tab:blue", "explicit": "tab:red"}
Updates = list[dict[str, Any]]  # figures of each update
Found = dict[str, dict[str, dict[str, Updates]]]  # by case, learning rate and references


def isolated_ions(path: Path) -> Path:
    """Write the foundation with its energy references moved into the interaction, at the composition of TiO₂."""
    model: Any = load_checkpoint(FOUNDATION)
    table = get_atomic_energies(model)
    model.scale_shift.shift += (table["Ti"] + 2 * table["O"]) / 3
    set_atomic_energies(model, dict.fromkeys(table, 0.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, path)
    return path


def follow(
    folder: Path, model: Path, blocks: list[list[Any]], references: dict[str, Any], rate: str, epochs: int
) -> Updates:
    """Update a model with block after block; what predicts the next one is the model after each."""
    figures: Updates = []
    # a model that the gate would refuse is gone on with, so that all are seen to the end
    options = BALANCED | {
        "learning_rate": float(rate),
        "references": references,
        "gate_factor": None,
        "dtype": "float32",
    }
    options |= {"max_epochs": epochs, "patience": epochs}
    for index in range(N_BLOCKS - 1):
        probes = {"next": blocks[index + 1]} | ({"first": blocks[0]} if index == 0 else {})
        outcome = run_job(folder / str(index), model, blocks[: index + 1], options, probes=probes, keep=True)
        model = outcome.model
        if not figures:  # the foundation predicts the first block
            figures.append({"n_labels": 0, "forward": outcome.probe("first", "parent")})
        figures.append(
            {
                "n_labels": N_BLOCK * (index + 1),
                "forward": outcome.probe("next"),
                "initial_validation": outcome.metrics["initial"]["validation"],
                "validation": outcome.metrics["final"]["validation"],
                "best_epoch": outcome.metrics["best_epoch"],
                "references": outcome.metrics["references"]["table"],
                "status": outcome.status,
            }
        )
    return figures


def measure(folder: Path, case: str, epochs: int) -> dict[str, dict[str, Updates]]:
    """All updates of all arms of a case."""
    functional, isolated = CASES[case]
    foundation = isolated_ions(folder / "isolated_ions.safetensors") if isolated else FOUNDATION
    blocks = [configurations(functional, N_BLOCK, seed=21 + index) for index in range(N_BLOCKS)]
    found: dict[str, dict[str, Updates]] = {rate: {} for rate in RATES}
    for rate in RATES:
        for name, references in REFERENCES.items():
            if isolated and name == "explicit":  # the foundation has these references
                continue
            place = folder / case.replace(", ", "_").replace(" ", "_") / f"{name}_{rate}"
            found[rate][name] = follow(place, foundation, blocks, references, rate, epochs)
            print(case, *_cells(rate, name, found[rate][name]), sep="  ", flush=True)
    return found


def table(found: Found) -> str:
    """Forward errors of each block, and validation errors at the end."""
    labels = [N_BLOCK * index for index in range(1, N_BLOCKS)]
    heads = ["case", "learning rate", "references"]
    heads += [f"forward forces, {n} labels" for n in labels]
    heads += [f"forward energy (offset removed), {n}" for n in labels]
    heads += ["validation: forces", "energy", "before any training: energy"]
    rows = []
    for case, rates in found.items():
        for rate, arms in rates.items():
            rows += [[case, *_cells(rate, name, updates)] for name, updates in arms.items()]
    return f"{markdown(heads, rows)}\n\nForces in meV/Å, energies in meV/atom, root mean squares.\n\n{_winners(found)}"


def _cells(rate: str, name: str, updates: Updates) -> list[str]:
    trained = updates[1:]
    forces = [f"{figures['forward'][FORCE]:.1f}" for figures in trained]
    energies = [f"{figures['forward'][ENERGY]:.2f} ({figures['forward'][OFFSET_REMOVED]:.2f})" for figures in trained]
    last, first = trained[-1]["validation"], trained[0]["initial_validation"]
    return [rate, name, *forces, *energies, f"{last[FORCE]:.1f}", f"{last[ENERGY]:.2f}", f"{first[ENERGY]:.2f}"]


def _winners(found: Found) -> str:
    """For each case, the arms with the lowest forward errors of the first trained and of the last block."""
    lines = []
    for case, rates in found.items():
        words = []
        for index in (1, N_BLOCKS - 1):
            for what, key in (("forces", FORCE), ("energies", ENERGY)):
                errors = {
                    f"{name} at {rate}": arms[name][index]["forward"][key]
                    for rate, arms in rates.items()
                    for name in arms
                }
                words.append(f"{what} {min(errors, key=errors.__getitem__)}")
        lines.append(
            f"- {case}: best after the first update: {', '.join(words[:2])}; after the last: {', '.join(words[2:])}"
        )
    return "\n".join(lines)


def draw(found: Found, path: Path) -> None:
    """Forward errors against the number of labels."""
    figure = Figure(figsize=(3.6 * len(found), 5.6))
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(found), sharex=True, sharey="row", squeeze=False)
    for column, (case, rates) in zip(axes.T, found.items(), strict=True):
        for rate, style in zip(RATES, ("--", "-"), strict=True):
            for name, updates in rates[rate].items():
                labels = [figures["n_labels"] for figures in updates]
                for panel, key in zip(column, (FORCE, ENERGY), strict=True):
                    values = [figures["forward"][key] for figures in updates]
                    panel.plot(labels, values, style, marker="o", ms=3, color=COLORS[name], label=f"{name}, {rate}")
        column[0].set(title=case, yscale="log")
        column[1].set(xlabel="labels trained on", yscale="log", xticks=range(0, N_BLOCK * N_BLOCKS, N_BLOCK))
        for panel in column:
            panel.grid(alpha=0.3)
    axes[0, 0].set_ylabel("forward force RMSE (meV/Å)")
    axes[1, 0].set_ylabel("forward energy RMSE (meV/atom)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.suptitle("Energy references and learning rate; stand-in functionals, not DFT", fontsize=10)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.legend(handles, names, loc="lower center", ncols=len(REFERENCES), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "energy_references")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "energy_references.png")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--epochs", type=int, default=10, help="of each update")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: Found = {case: measure(arguments.folder, case, arguments.epochs) for case in arguments.cases}
    content = environment() | {"epochs": arguments.epochs, "found": found}
    leave(arguments.folder, "energy_references", content, table(found))
    draw(found, arguments.picture)


if __name__ == "__main__":
    main()

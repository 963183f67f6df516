"""What force constants in the training are worth: phonons of fine-tuned models against the target's own.

    python benchmarks/phonon_fine_tuning.py

24-atom rutile (√2 × √2 × 2); the target is the stand-in's "PBE", the model starts as the foundation. The target is
evaluated for a few thermal configurations (300 K) and for the displaced supercells that phonopy asks for. These labels
are the same for all trainings:

- labels only: the displaced supercells are configurations like the others;
- force constants: phonopy makes force constants of them, trained on beside the thermal configurations;
- both: they are configurations *and* make force constants.

A step with a column costs two to three times as much as one without, so trainings of 2.5 times the epochs are compared,
too.

Phonons are those of the Hessian at the target's equilibrium, on a mesh with Γ and Z. The target's Hessian comes from
central differences of its forces, without phonopy's use of symmetry, so the error of the force constants that are
trained on is in the comparison. Results are printed and written to build/phonons/; stopped, the same command goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase.io import read, write
from phonon_data import N_THERMAL, Data

from aiida_slhmc.worker.fine_tune import run

ROOT = Path(__file__).parents[1]
FOUNDATION = ROOT / "examples" / "foundation" / "foundation.safetensors"
BATCH_SIZE = 2


@dataclass(frozen=True)
class Arm:
    """A way to train."""

    with_displaced: bool  # whether the displaced supercells are labels
    with_force_constants: bool
    longer: float = 1.0  # factor of the number of epochs


ARMS = {
    "labels only": Arm(True, False),
    "labels only, 2.5 × the epochs": Arm(True, False, longer=2.5),
    "force constants": Arm(False, True),
    "both": Arm(True, True),
    "both, 2.5 × the epochs": Arm(True, True, longer=2.5),
}


def train(data: Data, folder: Path, arm: Arm, options: dict[str, Any]) -> dict[str, Any]:
    """Run the fine-tuning job of an arm in a folder, unless it has run; returns its metrics."""
    if not (folder / "metrics.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "datasets").mkdir(parents=True)
        names = ("thermal", "displaced") if arm.with_displaced else ("thermal",)
        frames = [atoms for name in names for atoms in read(data.folder / f"{name}.extxyz", ":")]
        write(folder / "datasets" / "block_000.extxyz", frames)
        if arm.with_force_constants:
            (folder / "force_constants").mkdir()
            shutil.copy(data.folder / "force_constants.npz", folder / "force_constants" / "supercell.npz")
        shutil.copy(FOUNDATION, folder / "model.safetensors")
        (folder / "parameters.json").write_text(json.dumps(options))
        run(folder)
    return json.loads((folder / "metrics.json").read_text())


def table(rows: dict[str, dict[str, float]]) -> str:
    """The results as Markdown."""
    heads = (
        "model",
        "frequencies: RMSE (THz)",
        "max (THz)",
        "lowest (THz)",
        "free energy at 300 K (meV per 6 atoms)",
        "forces: RMSE (meV/Å)",
    )
    digits = {"frequency_rmse": 3, "frequency_max": 2, "lowest": 2, "free_energy": 2, "force_rmse": 1}
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for name, row in rows.items():
        # rounded first: no minus is left before a zero
        cells = [f"{round(row[key], n) + 0.0:.{n}f}" if math.isfinite(row[key]) else "–" for key, n in digits.items()]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def results(data: Data, arguments: argparse.Namespace, name: str, weight: float) -> dict[str, dict[str, float]]:
    """The rows of an arm, one for each seed."""
    rows, arm = {}, ARMS[name]
    epochs = round(arm.longer * arguments.epochs)
    for seed in range(arguments.seeds):
        options = {"max_epochs": epochs, "patience": epochs, "scheduler": "cosine", "batch_size": BATCH_SIZE}
        options |= {"seed": seed, "hessian": {"weight": weight}} if weight else {"seed": seed}
        label = f"{name}, weight {weight:g}" if weight else name
        folder = arguments.folder / f"{'_'.join(label.replace(',', '').split())}_{epochs}_seed_{seed}"
        metrics = train(data, folder, arm, options)
        row = data.report(folder / "trained.safetensors") | {"seconds": metrics["seconds"]}
        rows[f"{label}, seed {seed}"] = row
        print(f"{label}, seed {seed}: {metrics['status']}: {metrics['message']}; {row}", flush=True)
    return rows


def main() -> None:
    """Make the data, train the arms, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "phonons")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--weights", type=float, nargs="+", default=[10.0], help="of the Hessian term")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(arguments.folder / "data")
    n_labels = N_THERMAL + len(data.phonons.supercells_with_displacements)
    print(f"{n_labels} labels for each training; the target's free energy is {data.exact.free_energy:.3f} kJ/mol")
    rows = {"phonopy's force constants": data.phonopy_report(), "foundation": data.report(FOUNDATION)}
    for name, arm in ARMS.items():
        for weight in arguments.weights if arm.with_force_constants else [0.0]:
            rows |= results(data, arguments, name, weight)
    (arguments.folder / "results.json").write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()

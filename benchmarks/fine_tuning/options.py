"""Each option of a fine-tuning against a common baseline: same data, same seeds, same number of epochs.

    OMP_NUM_THREADS=1 python benchmarks/fine_tuning/options.py [--only NAME ...] [--epochs 20]

The baseline is the training of the protocol `balanced` from the foundation model towards the stand-in's "PBE" (no
DFT): 12-atom rutile, two blocks of 12 labels at constant cell. Every other row changes what its name says and nothing
else, so it is no contest of tuned settings. Errors are root mean squares on configurations that never took part:

- target: 24 of the target, from another trajectory;
- strained: 24 of the target in cells strained by 1 % (no training has seen another cell than its own);
- foundation: 24 of the functional the foundation was trained on; what is lost there has been forgotten.

Patience is off, so every training has the same number of epochs; the model is that of the best validation loss. Times
are CPU times in the same run, over the mean of the trainings that do the baseline's work. A second table starts from a
model that is already good, and asks whether an update with one more block upsets it. The tables are left in
build/fine_tuning/.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from data import FOUNDATION, FOUNDATION_FUNCTIONAL, ROOT, configurations
from jobs import BALANCED, Outcome, environment, leave, markdown, run_job, warm_up

TARGET = "pbe"
N_BLOCK, N_PROBE, STRAIN = 12, 24, 0.01
PROBES = ("target", "strained", "foundation")
BASELINE = "baseline (`balanced`)"
# they differ by nothing or by the seed: how far their times differ is the noise of the machine
SAME_WORK = (BASELINE, "seed 1", "seed 2", "schedule constant")
FROZEN_BODY = ["embedding", "interactions"]
ALL_BUT_READOUTS = ["embedding", "interactions", "products"]
# name of a row -> what differs from the baseline
VARIATIONS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "seed 1": {"seed": 1},
    "seed 2": {"seed": 2},
    "learning rate 0.01": {"learning_rate": 0.01},
    "learning rate 0.005": {"learning_rate": 0.005},
    "learning rate 0.0003": {"learning_rate": 0.0003},
    "batch 1": {"batch_size": 1},
    "batch 8": {"batch_size": 8},
    "loss energy_forces_l1_l2": {"loss": "energy_forces_l1_l2"},
    "loss energy_forces_stress": {"loss": "energy_forces_stress", "stress_weight": 100.0},
    "loss energy_forces_stress, weight 10000": {"loss": "energy_forces_stress", "stress_weight": 10000.0},
    "loss huber": {"loss": "huber", "stress_weight": 100.0},
    "loss universal": {"loss": "universal", "stress_weight": 100.0},
    "schedule exponential 0.9": {"scheduler": "exponential", "scheduler_factor": 0.9},
    "schedule cosine": {"scheduler": "cosine"},
    "schedule constant": {"scheduler": "constant"},
    "EMA 0.99": {"ema_decay": 0.99},
    "freeze embedding, interactions": {"freeze": FROZEN_BODY},
    "freeze all but readouts": {"freeze": ALL_BUT_READOUTS},
    "LoRA rank 4": {"lora": {"rank": 4}},
    "LoRA rank 4, learning rate 0.01": {"lora": {"rank": 4}, "learning_rate": 0.01},
    "float32": {"dtype": "float32"},
    "kernels cuequivariance": {"kernels": "cuequivariance"},
    "from scratch": {"from_scratch": True},
    "from scratch, learning rate 0.01": {"from_scratch": True, "learning_rate": 0.01},
    "replay, weight 0.1": {"replay": {"weight": 0.1}},
    "replay, weight 1": {"replay": {"weight": 1.0}},
    "replay, weight 10": {"replay": {"weight": 10.0}},
}
# the update of a model that is already good
UPDATES: dict[str, dict[str, Any]] = {
    "learning rate 0.001, batch 4": {},
    "learning rate 0.001, batch 2": {"batch_size": 2},
    "learning rate 0.005, batch 4": {"learning_rate": 0.005},
    "learning rate 0.005, batch 2 (`fast`)": {"learning_rate": 0.005, "batch_size": 2, "scheduler_patience": 3},
    "learning rate 0.01, batch 8 (`paper`)": {"learning_rate": 0.01, "batch_size": 8},
}
UPDATE_EPOCHS = 10
HEADS = (
    "training",
    "target: forces (meV/Å)",
    "energy (meV/atom)",
    "… offset removed",
    "stress (GPa)",
    "strained: forces (meV/Å)",
    "energy, offset removed (meV/atom)",
    "foundation: forces (meV/Å)",
    "best epoch",
    "CPU time / baseline",
    "status",
)


class Benchmark:
    """The data, and the trainings on them."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.folder = folder
        self.common = BALANCED | {"max_epochs": epochs, "patience": epochs}
        self.blocks = [configurations(TARGET, N_BLOCK, seed=seed) for seed in (1, 2, 3)]
        self.replay = configurations(FOUNDATION_FUNCTIONAL, N_PROBE, seed=4)
        self.probes = {
            "target": configurations(TARGET, N_PROBE, seed=5),
            "strained": configurations(TARGET, N_PROBE, seed=7, strain=STRAIN),
            "foundation": configurations(FOUNDATION_FUNCTIONAL, N_PROBE, seed=6),
        }
        warm_up(folder / "warm_up", FOUNDATION, self.blocks[0])

    def vary(self, name: str) -> Outcome:
        """Train from the foundation on the first two blocks."""
        return run_job(
            self.folder / _file_name(name),
            FOUNDATION,
            self.blocks[:2],
            self.common | VARIATIONS[name],
            probes=self.probes,
            replay=self.replay if "replay" in VARIATIONS[name] else None,
        )

    def update(self, name: str, model: Path) -> Outcome:
        """Train a good model on all three blocks."""
        options = self.common | {"max_epochs": UPDATE_EPOCHS, "patience": UPDATE_EPOCHS} | UPDATES[name]
        return run_job(self.folder / f"update_{_file_name(name)}", model, self.blocks, options, probes=self.probes)


def row(name: str, outcome: Outcome) -> dict[str, Any]:
    """Figures of a training."""
    if "final" not in outcome.metrics:
        return {"name": name, "status": f"{outcome.status}: {outcome.metrics['message']}"}
    return {
        "name": name,
        **{probe: outcome.probe(probe) for probe in PROBES},
        "best_epoch": outcome.metrics["best_epoch"],
        "cpu_seconds": outcome.cpu_seconds,
        "status": outcome.status,
    }


def start_row(name: str, outcome: Outcome) -> dict[str, Any]:
    """Figures of the model that a training started from."""
    return {"name": name} | {probe: outcome.probe(probe, "parent") for probe in PROBES}


def cells(figures: dict[str, Any], reference: float) -> list[Any]:
    """A row of the table, its time in units of *reference* CPU seconds."""
    if "target" not in figures:
        return [figures["name"], *[None] * (len(HEADS) - 2), figures["status"]]
    target, seconds = figures["target"], figures.get("cpu_seconds")
    return [
        figures["name"],
        f"{target['force_rmse_mev_per_angstrom']:.1f}",
        f"{target['energy_rmse_mev_per_atom']:.2f}",
        f"{target['energy_offset_removed_rmse_mev_per_atom']:.2f}",
        f"{target['stress_rmse_gpa']:.2f}",
        f"{figures['strained']['force_rmse_mev_per_angstrom']:.1f}",
        f"{figures['strained']['energy_offset_removed_rmse_mev_per_atom']:.2f}",
        f"{figures['foundation']['force_rmse_mev_per_angstrom']:.1f}",
        figures.get("best_epoch"),
        None if seconds is None else f"{seconds / reference:.2f}",
        figures.get("status"),
    ]


def measure_options(benchmark: Benchmark, names: list[str]) -> tuple[list[dict[str, Any]], Outcome]:
    """The rows of the first table, and the baseline."""
    baseline = benchmark.vary(BASELINE)
    rows = [start_row("foundation, not trained", baseline), row(BASELINE, baseline)]
    print(baseline.metrics["message"], f"{baseline.cpu_seconds:.1f} s of CPU time", flush=True)
    for name in names:
        if VARIATIONS[name].get("kernels") == "cuequivariance" and find_spec("cuequivariance_torch") is None:
            rows.append({"name": name, "status": "not installed"})
            continue
        rows.append(row(name, benchmark.vary(name)))
        print("  ".join(str(cell) for cell in cells(rows[-1], baseline.cpu_seconds)), flush=True)
    return rows, baseline


def measure_updates(benchmark: Benchmark, baseline: Outcome) -> list[dict[str, Any]]:
    """The rows of the second table: updates of the baseline's model."""
    outcomes = {name: benchmark.update(name, baseline.model) for name in UPDATES}
    first = next(iter(outcomes.values()))
    return [start_row("baseline's model, not updated", first)] + [
        row(name, outcome) for name, outcome in outcomes.items()
    ]


def report(content: dict[str, Any]) -> str:
    """Both tables. Times are in units of the mean of the trainings that do the same work as the first row."""
    same = [entry["cpu_seconds"] for entry in content["options"] if entry["name"] in SAME_WORK]
    first = content["updates"][1]["cpu_seconds"]
    return "\n\n".join(
        (
            f"{content['epochs']} epochs from the foundation, {2 * N_BLOCK} labels:",
            markdown(HEADS, [cells(entry, sum(same) / len(same)) for entry in content["options"]]),
            f"{UPDATE_EPOCHS} epochs from the baseline's model, with {N_BLOCK} labels more:",
            markdown(HEADS, [cells(entry, first) for entry in content["updates"]]),
        )
    )


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fine_tuning")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", nargs="*", choices=list(VARIATIONS), default=list(VARIATIONS), metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = Benchmark(arguments.folder / "options", arguments.epochs)
    rows, baseline = measure_options(benchmark, [name for name in arguments.only if name != BASELINE])
    updates = measure_updates(benchmark, baseline)
    content = environment() | {"epochs": arguments.epochs, "options": rows, "updates": updates}
    leave(arguments.folder, "options", content, report(content))


if __name__ == "__main__":
    main()

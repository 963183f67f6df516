"""How many labels of the target functional does a model need? From scratch and from the foundation.

    verdi -p demo run examples/learning_curve.py            makes the labels first
    verdi -p demo run examples/learning_curve.py --run PK   takes those of a finished self-learning run

The labels come from a self-learning run of 12-atom rutile in blocks of 8; the target is a stand-in for VASP, not DFT.
Each model is trained on the first 1, 2, 4 and 8 blocks, with the same number of steps of the optimiser; the last block
is never trained on and tests them all (input ``probes``). The arms start from random weights or from the foundation,
with different energy references. Everything is a job of AiiDA's, with caching switched on: stopped, the same command
goes on where it was. Table, figures and picture are left in build/learning_curve/.

`examples/setup_demo.py` has to have been run once (`make demo-profile`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from ase import Atoms
from ase.spacegroup import crystal
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

# under `verdi run`, __file__ is only the file's name
HERE = Path(sys.argv[0]).resolve().parent
N_WALKERS, N_CYCLES = 4, 2  # 8 labels in a block
BATCH_SIZE = 4
# single precision gives the same errors in two thirds of the time (benchmarks/fine_tuning/options.py)
OPTIONS = {"learning_rate": 0.01, "batch_size": BATCH_SIZE, "gate_factor": None, "dtype": "float32"}
# arm -> what differs
ARMS: dict[str, dict[str, Any]] = {
    "from scratch, average": {"from_scratch": True, "references": {"method": "average"}},
    "from scratch, shift": {"from_scratch": True, "references": {"method": "shift"}},
    "foundation, keep": {"references": {"method": "keep"}},
    "foundation, average": {"references": {"method": "average"}},
    "foundation, shift": {"references": {"method": "shift"}},
    # the isolated ions of the stand-in's potential have no energy
    "foundation, explicit": {"references": {"method": "explicit", "table": {"Ti": 0.0, "O": 0.0}}},
}
FORCE, ENERGY = "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom"
OFFSET_REMOVED = "energy_offset_removed_rmse_mev_per_atom"
Curve = list[dict[str, Any]]  # figures of an arm, one training after the other


def foundation() -> MaceModelData:
    """The model that `setup_demo.py` has stored."""
    return orm.QueryBuilder().append(MaceModelData, filters={"label": "foundation"}).first(flat=True)


def rutile() -> Atoms:
    """Two unit cells on top of one another."""
    unit = crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )
    cell = Atoms(unit.symbols, positions=unit.positions, cell=unit.cell.array, pbc=True) * (1, 1, 2)
    return cell[np.argsort(cell.numbers == 8, kind="stable")]


def run_of_labels(n_blocks: int) -> orm.WorkChainNode:
    """A self-learning run that makes this many blocks, or what is stored of it."""
    builder = SlhmcWorkChain.get_builder_from_protocol(
        structure=orm.StructureData(ase=rutile()),
        model=foundation(),
        python_code=orm.load_code("python@localhost"),
        functional="pbe",
        target="vasp",
        target_options={
            "code": orm.load_code("vasp-standin@localhost"),
            "potential_family": "standin-pbe",
            "options": {"withmpi": False},
        },
        protocol="fast",
        overrides={
            "kernel": {"seed": 2026},
            "n_walkers": N_WALKERS,
            "n_cycles": N_CYCLES,
            "label_budget": N_WALKERS * N_CYCLES * n_blocks,
        },
    )
    builder.metadata.label = "learning curve: labels"
    node = run_get_node(builder)[1]
    if not node.is_finished_ok:
        raise SystemExit(f"run {node.pk} failed: {node.exit_message}; see `verdi process report {node.pk}`")
    return node


def train(blocks: list[DatasetData], test: DatasetData, arm: str, n_steps: int) -> orm.CalcJobNode:
    """Train an arm on some blocks."""
    builder = MaceFineTuneCalculation.get_builder()
    builder.code = orm.load_code("python@localhost")
    builder.model = foundation()
    builder.datasets = {f"block_{index:04d}": block for index, block in enumerate(blocks)}
    builder.probes = {"test": test}
    builder.parameters = OPTIONS | ARMS[arm] | epochs_of(n_steps, blocks)
    builder.metadata.label = f"learning curve: {arm}, {len(blocks)} blocks"
    return run_get_node(builder)[1]


def epochs_of(n_steps: int, blocks: list[DatasetData]) -> dict[str, int]:
    """Epochs that make about this many steps of the optimiser; a tenth of each block validates."""
    n_training = sum(block.n_frames - max(1, round(0.1 * block.n_frames)) for block in blocks)
    n_epochs = math.ceil(n_steps / math.ceil(n_training / BATCH_SIZE))
    return {"max_epochs": n_epochs, "patience": n_epochs}


def figures_of(node: orm.CalcJobNode) -> dict[str, Any]:
    """What the graph says about a training: its data, its errors and how it ended."""
    if "metrics" not in node.outputs:
        raise SystemExit(f"training {node.pk} failed: {node.exit_message}")
    metrics = node.outputs.metrics.get_dict()
    return {
        "uuid": node.uuid,
        "n_labels": sum(block.n_frames for block in node.inputs.datasets.values()),
        "test": metrics["probes"]["test"]["final"],
        "before": metrics["probes"]["test"]["parent"],
        "best_epoch": metrics["best_epoch"],
        "n_epochs": metrics["n_epochs"],
        "status": metrics["status"],
    }


def measure(blocks: list[DatasetData], arms: list[str], sizes: list[int], n_steps: int) -> dict[str, Curve]:
    """Train all arms, the cheapest point of each first."""
    found: dict[str, Curve] = {arm: [] for arm in arms}
    for n_blocks in sizes:
        for arm in arms:
            node = train(blocks[:n_blocks], blocks[-1], arm, n_steps)
            figures = figures_of(node)
            found[arm].append(figures)
            print(f"{arm}: {figures['n_labels']} labels, force RMSE {figures['test'][FORCE]:.1f} meV/Å", flush=True)
    return found


def table(found: dict[str, Curve]) -> str:
    """Errors on the test block as Markdown."""
    labels = [figures["n_labels"] for figures in next(iter(found.values()))]
    heads = ["start, references", *(f"{n} labels: forces" for n in labels)]
    heads += [f"{n}: energy (offset removed)" for n in labels]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    before = next(iter(found.values()))[0]["before"]
    for arm, curve in found.items():
        forces = [f"{figures['test'][FORCE]:.1f}" for figures in curve]
        energies = [f"{figures['test'][ENERGY]:.2f} ({figures['test'][OFFSET_REMOVED]:.2f})" for figures in curve]
        lines.append("| " + " | ".join([arm, *forces, *energies]) + " |")
    lines += [
        "",
        "Root mean squares on the test block, forces in meV/Å, energies in meV/atom. The foundation, not trained:"
        f" {before[FORCE]:.1f} meV/Å, {before[ENERGY]:.2f} ({before[OFFSET_REMOVED]:.2f}) meV/atom.",
    ]
    return "\n".join(lines)


def draw(found: dict[str, Curve], path: Path) -> None:
    """Errors against the number of labels, both logarithmic."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for panel, (key, title) in zip(
        panels, ((FORCE, "force RMSE (meV/Å)"), (ENERGY, "energy RMSE (meV/atom)")), strict=True
    ):
        for arm, curve in found.items():
            labels = [figures["n_labels"] for figures in curve]
            panel.loglog(
                labels, [figures["test"][key] for figures in curve], "o--" if "scratch" in arm else "o-", label=arm
            )
        panel.set(xlabel="labels of the target", ylabel=title)
        panel.set_xticks(labels, [str(n) for n in labels])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.suptitle("Errors on labels never trained on (target: stand-in, not DFT)", fontsize=10)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", metavar="PK", help="a finished self-learning run, towards one functional")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "build" / "learning_curve")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), metavar="ARM")
    parser.add_argument("--blocks", nargs="+", type=int, default=[1, 2, 4, 8], help="to train on")
    parser.add_argument("--steps", type=int, default=200, help="of the optimiser, for each training")
    arguments = parser.parse_args()
    sizes = sorted(set(arguments.blocks))
    with enable_caching():
        run = orm.load_node(arguments.run) if arguments.run else run_of_labels(sizes[-1] + 1)
        blocks = [block for _, block in sorted(run.outputs.datasets.items())]
        if len(blocks) <= sizes[-1]:
            parser.error(f"run {run.pk} has {len(blocks)} blocks; one more than the {sizes[-1]} to train on is needed")
        found = measure(blocks, arguments.arms, sizes, arguments.steps)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    content = {"run": run.uuid, "functional": blocks[0].base.attributes.get("functional"), "stand_in": True}
    content["stand_in"] = any(block.base.attributes.get("stand_in") for block in blocks)
    content |= {"test": blocks[-1].uuid, "options": OPTIONS, "steps": arguments.steps, "arms": found}
    (arguments.folder / "learning_curve.json").write_text(json.dumps(content, indent=1) + "\n")
    text = table(found)
    (arguments.folder / "learning_curve.md").write_text(text + "\n")
    draw(found, arguments.folder / "learning_curve.png")
    print(f"\n{text}")


if __name__ == "__main__":
    main()

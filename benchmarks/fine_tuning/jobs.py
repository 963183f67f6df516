"""Run fine-tuning jobs in folders and put their figures into tables."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mace  # noqa: F401  # before e3nn
import torch
from ase import Atoms
from data import write_block

from aiida_slhmc.worker.fine_tune import run

__all__ = ("BALANCED", "Outcome", "Sets", "environment", "leave", "markdown", "run_job", "warm_up")

Sets = Mapping[str, list[Atoms]]

# the training of the protocol `balanced`; each benchmark sets its own number of epochs
BALANCED: dict[str, Any] = {
    "learning_rate": 0.001,
    "batch_size": 4,
    "energy_weight": 1.0,
    "forces_weight": 100.0,
    "references": {"method": "shift"},
    "device": "cpu",
}


@dataclass(frozen=True)
class Outcome:
    """What a job has left: ``metrics.json``, the trained model, and the CPU seconds it took."""

    metrics: dict[str, Any]
    model: Path
    cpu_seconds: float

    @property
    def status(self) -> str:
        """How it ended."""
        return str(self.metrics["status"])

    def probe(self, name: str, when: str = "final") -> dict[str, float]:
        """Errors on a probe set: ``parent`` or ``final``."""
        return self.metrics["probes"][name][when]


def run_job(
    folder: Path,
    model: Path,
    blocks: Sequence[list[Atoms]],
    options: Mapping[str, Any],
    *,
    probes: Sets | None = None,
    replay: list[Atoms] | None = None,
    keep: bool = False,
) -> Outcome:
    """Run a job in a new folder, with its output in ``log``.

    CPU seconds are counted, since others may use the machine, too.

    :param keep: take what an earlier start has left in the folder, if that had the same input
    """
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    _write_input(new, model, blocks, options, probes or {}, replay)
    if keep and (folder / "cpu_seconds").is_file() and _has_input_of(folder, new):
        shutil.rmtree(new)
        metrics = json.loads((folder / "metrics.json").read_text())
        return Outcome(metrics, folder / "trained.safetensors", float((folder / "cpu_seconds").read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    with (folder / "log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        began = time.process_time()
        metrics = run(folder)
        spent = time.process_time() - began
    (folder / "cpu_seconds").write_text(f"{spent}")
    return Outcome(metrics, folder / "trained.safetensors", spent)


def _write_input(
    folder: Path,
    model: Path,
    blocks: Sequence[list[Atoms]],
    options: Mapping[str, Any],
    probes: Sets,
    replay: list[Atoms] | None,
) -> None:
    folder.mkdir(parents=True)
    shutil.copy(model, folder / "model.safetensors")
    (folder / "parameters.json").write_text(json.dumps(dict(options), indent=1))
    for index, block in enumerate(blocks):
        write_block(folder / "datasets" / f"{index:04d}.extxyz", block)
    for name, frames in probes.items():
        write_block(folder / "probes" / f"{name}.extxyz", frames)
    if replay:
        write_block(folder / "replay" / "0000.extxyz", replay)


def _has_input_of(folder: Path, new: Path) -> bool:
    """Whether all files of the new folder are in the other one, with the same content."""
    names = [path.relative_to(new) for path in new.rglob("*") if path.is_file()]
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == (new / name).read_bytes() for name in names
    )


def warm_up(folder: Path, model: Path, block: list[Atoms]) -> None:
    """Run a job that nobody looks at: the first one of a process takes longer."""
    run_job(folder, model, [block[:4]], BALANCED | {"max_epochs": 1})


def environment() -> dict[str, Any]:
    """The command and where it ran."""
    return {"command": " ".join(["python", *sys.argv]), "cores": os.cpu_count(), "torch": str(torch.__version__)}


def markdown(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; None becomes a dash."""
    cells = [["–" if value is None else str(value) for value in row] for row in [heads, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = [
        "| " + " | ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def leave(folder: Path, name: str, content: dict[str, Any], text: str) -> None:
    """Write the figures to NAME.json and their table to NAME.md, and print the table."""
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text + "\n")
    print(f"\n{text}")

"""Errors of models on labelled configurations, as JSON; run by a Python that has torch and MACE, see model_files.py."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

__all__ = ("evaluate_checkpoint",)

BATCH_SIZE = 8


def evaluate_checkpoint(checkpoint: Path, blocks: list[Path]) -> dict[str, Any]:
    """The fields of ``worker.evaluation.Errors`` on all frames of the *blocks*, and their number as ``n_frames``.

    :raises ValueError: a file that is no checkpoint, or a block that cannot be read.
    """
    # here, because only the Python that runs this file needs to have them
    import mace  # noqa: F401  before e3nn, see worker/checkpoint.py
    import torch

    from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
    from aiida_slhmc.worker.dataset import frame_graphs, read_block
    from aiida_slhmc.worker.elements import model_elements
    from aiida_slhmc.worker.evaluation import evaluate, make_batches, make_loss
    from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

    model = load_checkpoint(checkpoint)
    frames = [frame for block in blocks for frame in read_block(block, model_elements(model))]
    has_stress = any(frame.stress is not None for frame in frames)
    with default_dtype(torch.float64):
        batches = make_batches(frame_graphs(frames, model), BATCH_SIZE, torch.device("cpu"))
        errors = evaluate(model, batches, make_loss(FineTuneParameters()), stress=has_stress)
    return {**asdict(errors), "n_frames": len(frames)}


def main() -> int:
    """Command line; 2 when it fails, with one line that says why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--blocks", nargs="+", type=Path, required=True)
    options = parser.parse_args()
    try:
        result = [evaluate_checkpoint(checkpoint, options.blocks) for checkpoint in options.checkpoints]
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Fine-tune a model on labelled blocks: the program that a job runs in its folder.

``python -m aiida_slhmc.worker.fine_tune [FOLDER]`` reads ``parameters.json``, ``model.safetensors`` and
``datasets/*.extxyz`` (in the order of their names), and writes ``trained.safetensors`` and ``metrics.json``. The exit
status is 0 when there is a trained model (be it the initial one), 1 when there is none; ``metrics.json`` says why.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mace
import numpy as np
import torch
from mace.data import AtomicData

from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint, save_checkpoint
from aiida_slhmc.worker.checkpoint_header import read_metadata
from aiida_slhmc.worker.dataset import Frame, Split, frame_graphs, read_block, split
from aiida_slhmc.worker.elements import model_elements
from aiida_slhmc.worker.evaluation import Errors, evaluate, make_batches, make_loss, predict_energies
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.job import is_out_of_memory
from aiida_slhmc.worker.references import References, fit, get_atomic_energies, set_atomic_energies
from aiida_slhmc.worker.training import TrainingResult, train

STATUS = {"early_stopping": "finished", "max_epochs": "finished"}  # other stop reasons are their own status
WITH_MODEL = ("finished", "no_improvement", "walltime", "diverged")


def main(arguments: list[str] | None = None) -> int:
    """Run in the folder that is given, by default the current one."""
    given = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # an epoch's line shows at once, whatever the locale of the node
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    metrics = run(Path(given[0] if given else "."))
    print(f"{metrics['status']}: {metrics['message']}")
    return 0 if metrics["status"] in WITH_MODEL else 1


def run(folder: Path) -> dict[str, Any]:
    """Fine-tune in a folder; return what ``metrics.json`` holds. Errors of the input and of memory become a status."""
    started = time.monotonic()
    try:
        metrics = _run(folder, started)
    except ValueError as exception:
        metrics = _failure("invalid_input", exception)
    except Exception as exception:
        if not is_out_of_memory(exception):
            raise
        metrics = _failure("out_of_memory", exception)
    metrics["versions"] = {"mace": mace.__version__, "torch": str(torch.__version__), "numpy": np.__version__}
    metrics["seconds"] = time.monotonic() - started
    write_json(folder / "metrics.json", metrics)
    return metrics


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either whole or absent; numbers that are not finite become null."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(_finite(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)  # noqa: PTH105


@dataclass
class _Job:
    """A model with its data, ready to train."""

    model: torch.nn.Module
    parameters: FineTuneParameters
    frames: Split
    training: list[AtomicData]
    validation: list[AtomicData]
    device: torch.device
    references_of: str | None  # the functional that the model's references were fitted to, as its checkpoint says

    @property
    def functional(self) -> str | None:
        """The functional of the labels, None where the files do not say or there are several."""
        found = {frame.functional for frame in self.frames.training + self.frames.validation}
        return found.pop() if len(found) == 1 else None

    @property
    def reference_method(self) -> str:
        """How the energy references are fitted.

        That is done at the first update towards a functional; then they are kept, unless ``refit`` asks otherwise:
        moving references would undo a part of what the updates before have learnt.
        """
        options = self.parameters.references
        is_frozen = self.references_of is not None and self.references_of == self.functional and not options.refit
        return "keep" if is_frozen else options.method

    def errors(self, *sets: str) -> dict[str, Errors]:
        """Return the errors on ``training`` and ``validation``, or one of them, with stress where it is labelled."""
        loss = make_loss(self.parameters).to(self.device)
        result = {}
        for name in sets or ("training", "validation"):
            batches = make_batches(getattr(self, name), self.parameters.batch_size, self.device)
            stress = self.parameters.uses_stress or any(
                frame.stress is not None for frame in getattr(self.frames, name)
            )
            result[name] = evaluate(self.model, batches, loss, stress=stress)
        return result


def _run(folder: Path, started: float) -> dict[str, Any]:
    with default_dtype(torch.float64):
        job = _prepare(folder)
        # with the parent's references, where they are about to change
        parent = None if job.reference_method == "keep" else job.errors("validation")["validation"]
        references = _set_references(job)
        print(
            f"{len(job.training)} configurations train, {len(job.validation)} validate; references {references.table}"
        )
        begin = time.monotonic()
        initial = job.errors()
        evaluation_seconds = time.monotonic() - begin
        limit = job.parameters.walltime_seconds
        # the errors are evaluated once more when training has ended
        deadline = None if limit is None else started + limit - evaluation_seconds
        result = train(job.model, job.training, job.validation, job.parameters, deadline=deadline)
        final = job.errors() if result.best_epoch else initial
        fitted_to = job.references_of if references.method == "keep" else job.functional
        extra = {"references_of": fitted_to} if fitted_to else None
        save_checkpoint(job.model, folder / "trained.safetensors", extra=extra)
        gained = parent is not None and initial["validation"].loss < parent.loss
        return _metrics(job, references, result, initial, final) | _status(result, gained)


def _prepare(folder: Path) -> _Job:
    """Read everything and check it; ValueError says what is wrong."""
    parameters = FineTuneParameters.from_dict(_read_json(folder / "parameters.json"))
    torch.set_num_threads(parameters.threads)
    torch.manual_seed(parameters.seed)
    device = _device(parameters.device)
    if not (folder / "model.safetensors").is_file():
        raise ValueError("model.safetensors is missing")
    model = load_checkpoint(folder / "model.safetensors", device=str(device))
    paths = sorted((folder / "datasets").glob("*.extxyz"), key=lambda path: path.name)
    frames = split([read_block(path, model_elements(model)) for path in paths], parameters.validation_fraction)
    _check_stress(parameters, frames.training + frames.validation)
    training, validation = frame_graphs(frames.training, model), frame_graphs(frames.validation, model)
    references_of = read_metadata(folder / "model.safetensors").get("references_of")
    return _Job(model, parameters, frames, training, validation, device, references_of)


def _set_references(job: _Job) -> References:
    """Fit the energy references on the training frames and put them into the model."""
    frames, method = job.frames.training, job.reference_method
    predicted = None
    if method == "shift":
        batches = make_batches(job.training, job.parameters.batch_size, job.device)
        predicted = np.array(predict_energies(job.model, batches))
    references = fit(
        method,
        get_atomic_energies(job.model),
        symbols=[list(frame.atoms.symbols) for frame in frames],
        target=np.array([frame.energy for frame in frames]),
        predicted=predicted,
        table=job.parameters.references.table,
    )
    set_atomic_energies(job.model, references.table)
    if references.warning:
        print(f"warning: {references.warning}")
    return references


def _check_stress(parameters: FineTuneParameters, frames: list[Frame]) -> None:
    """Refuse a stress loss without stress labels: MACE would silently train on nothing, or (huber) on zeros."""
    without = sum(frame.stress is None for frame in frames)
    if parameters.uses_stress and (without == len(frames) or (without and parameters.loss == "huber")):
        raise ValueError(
            f"the loss {parameters.loss!r} needs stress labels; {without} of {len(frames)} frames have none"
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch sees no GPU here")
    return torch.device(name)


def _metrics(
    job: _Job, references: References, result: TrainingResult, initial: dict[str, Errors], final: dict[str, Errors]
) -> dict[str, Any]:
    before, after = initial["validation"], final["validation"]
    return {
        "message": f"best epoch {result.best_epoch} of {len(result.curve['epoch'])} ({result.stop_reason});"
        f" validation force RMSE {before.force_rmse_mev_per_angstrom:.2f} -> {after.force_rmse_mev_per_angstrom:.2f}"
        f" meV/Å, energy RMSE {before.energy_rmse_mev_per_atom:.3f} -> {after.energy_rmse_mev_per_atom:.3f} meV/atom",
        "stop_reason": result.stop_reason,
        "best_epoch": result.best_epoch,
        "n_epochs": len(result.curve["epoch"]),
        "n_training": len(job.training),
        "n_validation": len(job.validation),
        "validation": [frame.name for frame in job.frames.validation],
        "initial": {name: asdict(errors) for name, errors in initial.items()},
        "final": {name: asdict(errors) for name, errors in final.items()},
        "curve": result.curve,
        "references": asdict(references),
        "parameters": job.parameters.to_dict(),
        "device": str(job.device),
    }


def _status(result: TrainingResult, references_gained: bool) -> dict[str, str]:
    """How the training ended. Where no epoch was a gain, new energy references alone may be one."""
    reason = "finished" if result.stop_reason == "no_improvement" and references_gained else result.stop_reason
    return {"status": STATUS.get(reason, reason)}


def _failure(status: str, exception: BaseException) -> dict[str, Any]:
    traceback.print_exception(exception)
    return {"status": status, "message": str(exception) or type(exception).__name__}


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exception:
        raise ValueError(f"{path.name} is not JSON: {exception}") from exception
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold a JSON object")
    return content


def _finite(value: Any) -> Any:
    """Return the same with null in the place of numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())

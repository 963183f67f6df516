"""Fine-tune a model on labelled blocks: what a job does in its folder, by ``run_fine_tune.py``.

It reads

- ``parameters.json``, ``model.safetensors`` and ``datasets/*.extxyz`` (in the order of their names, the newest last);
- where they are there: ``replay/*.extxyz`` and ``force_constants/*.npz``, which are trained on beside the labels,
  ``probes/*.extxyz``, which are evaluated only, and ``training_state.safetensors``, to go on with a training;

and writes ``trained.safetensors``, ``metrics.json`` and, where the wall time ended the training, its state. The exit
status is 0 when there is a trained model (be it the initial one), 1 when there is none; ``metrics.json`` says why.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import mace
import numpy as np
import torch

from aiida_slhmc.worker.checkpoint import default_dtype, save_checkpoint
from aiida_slhmc.worker.dataset import ROLES, frame_graphs
from aiida_slhmc.worker.evaluation import make_batches, predict_energies
from aiida_slhmc.worker.fine_tune_job import Job, read_job
from aiida_slhmc.worker.fine_tune_metrics import Measured, checkpoint_header, collect_metrics, compare, ending
from aiida_slhmc.worker.fine_tune_parameters import STATE_FILE
from aiida_slhmc.worker.job import JobError, run_task, write_json
from aiida_slhmc.worker.references import References, fit, get_atomic_energies, set_atomic_energies
from aiida_slhmc.worker.replay import Replay, with_references
from aiida_slhmc.worker.trainee import Trainee, fresh_model
from aiida_slhmc.worker.training import Term, TrainingResult, train
from aiida_slhmc.worker.training_state import TrainingState, load_state, save_state

WITH_MODEL = ("finished", "no_improvement", "walltime", "diverged", "worse_than_parent")


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

    def task() -> dict[str, Any]:
        try:
            with default_dtype(torch.float64):
                return _run(folder, started)
        except ValueError as error:
            raise JobError("invalid_input", str(error)) from error

    metrics = run_task(task)
    metrics["versions"] = {"mace": mace.__version__, "torch": str(torch.__version__), "numpy": np.__version__}
    write_json(folder / "metrics.json", metrics)
    return metrics


def _run(folder: Path, started: float) -> dict[str, Any]:
    job = read_job(folder)
    state_file = folder / STATE_FILE
    state = load_state(state_file, belongs_to=job.belongs_to) if state_file.is_file() else None
    begin = time.monotonic()
    parent = Measured(job, ("validation",), beside=True)
    if job.parameters.from_scratch:
        job.model = fresh_model(job.model, job.parameters.seed)
    references = _set_references(job)
    n_training, n_validation = len(job.frames.training), len(job.frames.validation)
    print(f"{n_training} configurations train, {n_validation} validate; references {references.table}")
    is_parent = references.method == "keep" and not job.parameters.from_scratch
    initial = Measured(job, ROLES, beside=False, known=parent.sets if is_parent else None)
    # the errors are evaluated once more when training has ended, in no more time than all that was evaluated before it
    limit = job.parameters.walltime_seconds
    deadline = None if limit is None else started + 0.95 * limit - (time.monotonic() - begin)
    result = _train(job, state, deadline)
    final = Measured(job, ROLES, beside=True)
    metrics = collect_metrics(job, references, result) | compare(job, parent, initial, final)
    metrics |= ending(job, result, parent.validation, initial.validation, final.validation)
    save_checkpoint(job.model, folder / "trained.safetensors", extra=checkpoint_header(job, references, metrics))
    if result.state is not None:
        save_state(result.state, state_file, belongs_to=job.belongs_to)
    return metrics


def _train(job: Job, state: TrainingState | None, deadline: float | None) -> TrainingResult:
    """Train the job's model; ``job.model`` is the best afterwards."""
    trainee = Trainee(job.model, job.parameters)
    training, validation = (trainee.graphs(job.graphs[name]) for name in ROLES)
    terms = _terms(job, trainee)
    result = train(trainee.model, training, validation, job.parameters, terms=terms, state=state, deadline=deadline)
    job.model = trainee.plain()
    return result


def _terms(job: Job, trainee: Trainee) -> list[Term]:
    """Return what is trained beside the labels."""
    terms: list[Term] = [] if job.hessian_columns is None else [job.hessian_columns]
    if job.replay is not None:
        moved = [
            with_references(frames, trainee.references, job.foundation_references)
            for frames in (job.replay.training, job.replay.validation)
        ]
        training, validation = (trainee.graphs(frame_graphs(frames, job.model)) for frames in moved)
        terms.append(Replay(training, validation, job.parameters, job.device))
    return terms


def _set_references(job: Job) -> References:
    """Fit the energy references on the training frames and put them into the model."""
    frames, method = job.frames.training, job.reference_method
    predicted = None
    if method == "shift":
        batches = make_batches(job.graphs["training"], job.parameters.batch_size, job.device)
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

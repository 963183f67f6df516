"""Work on models that needs torch and MACE, done by a Python that has them, and models from files."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_slhmc.calculations.worker_calculation import missing_elements, worker_files
from aiida_slhmc.cli import evaluate_models as evaluation
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData

__all__ = ("evaluate_models", "export_model", "import_foreign", "store_checkpoint")


def store_checkpoint(file: Path, label: str | None, name: str) -> str:
    """Store the model in a checkpoint, unless it is there; returns what has become of it.

    :param label: what it shall be called; None: nothing in particular, so *name* where it is new.
    :raises ValueError: if the file is no checkpoint, another model has the label, or the model has another label.
    """
    node = MaceModelData(checkpoint=file, label=label or name)
    sha256 = node.base.attributes.get("sha256")
    query = orm.QueryBuilder().append(MaceModelData, filters={"attributes.sha256": sha256}, tag="model")
    same: list[MaceModelData] = query.order_by({"model": "id"}).all(flat=True)
    if any(label in (None, model.label) for model in same):
        found = next(model for model in same if label in (None, model.label))
        return f"the same model is there already: {found.pk} ({found.label or 'without a label'})"
    other = orm.QueryBuilder().append(MaceModelData, filters={"label": node.label}).first(flat=True)
    if other is not None:
        raise ValueError(f"model {other.pk} is labelled '{node.label}' already: give another --label")
    if same:
        return _labelled(same, node.label)
    node.store()
    about = f"{' '.join(node.elements)}, {node.base.attributes.get('n_parameters')} parameters, sha256 {sha256[:12]}…"
    return f"stored model {node.pk}, '{node.label}': {about}"


def _labelled(same: list[MaceModelData], label: str) -> str:
    """Give the label to one of these stored copies of a model that has none.

    :raises ValueError: if all have one, by which, or by its PK, the model is to be called.
    """
    for model in same:
        if not model.label:
            model.label = label
            return f"the same model is there already: {model.pk}; it had no label, and is '{label}' now"
    first = same[0]
    raise ValueError(
        f"the same model is there already, as {first.pk} ('{first.label}'): use that, "
        f"or rename it with `verdi node label -l {label} {first.pk}`"
    )


def import_foreign(source: str, label: str | None, elements: list[str], head: str | None, python: str) -> str:
    """Let MACE load a ``.model`` file or a published model, and store its checkpoint.

    :raises ValueError: with the worker's sentence if it fails, and as :func:`store_checkpoint`.
    """
    location = str(Path(source).absolute()) if Path(source).is_file() else source
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "imported.safetensors"
        arguments = [location, str(checkpoint)]
        arguments += ["--elements", *elements] if elements else []
        arguments += ["--head", head] if head else []
        run_worker(python, "import_model", arguments)
        return store_checkpoint(checkpoint, label, Path(source).stem)


def export_model(model: MaceModelData, file: Path, form: str, dtype: str, python: str) -> str:
    """Write *model* to *file*; returns what was written.

    :raises ValueError: with the worker's sentence if it fails.
    """
    if form == "checkpoint":
        file.write_bytes(model.base.repository.get_object_content(model.FILENAME, "rb"))
        return f"{file}: checkpoint of model {model.pk}, data only"
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(_write(model, Path(folder) / "model.safetensors")), str(file.absolute())]
        return run_worker(python, "export_model", [*arguments, "--format", form, "--dtype", dtype]).strip()


def evaluate_models(
    models: Sequence[MaceModelData], blocks: Sequence[DatasetData], python: str
) -> list[dict[str, Any]]:
    """Errors of each model on all labels of the blocks: the fields of ``worker.evaluation.Errors``.

    :raises ValueError: if a model lacks an element, or the evaluation fails.
    """
    elements = {symbol for block in blocks for symbol in block.base.attributes.get("elements")}
    for model in models:
        message = missing_elements(model, elements)
        if message:
            raise ValueError(f"model {model.pk}: {message}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [_write(model, folder / f"model_{i}.safetensors") for i, model in enumerate(models)]
        sets = [_write(block, folder / f"block_{i}.extxyz") for i, block in enumerate(blocks)]
        text = run_worker(python, "evaluate_models", [*map(str, files), "--blocks", *map(str, sets)])
    return json.loads(text.splitlines()[-1])


def run_worker(python: str, module: str, arguments: list[str]) -> str:
    """Run a module of the worker by another Python, which need not have this package; returns what it prints.

    :raises ValueError: with its last line if it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # our own evaluation goes beside the worker, whose parts it uses
        extra = {"aiida_slhmc/worker/evaluate_models.py": Path(evaluation.__file__).read_bytes()}
        for path, content in (worker_files() | extra).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        command = [python, "-W", "ignore", "-m", f"aiida_slhmc.worker.{module}", *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ValueError(f"{python} cannot be run: {error}") from error
    if done.returncode:
        raise ValueError(_reason(done.stderr, python))
    return done.stdout


def _reason(text: str, python: str) -> str:
    """The last line of an error, and what to do where packages are missing."""
    last = (text.strip().splitlines() or ["it said nothing"])[-1].removeprefix("error: ")
    if "ModuleNotFoundError" in last:
        return f"{python} lacks a package: {last}; give a Python with mace-torch and safetensors by --python"
    return last


def _write(node: MaceModelData | DatasetData, path: Path) -> Path:
    path.write_bytes(node.base.repository.get_object_content(node.FILENAME, "rb"))
    return path

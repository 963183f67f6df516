"""What a fine-tuning finds in its folder, read and checked: model, options, labels, and what is trained beside them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mace.data import AtomicData

from aiida_slhmc.worker.checkpoint import load_checkpoint
from aiida_slhmc.worker.checkpoint_header import read_metadata
from aiida_slhmc.worker.dataset import Frame, Split, frame_graphs, joined, read_block, split_blocks
from aiida_slhmc.worker.elements import model_elements
from aiida_slhmc.worker.evaluation import Errors, evaluate, make_batches, make_loss
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.force_constants import ForceConstants, read_force_constants
from aiida_slhmc.worker.hessian import HessianColumns
from aiida_slhmc.worker.references import Table, get_atomic_energies
from aiida_slhmc.worker.selection import select

# options that do not change what is computed, so that a training may go on with others
_INCIDENTAL = ("walltime_seconds", "device", "threads")


@dataclass
class Job:
    """A model with its data, ready to train."""

    model: torch.nn.Module
    parameters: FineTuneParameters
    all_frames: Split  # all labels
    frames: Split  # those that take part
    replay: Split | None  # upstream configurations with their own functional's energies
    probes: dict[str, list[Frame]]  # evaluated only
    force_constants: list[ForceConstants]
    device: torch.device
    references_of: str | None  # the functional that the model's references were fitted to, as its checkpoint says
    foundation_references: Table  # those of the model that the lineage started from
    belongs_to: str  # names what a state of this training goes with

    @property
    def functional(self) -> str | None:
        """The functional of the labels, None where the files do not say or there are several."""
        found = {frame.functional for frame in self.all_frames.training + self.all_frames.validation}
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

    @cached_property
    def graphs(self) -> dict[str, list[AtomicData]]:
        """The graphs of ``training`` and ``validation`` and of each set of probes (``probes/NAME``), built once."""
        sets = {"training": self.frames.training, "validation": self.frames.validation}
        sets |= {f"probes/{name}": frames for name, frames in self.probes.items()}
        return {name: frame_graphs(frames, self.model) for name, frames in sets.items()}

    @cached_property
    def hessian_columns(self) -> HessianColumns | None:
        """The columns of the force constants, where there are any."""
        if not self.force_constants:
            return None
        options, seed = self.parameters.hessian, self.parameters.seed
        return HessianColumns(self.force_constants, self.model, options, seed=seed, device=self.device)

    def errors(self, name: str) -> Errors:
        """Return the present model's errors on one of the sets of graphs, with stress where it is labelled."""
        graphs = self.graphs[name]
        loss = make_loss(self.parameters).to(self.device)
        stress = self.parameters.uses_stress or any(bool((graph.stress_weight > 0).any()) for graph in graphs)
        batches = make_batches(graphs, self.parameters.batch_size, self.device)
        return evaluate(self.model, batches, loss, stress=stress)


def read_job(folder: Path) -> Job:
    """Read everything and check it.

    :raises ValueError: saying what is missing or wrong
    """
    parameters = FineTuneParameters.from_dict(_read_json(folder / "parameters.json"))
    torch.set_num_threads(parameters.threads)
    device = _device(parameters.device)
    checkpoint = folder / "model.safetensors"
    if not checkpoint.is_file():
        raise ValueError("model.safetensors is missing")
    model = load_checkpoint(checkpoint, device=str(device))
    elements, about = model_elements(model), read_metadata(checkpoint)
    labels = [read_block(path, elements) for path in _files(folder / "datasets")]
    blocks = split_blocks(labels, parameters.validation_fraction)
    frames = select(blocks, parameters.selection)
    _check_stress(parameters, frames.training + frames.validation, "labels")
    replay, foundation = _read_replay(folder, elements, parameters), about.get("foundation_references")
    if replay and about.get("references_of") and not foundation:
        raise ValueError(
            "replay needs the energy references of the foundation model, and this fine-tuned model is of a version that"
            " did not record them: start from the foundation again"
        )
    return Job(
        model=model,
        parameters=parameters,
        all_frames=joined(blocks),
        frames=frames,
        replay=replay,
        probes={path.stem: read_block(path, elements) for path in _files(folder / "probes")},
        force_constants=[
            read_force_constants(path, elements) for path in _files(folder / "force_constants", suffix="npz")
        ],
        device=device,
        references_of=about.get("references_of"),
        foundation_references=json.loads(foundation) if foundation else get_atomic_energies(model),
        belongs_to=_fingerprint(folder, parameters, about["sha256"]),
    )


def _read_replay(folder: Path, elements: list[str], parameters: FineTuneParameters) -> Split | None:
    blocks = [read_block(path, elements) for path in _files(folder / "replay")]
    if not blocks:
        return None
    try:
        frames = joined(split_blocks(blocks, parameters.validation_fraction))
    except ValueError as error:
        raise ValueError(f"replay: {error}") from error
    _check_stress(parameters, frames.training + frames.validation, "replay configurations")
    return frames


def _files(folder: Path, *, suffix: str = "extxyz") -> list[Path]:
    """Return the files of a folder, in the order of their names; none where there is no folder."""
    return sorted(folder.glob(f"*.{suffix}"), key=lambda path: path.name)


def _fingerprint(folder: Path, parameters: FineTuneParameters, model: str) -> str:
    """Return a hash of all that a training depends on."""
    options = {name: value for name, value in parameters.to_dict().items() if name not in _INCIDENTAL}
    digest = hashlib.sha256(json.dumps([model, options], sort_keys=True).encode())
    for path in [*_files(folder / "datasets"), *_files(folder / "replay")]:
        digest.update(path.read_bytes())
    for path in _files(folder / "force_constants", suffix="npz"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _check_stress(parameters: FineTuneParameters, frames: list[Frame], what: str) -> None:
    """Refuse a stress loss without stress labels: MACE would silently train on nothing, or (huber) on zeros."""
    without = sum(frame.stress is None for frame in frames)
    if parameters.uses_stress and (without == len(frames) or (without and parameters.loss == "huber")):
        raise ValueError(
            f"the loss {parameters.loss!r} needs stress {what}; {without} of {len(frames)} frames have none"
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch sees no GPU here")
    return torch.device(name)


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

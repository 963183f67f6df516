"""The models and trajectories of a transfer: which there are, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.children import find_children
from aiida_slhmc.workflows.outcomes import usable_model

__all__ = ("Sample", "chains_of", "samples", "trained_models")


@dataclass(frozen=True)
class Sample:
    """A trajectory that is analysed: its name is ``ensemble_role``, with the number of labels where models differ."""

    name: str
    trajectory: orm.TrajectoryData
    about: dict[str, orm.Data]  # inputs `labels`, `is_final` and `dataset` of the analysis, where they apply
    is_of_target: bool

    @property
    def ensemble(self) -> str:
        """The ensemble, nvt or npt."""
        return self.name.split("_")[0]

    @property
    def role(self) -> str:
        """One of chain, accepted, foundation, adapted and control."""
        return self.name.split("_")[1]


def samples(
    trajectories: dict[str, Any], foundation: dict[str, Any], final: set[str], blocks: dict[str, DatasetData]
) -> list[Sample]:
    """All samples of a transfer, the references first.

    :param foundation: the foundation's trajectories by ensemble.
    :param final: names of the trajectories whose model is the last one of its run.
    :param blocks: labels of each run, by ensemble (any block of it), and of the ``control`` (all).
    """
    result = []
    for name in sorted(trajectories, key=lambda name: ("_chain" not in name, name)):
        about: dict[str, orm.Data] = {}
        ensemble, role, *labels = name.split("_")
        if role == "adapted":
            about = {"labels": orm.Int(int(labels[0])), "is_final": orm.Bool(name in final)}
            about |= {"dataset": blocks[ensemble]}
        elif role == "control":
            about = {"labels": orm.Int(blocks[role].n_frames), "dataset": blocks[role]}
        result.append(Sample(name, trajectories[name], about, True))
    for ensemble, trajectory in sorted(foundation.items()):
        result.append(Sample(f"{ensemble}_foundation", trajectory, {"labels": orm.Int(0)}, False))
    return result


def chains_of(run: orm.ProcessNode) -> dict[str, orm.ArrayData]:
    """Chains of all epochs of a self-learning run, and of those that it goes on from, by names that sort as they do."""
    earlier = dict(run.inputs.chains.items()) if "chains" in run.inputs else {}
    epochs = find_children(run, "epoch_").items()
    return earlier | {name: node.outputs.chain for name, node in epochs if "chain" in node.outputs}


def trained_models(run: orm.ProcessNode, stride: int) -> dict[int, MaceModelData]:
    """Models of a self-learning run by the number of labels that each was trained on: every *stride*-th, and the last.

    :param stride: 0 for the last one only.
    """
    models: dict[int, MaceModelData] = {}
    for training in find_children(run, "fine_tune_").values():
        model = usable_model(training)
        if model is not None:
            models[sum(block.n_frames for block in training.inputs.datasets.values())] = model
    last = run.outputs.model
    kept = dict(list(models.items())[stride - 1 :: stride]) if stride else {}
    n_labels = next((n for n, model in models.items() if model.uuid == last.uuid), 0)
    return {n: model for n, model in kept.items() if n != n_labels} | {n_labels: last}

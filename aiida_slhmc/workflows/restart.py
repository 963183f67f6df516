"""Going on from an earlier self-learning run, finished or not."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_slhmc.workflows.children import find_children
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain, usable_model

__all__ = ("get_restart_builder",)


def get_restart_builder(node: orm.WorkChainNode, *, label_budget: int | None = None) -> ProcessBuilder:
    """A builder of SlhmcWorkChain that goes on where *node* stopped, with the same inputs otherwise.

    It takes the walkers, the model, the trajectory and all blocks from the last finished epoch, fine-tunes first if the
    last block has not been trained on, and numbers epochs on, so that random streams are those of an undisturbed run.
    An epoch that was cut off is run again from its start; with AiiDA's caching switched on, its stored proposals and
    labels are taken over instead of computed again, because its random streams and so its configurations are the same.

    :param label_budget: labels that the new run may spend; by default what the old run has left.
    :raises ValueError: if *node* is no self-learning run, or nothing of its budget is left and none is given.
    """
    if node.process_class is not SlhmcWorkChain:
        raise ValueError(f"{node.process_label}<{node.pk}> is not a run of SlhmcWorkChain")
    builder = node.get_builder_restart()
    epochs = {name: child for name, child in find_children(node, "epoch_").items() if child.is_finished_ok}
    if label_budget is None:
        spent = [child.outputs.summary["labels"] + child.outputs.summary["failed_labels"] for child in epochs.values()]
        label_budget = node.inputs.label_budget.value - sum(spent)
    if label_budget < 1:
        raise ValueError(f"{node.process_label}<{node.pk}> has spent its label budget; give `label_budget` to go on")
    builder.label_budget = orm.Int(label_budget)
    if not epochs:
        return builder
    _set_state(builder, node, epochs)
    return builder


def _set_state(builder: Any, node: orm.WorkChainNode, epochs: dict[str, orm.ProcessNode]) -> None:
    """Put the state after the last finished epoch into the builder."""
    models = [usable_model(child) for child in find_children(node, "fine_tune_").values()]
    blocks: list[Any] = [block for _, block in sorted(builder.datasets.items())]
    blocks += [child.outputs.dataset for child in epochs.values() if "dataset" in child.outputs]
    last = list(epochs.values())[-1]
    builder.walkers = dict(last.outputs.walkers.items())
    builder.chains = dict(builder.chains) | {name: child.outputs.chain for name, child in epochs.items()}
    builder.datasets = {f"block_{i:04d}": block for i, block in enumerate(blocks)}
    builder.first_epoch = orm.Int(last.inputs.epoch.value + 1)
    for model in filter(None, models):
        builder.model = model
    builder.trajectory = last.outputs.next_trajectory
    if "reference_structure" in last.inputs:
        builder.reference_structure = last.inputs.reference_structure
    # absent where the run was itself a restart
    for name in ("structure", "n_walkers"):
        builder.pop(name, None)

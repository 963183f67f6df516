"""Going on from an earlier self-learning run, finished or not."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessBuilder

from aiida_slhmc.workflows.children import find_children
from aiida_slhmc.workflows.outcomes import is_refused, usable_model
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

__all__ = ("get_restart_builder",)


def get_restart_builder(
    node: orm.WorkChainNode,
    *,
    label_budget: int | None = None,
    python_code: orm.AbstractCode | None = None,
    python_options: dict[str, Any] | None = None,
    target_code: orm.AbstractCode | None = None,
    target_options: dict[str, Any] | None = None,
) -> ProcessBuilder:
    """A builder of SlhmcWorkChain that goes on where *node* stopped, with the same inputs otherwise.

    It takes the walkers, the trajectory and all blocks from the last epoch that has a chain, the model, the committee
    and the number of refused updates from the last fine-tuning, fine-tunes first if the last block has not been trained
    on, and numbers epochs on. After finished epochs the random streams are
    thus those of an undisturbed run. An epoch that ended early with an exit code, such as for a proposal that failed,
    has a chain too: it counts for the cycles that it decided, and the next epoch has other streams, so that what failed
    is not tried once more. An epoch without a chain was cut off, or decided nothing; it is run again from its start.
    With AiiDA's caching switched on, its stored proposals and labels are taken over instead of computed again, because
    its random streams and so its configurations are the same.

    Where and how the jobs run may be others than the run's; an imported run has no codes, and needs both, here or in
    the builder.

    :param label_budget: labels that the new run may spend; by default what the old run has left.
    :param python_code: the Python of proposals and fine-tunings.
    :param python_options: keys of their ``metadata.options`` to replace or add.
    :param target_code: the code of the target's engine. It has to be the same program: labels of two energy surfaces
        spoil chain and training.
    :param target_options: keys of the ``metadata.options`` of its jobs to replace or add.
    :raises ValueError: if *node* is no self-learning run, or one of an earlier version whose inputs were others,
        or nothing of its budget is left and none is given.
    """
    builder = _builder_of(node)
    children = find_children(node, "epoch_")
    epochs = {name: child for name, child in children.items() if "chain" in child.outputs}
    if label_budget is None:
        spent = [child.outputs.summary["labels"] + child.outputs.summary["failed_labels"] for child in epochs.values()]
        label_budget = node.inputs.label_budget.value - sum(spent)
    if label_budget < 1:
        raise ValueError(f"{node.process_label}<{node.pk}> has spent its label budget; give `label_budget` to go on")
    builder.label_budget = orm.Int(label_budget)
    _set_models(builder, node)
    if epochs:
        _set_state(builder, node, epochs)
    if children:
        builder.first_epoch = orm.Int(_next_number(list(children.values())[-1]))
    for part in ("proposal", "fine_tune"):
        _set_jobs(builder[part], python_code, python_options)
    _set_jobs(builder["target"], target_code, target_options)
    return builder


def _set_jobs(part: Any, code: orm.AbstractCode | None, options: dict[str, Any] | None) -> None:
    """Put code and options of one kind of jobs into their *part* of the builder."""
    if code is not None:
        part["code"] = code
    if options:
        own = part.get("options")
        part["options"] = orm.Dict((own.get_dict() if own is not None else {}) | options)


def _next_number(epoch: orm.ProcessNode) -> int:
    """The number after *epoch*, or its own where nothing was decided and it is run again."""
    return int(epoch.inputs.epoch.value) + int("chain" in epoch.outputs)


def _builder_of(node: orm.WorkChainNode) -> ProcessBuilder:
    """A builder with the inputs of *node*.

    :raises ValueError: where it is of another class, or its inputs are not those of the present version.
    """
    if not isinstance(node, orm.WorkChainNode) or node.process_class is not SlhmcWorkChain:
        what = getattr(node, "process_label", None) or type(node).__name__
        raise ValueError(f"{what}<{node.pk}> is not a run of SlhmcWorkChain")
    name = f"{node.process_label}<{node.pk}>"
    advice = (
        "Start a new run with SlhmcWorkChain.get_builder_from_protocol and the model of this one, and set its "
        "`walkers` (in place of `structure` and `n_walkers`) and `datasets` to those that this one has left"
    )
    if "trajectory" not in node.inputs:
        raise ValueError(f"{name} was made by an earlier version, which had no input `trajectory`. {advice}")
    try:
        # a builder takes inputs that nobody knows, and only the submission would refuse them
        given = node.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
        unknown = sorted(set(given) - set(SlhmcWorkChain.spec().inputs))
        if unknown:
            raise ValueError(f"there is no input {', '.join(unknown)} any more")
        return node.get_builder_restart()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the inputs of {name} are not those of this version: {error}. {advice}") from error


def _set_models(builder: Any, node: orm.WorkChainNode) -> None:
    """Put the model, the committee and the record of refused updates into the builder, as the run left them."""
    n_failed = builder.failed_updates.value if "failed_updates" in node.inputs else 0
    n_tried = builder.tried_blocks.value if "tried_blocks" in node.inputs else 0
    committee = dict(builder.committee)
    for training, members in _updates(node):
        model = usable_model(training)
        if model is not None:
            builder.model = model
        if is_refused(training):
            n_failed, n_tried = n_failed + 1, len(training.inputs.datasets)
        models = {name: usable_model(child) for name, child in members.items()}
        committee |= {name: member for name, member in models.items() if member is not None}
    builder.failed_updates, builder.tried_blocks = orm.Int(n_failed), orm.Int(n_tried)
    builder.committee = committee


def _updates(node: orm.WorkChainNode) -> list[tuple[orm.ProcessNode, dict[str, orm.ProcessNode]]]:
    """Fine-tunings that the run went past, or that only it was too short for, with those of the committee by name.

    One that was cut off in the middle is left out as a whole: it is done again, from AiiDA's cache if that is on.
    """
    epochs, members = find_children(node, "epoch_"), find_children(node, "committee_")
    size = node.inputs.committee_size.value if "committee_size" in node.inputs else 1
    updates = []
    for label, training in find_children(node, "fine_tune_").items():
        number = label.removeprefix("fine_tune_")
        own = {f"member_{k}": members.get(f"committee_{number}_{k}") for k in range(1, size)}
        launched = {name: child for name, child in own.items() if child is not None}
        is_whole = len(launched) == len(own) and all(child.is_finished for child in (training, *launched.values()))
        if is_whole or f"epoch_{number}" in epochs:
            updates.append((training, launched))
    return updates


def _set_state(builder: Any, node: orm.WorkChainNode, epochs: dict[str, orm.ProcessNode]) -> None:
    """Put the state after the last of *epochs* into the builder."""
    blocks: list[Any] = [block for _, block in sorted(builder.datasets.items())]
    blocks += [child.outputs.dataset for child in epochs.values() if "dataset" in child.outputs]
    last = list(epochs.values())[-1]
    builder.walkers = dict(last.outputs.walkers.items())
    if "restart_folders" in last.outputs:
        builder.restart_folders = dict(last.outputs.restart_folders.items())
    builder.chains = dict(builder.chains) | {name: child.outputs.chain for name, child in epochs.items()}
    builder.datasets = {f"block_{i:04d}": block for i, block in enumerate(blocks)}
    builder.trajectory = last.outputs.next_trajectory
    if "reference_structure" in last.inputs:
        builder.reference_structure = last.inputs.reference_structure
    # absent where the run was itself a restart
    for name in ("structure", "n_walkers"):
        builder.pop(name, None)

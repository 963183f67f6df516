"""Whether an epoch's chain, and a run's sequence of epochs, is one chain: nothing left out, nothing put in.

And whether a control of relabelled frames is labelled and trained on what it chose.
"""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.audit.graph import Problems, calls, creator_of, inputs_of, is_same, name_of, namespace, outputs_of

__all__ = ("check_epoch", "check_made_of", "check_relabelling", "check_run")

Nodes = dict[str, Any]


def check_epoch(epoch: orm.WorkChainNode) -> Problems:
    """Every cycle starts where the decision before it left the walkers, and the outputs are of all decisions.

    The kernel is frozen: all proposals are of the epoch's own model, trajectory and parameters.
    """
    inputs, outputs = inputs_of(epoch), outputs_of(epoch)
    decisions = {name: call for name, call in calls(epoch, "decide_").items() if call.is_finished_ok}
    states, labels = namespace(inputs, "walkers"), Nodes()
    for cycle, (name, decision) in enumerate(decisions.items()):
        given, result = inputs_of(decision), outputs_of(decision)["result"]
        is_next = name == f"decide_{cycle:05d}" and result["cycle"] == cycle
        yield None if is_next else f"{name}, of cycle {result['cycle']}, comes where cycle {cycle} should"
        yield from _check_kernel(inputs, given.get("proposals"))
        for walker, accepted in enumerate(result["accepted"]):
            key = f"walker_{walker}"
            is_linked = is_same(given.get(f"state_{walker}"), states.get(key))
            yield None if is_linked else f"cycle {cycle} does not start {key} where the chain left it"
            if accepted:
                states = states | {key: given[f"label_{walker}"]}
        labels |= {f"{name}_{label}": node for label, node in given.items() if label.startswith("label_")}
    left = namespace(outputs, "walkers")
    for key in left:
        yield None if is_same(left[key], states.get(key)) else f"its output {key} is not the chain's last state"
    results = {name: outputs_of(decision)["result"] for name, decision in decisions.items()}
    yield from check_made_of(outputs, "chain", results)
    yield from check_made_of(outputs, "dataset", labels)
    yield from check_made_of(outputs, "summary", {"chain": outputs["chain"]} if "chain" in outputs else {})


def check_run(run: orm.WorkChainNode) -> Problems:
    """Every epoch of a self-learning run goes on where the one before ended, with a model of this run.

    Each fine-tuning has the blocks of all epochs before it, and the history is of all epochs.
    """
    inputs, outputs = inputs_of(run), outputs_of(run)
    trainings = calls(run, "fine_tune_") | calls(run, "committee_")
    models = [inputs["model"], *(model for child in trainings.values() for model in _models(child))]
    chains, blocks = namespace(inputs, "chains"), Nodes()
    walkers = namespace(inputs, "walkers") or _labelled_start(run)
    for name, epoch in calls(run, "epoch_").items():
        given, left = inputs_of(epoch), outputs_of(epoch)
        for key, node in namespace(given, "walkers").items():
            is_linked = is_same(node, walkers.get(key) or walkers.get("all"))
            yield None if is_linked else f"{name} does not start {key} where the run left it"
        is_own = any(is_same(given.get("model"), model) for model in models)
        yield None if is_own else f"the model of {name} is neither the run's first nor one that it has trained"
        walkers = namespace(left, "walkers") or walkers
        chains |= {name: left["chain"]} if "chain" in left else {}
        blocks |= {_number(name): left["dataset"]} if "dataset" in left else {}
    earlier = list(namespace(inputs, "datasets").values())
    for name, training in trainings.items():
        yield from _check_blocks(training, [*earlier, *(blocks[number] for number in blocks if number < _number(name))])
    yield from check_made_of(outputs, "history", chains)


def check_relabelling(control: orm.WorkChainNode) -> Problems:
    """The frames that were labelled are those that were chosen from the pool, and the training had all their labels."""
    inputs, outputs = inputs_of(control), outputs_of(control)
    selection = calls(control, "select").get("select")
    if selection is None:
        return
    given, chosen = inputs_of(selection), namespace(outputs_of(selection), "structures")
    for name in ("pool", "selection"):
        is_own = is_same(given.get(name), inputs.get(name) or outputs.get(name))
        yield None if is_own else f"its frames were chosen with another {name}"
    labels = Nodes()
    for label, child in calls(control, "label_").items():
        name = label.removeprefix("label_")
        is_chosen = is_same(inputs_of(child).get("structure"), chosen.get(name))
        yield None if is_chosen else f"{label} is of a structure that was not chosen"
        labels |= {name: outputs_of(child)["label"]} if child.is_finished_ok else {}
    yield from check_made_of(outputs, "dataset", labels)
    for training in calls(control, "fine_tune").values():
        yield from _check_blocks(training, [outputs["dataset"]])


def _number(label: str) -> str:
    """The epoch, in four digits, in the label of a call such as ``fine_tune_0001`` or ``committee_0001_2``."""
    return next(part for part in label.split("_") if part.isdigit())


def _check_kernel(inputs: Nodes, proposals: orm.Data | None) -> Problems:
    """A cycle's proposals are of the epoch's own kernel."""
    job = creator_of(proposals)
    if job is None:
        yield "proposals of a cycle were made by nothing in the archive"
        return
    given = inputs_of(job)
    for name in ("model", "trajectory", "parameters"):
        is_own = is_same(given.get(name), inputs.get(name))
        yield None if is_own else f"{name_of(job)} had another {name} than the epoch"


def check_made_of(outputs: Nodes, name: str, expected: Nodes) -> Problems:
    """The output *name*, where it is there, was made of just these nodes, under these names."""
    maker = creator_of(outputs.get(name))
    if name not in outputs:
        return
    if maker is None:
        yield f"its {name} was made by nothing in the archive"
        return
    found = {label: node.uuid for label, node in inputs_of(maker).items()}
    wanted = {label: node.uuid for label, node in expected.items()}
    wrong = sorted(label for label in {*found, *wanted} if found.get(label) != wanted.get(label))
    yield f"its {name} was not made of all that it should be, and only that: {', '.join(wrong)}" if wrong else None


def _check_blocks(training: orm.ProcessNode, blocks: list[orm.Data]) -> Problems:
    """A fine-tuning was trained on these blocks, and on no others."""
    found = {node.uuid for node in namespace(inputs_of(training), "datasets").values()}
    is_all = found == {node.uuid for node in blocks}
    yield None if is_all else f"{name_of(training)} was trained on other blocks than all there were before it"


def _models(training: orm.ProcessNode) -> list[orm.Data]:
    """What a fine-tuning has left as a model."""
    outputs = outputs_of(training)
    return [outputs["model"]] if "model" in outputs else []


def _labelled_start(run: orm.WorkChainNode) -> Nodes:
    """The label that all walkers start from, under ``all``."""
    start = calls(run, "label_start").get("label_start")
    label = None if start is None else outputs_of(start).get("label")
    return {} if label is None else {"all": label}

"""Whether samples of a transfer are what the tables call them, and whether a study's tables are of them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiida import orm

from aiida_slhmc.audit.chains import check_made_of
from aiida_slhmc.audit.graph import Problems, calls, creator_of, inputs_of, is_same, namespace, outputs_of
from aiida_slhmc.calculations.study_report import REPORTED

__all__ = ("check_study", "check_transfer")

Nodes = dict[str, Any]

REPORT = "aiida_slhmc.calculations.study_report.report_study"
# of a StudyWorkChain that has tables: all went well, or a part is missing
WITH_TABLES = (0, 411)
# how trajectories are made, by what the transfer calls them
ROLES = {
    "chain": "slhmc_chain",
    "accepted": "slhmc_accepted",
    "adapted": "adapted_md",
    "control": "control_md",
    "foundation": "foundation_md",
}


@dataclass
class _Sample:
    """What the graph says of a sample; ``labelled`` are nodes that say of which functional the labels are."""

    trajectory: Any
    labels: int | None = None
    is_final: bool | None = None
    labelled: list[Any] = field(default_factory=list)
    is_model_right: bool = True


def check_transfer(transfer: orm.WorkChainNode) -> Problems:
    """Each sample is of the trajectory, the model, the number of labels and the functional that its analysis names."""
    inputs = inputs_of(transfer)
    for label, analysis in calls(transfer, "analyse_").items():
        if not analysis.is_finished_ok:
            continue
        ensemble, role, *_ = name = label.removeprefix("analyse_").split("_")
        given = inputs_of(analysis)
        sample = _sample_of(transfer, ensemble, role, "_".join(name))
        yield from _check_sample(label, given, sample, ensemble, role)
        expected = None if role == "foundation" else inputs["functional"].value
        is_named = _value(given.get("functional")) == expected
        yield None if is_named else f"{label} names another functional than the transfer"
    for ensemble in ("nvt", "npt"):
        yield from _check_reference(transfer, inputs, ensemble)


def check_study(study: orm.WorkChainNode) -> Problems:
    """Tables and pictures were made by the report, of all that the transfers have put out and of nothing else."""
    outputs = outputs_of(study)
    if study.exit_status not in WITH_TABLES:
        return
    for name in ("tables", "files"):
        maker = creator_of(outputs.get(name))
        is_report = maker is not None and maker.process_type == REPORT and maker.is_finished_ok
        yield None if is_report else f"its {name} were made by no report that can be executed again"
    given = inputs_of(creator_of(outputs["tables"]))
    expected = Nodes()
    for label, transfer in calls(study, "transfer_").items():
        left = outputs_of(transfer)
        for space, kind in REPORTED.items():
            found = namespace(left, space).items()
            expected |= {f"{kind}_{label.removeprefix('transfer_')}_{name}": node for name, node in found}
    for name, node in given.items():
        if name.partition("_")[0] in REPORTED.values():
            is_own = is_same(node, expected.get(name))
            yield None if is_own else f"its tables have a {name} that no transfer has put out"
    # the foundation is analysed in each transfer, and reported once
    left_out = sorted(name for name in set(expected) - set(given) if not name.endswith("_foundation"))
    yield f"its tables leave out {', '.join(left_out)}" if left_out else None


def _sample_of(transfer: orm.WorkChainNode, ensemble: str, role: str, name: str) -> _Sample:
    run: Any = calls(transfer, f"slhmc_{ensemble}").get(f"slhmc_{ensemble}")
    if role == "foundation":
        trajectory = inputs_of(transfer).get(f"foundation__{ensemble}")
        is_first = is_same(_model_of(trajectory), inputs_of(run)["model"]) if run else True
        return _Sample(trajectory, labels=0, is_model_right=is_first)
    if role == "control":
        left = outputs_of(calls(transfer, "control")["control"])
        trajectory, dataset = left[f"trajectories__{ensemble}"], left["dataset"]
        is_own = is_same(_model_of(trajectory), left["model"])
        return _Sample(trajectory, dataset.n_frames, labelled=[dataset], is_model_right=is_own)
    if role == "adapted":
        md = calls(transfer, name)[name]
        trajectory, model = outputs_of(md)["trajectory"], inputs_of(md)["model"]
        blocks = _trained_on(run, model)
        is_own = is_same(_model_of(trajectory), model) and (bool(blocks) or is_same(model, inputs_of(run)["model"]))
        labels, is_final = sum(block.n_frames for block in blocks), is_same(model, outputs_of(run)["model"])
        return _Sample(trajectory, labels, is_final, labelled=blocks, is_model_right=is_own)
    call = calls(transfer, f"{ensemble}_trajectories")[f"{ensemble}_trajectories"]
    trajectory = outputs_of(call)[role]
    return _Sample(trajectory, labelled=[trajectory])


def _check_sample(label: str, given: Nodes, sample: _Sample, ensemble: str, role: str) -> Problems:
    is_own = is_same(given.get("trajectory"), sample.trajectory)
    yield None if is_own else f"{label} is of another trajectory"
    yield (
        None
        if sample.is_model_right
        else f"{label}: its trajectory was not made with the model that it is said to be of"
    )
    about = {"ensemble": ensemble, "role": ROLES[role]}
    for name, expected in about.items():
        found = sample.trajectory.base.attributes.get(name, None)
        yield None if found == expected else f"{label}: its trajectory has the {name} {found}"
    for name in ("labels", "is_final"):
        found, expected = _value(given.get(name)), getattr(sample, name)
        yield None if found == expected else f"{label}: {name} is {found}, and should be {expected}"
    for node in [*sample.labelled, *(given[name] for name in ("dataset",) if name in given)]:
        found, named = node.base.attributes.get("functional", None), _value(given.get("functional"))
        yield None if found == named else f"{label} is called {named}, and the labels are of {found}"


def _check_reference(transfer: orm.WorkChainNode, inputs: Nodes, ensemble: str) -> Problems:
    """The reference has the run's last model, and its trajectories are of all its cycles after the equilibration."""
    call = calls(transfer, f"{ensemble}_trajectories").get(f"{ensemble}_trajectories")
    epoch = calls(transfer, f"{ensemble}_reference").get(f"{ensemble}_reference")
    run: Any = calls(transfer, f"slhmc_{ensemble}").get(f"slhmc_{ensemble}")
    if epoch is None or run is None:
        return
    is_last = is_same(inputs_of(epoch).get("model"), outputs_of(run).get("model"))
    yield None if is_last else f"the {ensemble} reference has another model than the run's last"
    if call is None or not call.is_finished_ok:
        return
    expected = {"n_equilibration_cycles": inputs[f"{ensemble}__reference__n_equilibration_cycles"]}
    expected |= {f"start_{key.removeprefix('walker_')}": node for key, node in _walkers(epoch).items()}
    for name, decision in calls(epoch, "decide_").items():
        cycle, known = name.removeprefix("decide_"), inputs_of(decision)
        expected |= {name: outputs_of(decision)["result"]} if decision.is_finished_ok else {}
        labels = {key: node for key, node in known.items() if key.startswith("label_")}
        expected |= {f"label_{cycle}_{key.removeprefix('label_')}": node for key, node in labels.items()}
    yield from check_made_of(outputs_of(call), "chain", expected)


def _walkers(epoch: orm.WorkChainNode) -> Nodes:
    return namespace(inputs_of(epoch), "walkers")


def _trained_on(run: Any, model: orm.Data) -> list[Any]:
    """Blocks that a model of this run was trained on; none where it is not from this run."""
    for training in calls(run, "fine_tune_").values():
        if is_same(outputs_of(training).get("model"), model):
            return list(namespace(inputs_of(training), "datasets").values())
    return []


def _model_of(trajectory: Any) -> Any:
    """The model of the dynamics that made a trajectory, also where it was joined from pieces."""
    maker = creator_of(trajectory)
    if isinstance(maker, orm.CalcFunctionNode):
        maker = creator_of(inputs_of(maker).get("trajectory_0"))
    return None if maker is None else inputs_of(maker).get("model")


def _value(node: Any) -> Any:
    return None if node is None else node.value

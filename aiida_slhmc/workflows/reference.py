"""The reference of an ensemble: a long epoch with a frozen model, and the trajectories that it leaves."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_slhmc.calculations.mace_proposal import sorted_walkers
from aiida_slhmc.workflows.children import find_children

__all__ = ("reference_inputs", "start_of", "trajectory_inputs")


def reference_inputs(run: orm.ProcessNode, reference: Any) -> dict[str, Any]:
    """Inputs of a long epoch that goes on from a self-learning run with its last model and trajectory, all frozen."""
    walkers = dict(sorted((f"walker_{k}", node) for k, node in sorted_walkers(run.outputs.walkers)))
    target = run.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()["target"]
    seen = [node.base.attributes.get("epoch") for node in walkers.values()]
    # random numbers that have been used are not used again
    epoch = max([len(find_children(run, "epoch_")), *(number + 1 for number in seen if number is not None)])
    inputs = {
        "model": run.outputs.model,
        "parameters": reference.get("parameters", run.inputs.parameters),
        "trajectory": run.outputs.trajectory,
        "walkers": walkers,
        "n_cycles": reference.n_cycles,
        "epoch": orm.Int(epoch),
        "proposal": dict(run.inputs.proposal.items()),
        "target": target,
    }
    for name in ("max_failed_labels", "clean_workdir"):
        inputs[name] = run.inputs[name]
    if run.inputs.parameters.get("ensemble") == "npt":
        # a run that started from walkers has its own
        name = "structure" if "structure" in run.inputs else "reference_structure"
        inputs["reference_structure"] = run.inputs[name]
    if "restart_folders" in run.outputs:
        inputs["restart_folders"] = dict(run.outputs.restart_folders.items())
    return inputs


def start_of(run: orm.ProcessNode) -> dict[str, orm.Data]:
    """The structure that a self-learning run started from, as the input of a dynamics; none if it had walkers."""
    return {"structure": run.inputs.structure} if "structure" in run.inputs else {}


def trajectory_inputs(epoch: orm.ProcessNode, n_equilibration_cycles: orm.Int) -> dict[str, orm.Data]:
    """Inputs of :func:`~aiida_slhmc.calculations.trajectories.slhmc_trajectories`: what it needs of an epoch.

    :param epoch: an EpochWorkChain, of which every finished cycle counts, also where it stopped before its end.
    :param n_equilibration_cycles: cycles at its beginning that are left out.
    """
    decisions = find_children(epoch, "decide_")
    inputs: dict[str, Any] = {"n_equilibration_cycles": n_equilibration_cycles}
    inputs |= {label: call.outputs.result for label, call in decisions.items() if call.is_finished_ok}
    inputs |= {key.replace("walker", "start"): node for key, node in epoch.inputs.walkers.items()}
    for label, call in decisions.items():
        cycle = label.removeprefix("decide_")
        ends = {key.removeprefix("label_"): call.inputs[key] for key in call.inputs if key.startswith("label_")}
        inputs |= {f"label_{cycle}_{k}": node for k, node in ends.items()}
    return inputs

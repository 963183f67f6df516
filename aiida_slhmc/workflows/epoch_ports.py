"""Inputs, outputs and exit codes of the EpochWorkChain."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.kernel.adaptation import make_rule
from aiida_slhmc.workflows.validators import (
    validate_epoch_inputs,
    validate_positive,
    validate_target,
)

__all__ = ("define_inputs", "define_outputs")


def define_inputs(spec: Any) -> None:
    """What an epoch needs."""
    kernel = ("model", "committee", "parameters", "trajectory", "reference_structure")
    spec.expose_inputs(MaceProposalCalculation, include=kernel)
    spec.input_namespace(
        "walkers", valid_type=ConfigurationData, dynamic=True, help="Labelled states: walker_0, walker_1, …"
    )
    spec.input_namespace(
        "restart_folders",
        valid_type=orm.RemoteData,
        dynamic=True,
        required=False,
        help="walker_0, …: folders with the densities of the walkers' states, where there are any.",
    )
    spec.input(
        "clean_workdir",
        valid_type=orm.Bool,
        default=lambda: orm.Bool(True),
        help="Remove the work folders of jobs that ended well, once nothing starts from them any more.",
    )
    spec.input(
        "n_cycles",
        valid_type=orm.Int,
        validator=validate_positive,
        help="Cycles; each costs K labels, or fewer where trajectories diverge.",
    )
    spec.input("epoch", valid_type=orm.Int, default=lambda: orm.Int(0), help="Number that keys the random streams.")
    spec.input(
        "max_failed_labels",
        valid_type=orm.Int,
        default=lambda: orm.Int(4),
        validator=validate_positive,
        help="Stop after this many labels in a row have failed; each failure counts as a rejection. "
        "Trajectories that diverge are rejections, too, but ask for no label and are not counted here.",
    )
    spec.input(
        "adaptation",
        valid_type=orm.Dict,
        required=False,
        validator=checked_by(make_rule),
        help="Rule that chooses the next epoch's trajectory from this one, see kernel/adaptation.py.",
    )
    spec.input("proposal.code", valid_type=orm.AbstractCode, help="Python with mace-torch on the compute node.")
    spec.input("proposal.options", valid_type=orm.Dict, required=False, help="metadata.options of the proposals.")
    spec.input_namespace("target", dynamic=True, help="Inputs of the target's label work chain, see its adapter.")
    spec.inputs["target"].validator = validate_target
    spec.input("target.engine", valid_type=orm.Str, help="Name of the target, for example 'vasp'.")
    spec.inputs.validator = validate_epoch_inputs


def define_outputs(spec: Any) -> None:
    """What it leaves, and how it may fail."""
    spec.output_namespace("walkers", valid_type=ConfigurationData, dynamic=True, help="The walkers' last states.")
    spec.output_namespace(
        "restart_folders",
        valid_type=orm.RemoteData,
        dynamic=True,
        required=False,
        help="Folders with the densities of these states, where the engine leaves any.",
    )
    spec.output("dataset", valid_type=DatasetData, required=False, help="All labels of the epoch.")
    spec.output("chain", valid_type=orm.ArrayData, help="Energies, volumes and ΔH by cycle and walker.")
    spec.output("summary", valid_type=orm.Dict, help="Diagnostics, see summarise_epoch.")
    spec.output(
        "next_trajectory",
        valid_type=orm.Dict,
        required=False,
        help="With `adaptation`: `n_steps` and `timestep` for a next epoch, and the `reason` for them.",
    )
    spec.exit_code(
        401,
        "ERROR_PROPOSAL_FAILED",
        message="The proposal of cycle {cycle} failed: {reason} (`verdi process report {pk}`). "
        "What the cycles before it decided is in the outputs.",
    )
    spec.exit_code(
        402,
        "ERROR_TOO_MANY_FAILED_LABELS",
        message="{count} labels in a row failed, the last with: {reason}. The labels so far are in the outputs; "
        "look at the target's settings, then restart.",
    )
    spec.exit_code(
        404,
        "ERROR_ALL_DIVERGED",
        message="All trajectories of {count} cycles in a row diverged, the last with: {reason}. "
        "The labels so far are in the outputs.",
    )
    spec.exit_code(
        403,
        "ERROR_DECISION_FAILED",
        message="The decision of cycle {cycle} failed: {reason}. What the cycles before it decided is in the outputs.",
    )

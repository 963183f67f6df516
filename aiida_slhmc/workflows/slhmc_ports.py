"""Inputs, outputs and exit codes of the SlhmcWorkChain."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.fine_tune import RUN_INPUTS, FineTuneWorkChain
from aiida_slhmc.workflows.validators import (
    validate_convergence,
    validate_not_negative,
    validate_positive,
    validate_slhmc_inputs,
)

__all__ = ("define_inputs", "define_outputs")


def define_inputs(spec: Any) -> None:
    """What a run needs beside the inputs of its epochs."""
    spec.expose_inputs(EpochWorkChain, exclude=("walkers", "epoch"))
    spec.input("structure", valid_type=orm.StructureData, required=False, help="Where all walkers start.")
    spec.input("n_walkers", valid_type=orm.Int, required=False, validator=validate_positive, help="K, with structure.")
    spec.input_namespace(
        "walkers",
        valid_type=ConfigurationData,
        dynamic=True,
        required=False,
        help="Labelled states to start from instead, as an earlier run left them.",
    )
    spec.input_namespace(
        "datasets", valid_type=DatasetData, dynamic=True, required=False, help="Blocks of an earlier run."
    )
    spec.input_namespace(
        "chains", valid_type=orm.ArrayData, dynamic=True, required=False, help="Those of an earlier run's epochs."
    )
    spec.input(
        "first_epoch", valid_type=orm.Int, default=lambda: orm.Int(0), help="Number of the first epoch (restarts)."
    )
    spec.input("label_budget", valid_type=orm.Int, validator=validate_positive, help="Stop when this many are spent.")
    spec.input(
        "convergence",
        valid_type=orm.Dict,
        required=False,
        validator=validate_convergence,
        help="Stop earlier, when an epoch's forward force RMSE is below `force_rmse_mev_per_angstrom` and its "
        "acceptance above `acceptance`.",
    )
    spec.inputs["adaptation"].required = True
    spec.expose_inputs(FineTuneWorkChain, namespace="fine_tune", include=RUN_INPUTS)
    spec.input(
        "committee_size",
        valid_type=orm.Int,
        default=lambda: orm.Int(1),
        validator=validate_positive,
        help="With n > 1, each update also trains n - 1 further models, which differ in their seeds. They propose and "
        "decide nothing; how far they and the model differ tells how sure it is of a proposal.",
    )
    spec.input(
        "failed_updates",
        valid_type=orm.Int,
        default=lambda: orm.Int(0),
        validator=validate_not_negative,
        help="Fine-tunings of an earlier run that were refused; each halves the learning rate of all that follow.",
    )
    spec.input(
        "tried_blocks",
        valid_type=orm.Int,
        default=lambda: orm.Int(0),
        validator=validate_not_negative,
        help="How many of the `datasets` the last of these was trained on: the next fine-tuning waits for more.",
    )
    spec.inputs.validator = validate_slhmc_inputs


def define_outputs(spec: Any) -> None:
    """What a next run needs, the history, and how a run may fail."""
    spec.output("model", valid_type=MaceModelData, help="The last model that was accepted for use.")
    spec.output_namespace(
        "committee", valid_type=MaceModelData, dynamic=True, required=False, help="Its members: member_1, member_2, …"
    )
    spec.output_namespace("walkers", valid_type=ConfigurationData, dynamic=True, help="The walkers' last states.")
    spec.expose_outputs(EpochWorkChain, include=("restart_folders",))
    spec.output_namespace("datasets", valid_type=DatasetData, dynamic=True, help="All blocks, old and new.")
    spec.output("trajectory", valid_type=orm.Dict, help="The trajectory for a next epoch.")
    spec.output(
        "history",
        valid_type=orm.Dict,
        required=False,
        help="The epochs' summaries, an earlier run's included, and diagnostics of them all, see summarise_run.",
    )
    spec.exit_code(
        401, "ERROR_START_NOT_LABELLED", message="The starting structure has no label: {reason}. Check the target."
    )
    spec.exit_code(402, "ERROR_EPOCH_FAILED", message="Epoch {epoch} failed: {reason} {advice}")
    spec.exit_code(403, "ERROR_FINE_TUNE_FAILED", message="The fine-tuning before epoch {epoch} failed: {reason}")
    spec.exit_code(
        404,
        "ERROR_TRAINING_DATA",
        message="What is to be trained on beside the labels does not go with them: {reason}. Nothing was trained.",
    )

"""Inputs, outputs and exit codes of the RelabelWorkChain."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.analysis.frame_selection import FrameSelection
from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.fine_tune import RUN_INPUTS, FineTuneWorkChain
from aiida_slhmc.workflows.md import MdWorkChain
from aiida_slhmc.workflows.relabel_checks import validate_min_labels, validate_relabel_inputs
from aiida_slhmc.workflows.validators import validate_positive

__all__ = ("define_inputs", "define_outputs")


def define_inputs(spec: Any) -> None:
    """What a relabelling needs."""
    spec.input("model", valid_type=MaceModelData, help="The foundation model: it makes the pool, and is fine-tuned.")
    spec.input(
        "structure",
        valid_type=orm.StructureData,
        required=False,
        help="Where the pool's dynamics starts, and a production that names no structure of its own.",
    )
    spec.input(
        "pool", valid_type=orm.TrajectoryData, required=False, help="Frames to choose from, instead of `pool_md`."
    )
    spec.expose_inputs(
        MdWorkChain,
        namespace="pool_md",
        include=("code", "parameters", "options", "max_iterations"),
        namespace_options={"required": False, "populate_defaults": False, "help": "Dynamics that makes the pool."},
    )
    spec.input(
        "selection",
        valid_type=orm.Dict,
        validator=checked_by(FrameSelection.from_dict),
        help="Which frames are labelled: `method` (every, random, farthest_point), `n_frames`, and `every`, `seed`, "
        "`skip`, see analysis/frame_selection.py.",
    )
    spec.expose_inputs(EpochWorkChain, include=("target", "clean_workdir"))
    spec.expose_inputs(FineTuneWorkChain, namespace="fine_tune", include=RUN_INPUTS)
    spec.input_namespace(
        "production",
        dynamic=True,
        required=False,
        help="Dynamics with the new model, by any name: for each the inputs of an MdWorkChain, at least `code` and "
        "`parameters`; model and role come from here, and `structure` unless it has its own.",
    )
    spec.input(
        "min_labels",
        valid_type=orm.Int,
        default=lambda: orm.Int(2),
        validator=validate_min_labels,
        help="Train only with at least as many labels; fewer failures do not stop anything.",
    )
    spec.input(
        "max_parallel_labels",
        valid_type=orm.Int,
        default=lambda: orm.Int(16),
        validator=validate_positive,
        help="How many labels are computed at a time; the next ones start when these have ended.",
    )
    spec.inputs.validator = validate_relabel_inputs


def define_outputs(spec: Any) -> None:
    """What it leaves, and how it may fail; what there is so far is put out in each case."""
    spec.output("pool", valid_type=orm.TrajectoryData, help="The frames that were chosen from.")
    spec.output("selected", valid_type=orm.ArrayData, help="`indices` of the chosen frames in the pool, and `steps`.")
    spec.output("dataset", valid_type=DatasetData, required=False, help="The labels, in the order of the frames.")
    spec.output("failed", valid_type=orm.Dict, help="`failures`: `frame` and `reason` of each frame without a label.")
    spec.output("model", valid_type=MaceModelData, help="The fine-tuned model.")
    spec.output("metrics", valid_type=orm.Dict, required=False, help="Of the fine-tuning.")
    spec.output_namespace(
        "trajectories", valid_type=orm.TrajectoryData, dynamic=True, required=False, help="Of the production, by name."
    )
    spec.exit_code(401, "ERROR_POOL_FAILED", message="The dynamics that makes the pool failed: {reason}")
    spec.exit_code(
        402, "ERROR_SELECTION_FAILED", message="The frames could not be chosen: {reason}. Change `selection`."
    )
    spec.exit_code(
        403,
        "ERROR_TOO_FEW_LABELS",
        message="{count} labels of {n_frames} are there or could still be, and min_labels is {needed}; the first that "
        "failed: {reason} Look at the target's settings.",
    )
    spec.exit_code(
        404,
        "ERROR_TRAINING_DATA",
        message="What is to be trained on beside the labels does not go with them: {reason}. Nothing was trained.",
    )
    spec.exit_code(405, "ERROR_FINE_TUNE_FAILED", message="The fine-tuning failed: {reason}")
    spec.exit_code(
        406,
        "ERROR_FINE_TUNE_REFUSED",
        message="The fine-tuning was no gain, and its model is not used: {reason} Train on `dataset` with other "
        "options (a smaller learning rate), or on more labels.",
    )
    spec.exit_code(407, "ERROR_PRODUCTION_FAILED", message="Of the production failed {names}; the first: {reason}")

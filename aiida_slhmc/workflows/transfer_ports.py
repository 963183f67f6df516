"""Inputs, outputs and exit codes of the TransferWorkChain."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.calculations.structure_analysis import validate_analysis
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.workflows.md import MdWorkChain
from aiida_slhmc.workflows.relabel import RelabelWorkChain
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain
from aiida_slhmc.workflows.transfer_checks import ENSEMBLES, validate_transfer
from aiida_slhmc.workflows.validators import validate_not_negative, validate_positive

__all__ = ("ENSEMBLES", "define_inputs", "define_outputs")

# a new one for each use: AiiDA takes the items out of the dictionary that it is given
OPTIONAL = {"required": False, "populate_defaults": False}


def define_inputs(spec: Any) -> None:
    """For each ensemble a self-learning run, molecular dynamics and a reference; and one control."""
    spec.input("functional", valid_type=orm.Str, help="Name of the target functional, for tables and figures.")
    for ensemble in ENSEMBLES:
        _define_ensemble(spec, ensemble)
    spec.expose_inputs(
        RelabelWorkChain,
        namespace="relabel",
        namespace_options=OPTIONAL
        | {"help": "The control, with as many frames as the npt run has labels (the nvt run, if there is no other)."},
    )
    spec.input(
        "analysis", valid_type=orm.Dict, validator=validate_analysis, help="See analysis/structure_parameters.py."
    )
    spec.input_namespace(
        "foundation",
        valid_type=orm.TrajectoryData,
        dynamic=True,
        required=False,
        help="nvt, npt: trajectories of the foundation model, to be compared with the references.",
    )
    spec.inputs.validator = validate_transfer


def _define_ensemble(spec: Any, ensemble: str) -> None:
    spec.input_namespace(ensemble, **OPTIONAL, help=f"What is done in the ensemble {ensemble}.")
    spec.expose_inputs(SlhmcWorkChain, namespace=f"{ensemble}.slhmc")
    spec.expose_inputs(MdWorkChain, namespace=f"{ensemble}.md", exclude=("model", "role", "state"))
    spec.inputs[ensemble]["md"].validator = None
    spec.input(f"{ensemble}.reference.n_cycles", valid_type=orm.Int, validator=validate_positive, help="Of the epoch.")
    spec.input(
        f"{ensemble}.reference.n_equilibration_cycles",
        valid_type=orm.Int,
        default=lambda: orm.Int(0),
        validator=validate_not_negative,
        help="Cycles at its beginning that are not analysed.",
    )
    spec.input(
        f"{ensemble}.reference.parameters",
        valid_type=orm.Dict,
        required=False,
        validator=checked_by(KernelParameters.from_dict),
        help="The kernel's parameters where they are not those of the self-learning run, for example the temperature.",
    )
    spec.input(
        f"{ensemble}.evolution_stride",
        valid_type=orm.Int,
        default=lambda: orm.Int(1),
        validator=validate_not_negative,
        help="Molecular dynamics also with every n-th model on the way to the last (0: with the last one only).",
    )


def define_outputs(spec: Any) -> None:
    """What the tables and figures are made of, and what may be missing."""
    spec.output_namespace(
        "models", valid_type=MaceModelData, dynamic=True, help="nvt, npt: the adapted models; and control."
    )
    names = "nvt_chain, nvt_accepted, nvt_adapted_00032 (after so many labels), npt_control, …"
    spec.output_namespace("trajectories", valid_type=orm.TrajectoryData, dynamic=True, required=False, help=names)
    for name, what in (("metrics", orm.Dict), ("curves", orm.ArrayData), ("comparisons", orm.Dict)):
        spec.output_namespace(name, valid_type=what, dynamic=True, required=False, help=f"Of the trajectories: {names}")
    for name, help_text in (("forward", "Forward errors by ensemble."), ("histories", "Histories by ensemble.")):
        spec.output_namespace(name, valid_type=orm.Dict, dynamic=True, required=False, help=help_text)
    spec.exit_code(
        410,
        "ERROR_SLHMC_FAILED",
        message="No self-learning run reached its end: {reason}. Its labels are kept: restart it by itself with "
        "get_restart_builder, or launch this again with caching switched on.",
    )
    spec.exit_code(
        411,
        "ERROR_INCOMPLETE",
        message="Some parts failed, and the rest is analysed: {reason}. Launched again with caching switched on, only "
        "these are computed.",
    )

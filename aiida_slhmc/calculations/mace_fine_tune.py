"""MaceFineTuneCalculation: the next model from the present one and all blocks of labels so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder

from aiida_slhmc.calculations.fine_tune_inputs import check_extra_sets, check_functionals, elements_of, sources_of
from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.calculations.worker_calculation import MaceCalculation, missing_elements
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.force_constants import ForceConstantsData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.fine_tune_parameters import STATE_FILE, FineTuneParameters

__all__ = ("MaceFineTuneCalculation",)


class MaceFineTuneCalculation(MaceCalculation):
    """Fine-tunes on a list of blocks; which configurations validate is decided by their content, for life."""

    WORKER_MODULE = "run_fine_tune"
    RESULT_FILE = "metrics.json"
    OUTPUT_FILE = "trained.safetensors"
    CACHE_VERSION = 2

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace(
            "datasets",
            valid_type=DatasetData,
            dynamic=True,
            help="Blocks of labels, in the order of their names, the newest last.",
        )
        spec.input(
            "parameters",
            valid_type=orm.Dict,
            validator=checked_by(FineTuneParameters.from_dict),
            help=FineTuneParameters.__doc__,
        )
        _define_extra_sets(spec)
        spec.input(
            "training_state",
            valid_type=orm.SinglefileData,
            required=False,
            help="What a training that ran out of wall time has left: it goes on exactly from there.",
        )
        spec.inputs.validator = _validate_inputs
        spec.inputs["metadata"]["options"]["parser_name"].default = "slhmc.mace_fine_tune"
        _define_outputs(spec)
        _define_exit_codes(spec)

    def parameters(self) -> dict[str, Any]:
        """All options, defaults included."""
        return FineTuneParameters.from_dict(self.inputs.parameters.get_dict()).to_dict()

    def write_files(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Copy the data from their nodes, named so that they sort in the order of the inputs."""
        files = []
        for name, suffix in (("datasets", "extxyz"), ("replay", "extxyz"), ("force_constants", "npz")):
            nodes = sorted((self.inputs.get(name) or {}).items())
            files += [(node.uuid, node.FILENAME, f"{name}/{i:04d}.{suffix}") for i, (_, node) in enumerate(nodes)]
        probes = sorted((self.inputs.get("probes") or {}).items())
        files += [(node.uuid, node.FILENAME, f"probes/{name}.extxyz") for name, node in probes]
        if "training_state" in self.inputs:
            state = self.inputs.training_state
            files.append((state.uuid, state.filename, STATE_FILE))
        for name in sorted({path.split("/")[0] for _, _, path in files if "/" in path}):
            folder.get_subfolder(name, create=True)
        return files

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Retrieve the state of a training that was cut short, too."""
        calc_info = super().prepare_for_submission(folder)
        calc_info.retrieve_temporary_list = [*(calc_info.retrieve_temporary_list or []), STATE_FILE]
        return calc_info


def _define_extra_sets(spec: Any) -> None:
    spec.input_namespace(
        "replay",
        valid_type=DatasetData,
        dynamic=True,
        required=False,
        help="Upstream configurations with the labels that the foundation was trained on, to train on beside the "
        "labels, against forgetting.",
    )
    spec.input_namespace(
        "probes",
        valid_type=DatasetData,
        dynamic=True,
        required=False,
        help="Sets that are only evaluated, before and after: what the training gains or loses on them. The names "
        "come back in the metrics and with the model.",
    )
    spec.input_namespace(
        "force_constants",
        valid_type=ForceConstantsData,
        dynamic=True,
        required=False,
        help="Force constants of supercells at the labels' functional, whose columns are trained on.",
    )


def _define_outputs(spec: Any) -> None:
    spec.output("model", valid_type=MaceModelData, help="The best model by validation loss.")
    spec.output("curve", valid_type=orm.ArrayData, help="Per training epoch: losses, validation errors, learning rate.")
    spec.output(
        "metrics",
        valid_type=orm.Dict,
        help="Errors on training and validation configurations before and after, the parent's errors and what the "
        "gate compared, errors on the probes, references used, stop reason, which configurations validated, versions.",
    )
    spec.output(
        "training_state",
        valid_type=orm.SinglefileData,
        required=False,
        help="With ERROR_WALLTIME: the input `training_state` of a calculation that goes on.",
    )


def _define_exit_codes(spec: Any) -> None:
    spec.exit_code(
        311,
        "ERROR_WALLTIME",
        invalidates_cache=True,
        message="Out of wall time: {reason}. The model is the best so far. To go on, give the output `training_state` "
        "to a calculation with the same other inputs, or raise metadata.options.max_wallclock_seconds.",
    )
    spec.exit_code(
        340, "ERROR_DIVERGED", message="The training diverged ({reason}). Lower learning_rate or raise batch_size."
    )
    spec.exit_code(
        341,
        "ERROR_NO_IMPROVEMENT",
        message="No training epoch beat the initial model ({reason}). Lower learning_rate, or add labels.",
    )
    spec.exit_code(
        342,
        "ERROR_WORSE_THAN_PARENT",
        message="The trained model is worse than the one it came from ({reason}). Lower learning_rate, add labels, "
        "look at the energy references, or raise gate_factor if you mean to use it all the same.",
    )


def _validate_inputs(inputs: Mapping[str, Any], namespace: Any) -> str | None:
    """At least one block, all of one functional, with elements that the model knows; all else fits to them."""
    datasets = inputs.get("datasets") or {}
    # a work chain may expose a part of the inputs only
    if "datasets" not in namespace:
        return None
    if not datasets:
        return "give at least one block of labels in `datasets`"
    sources = sources_of(datasets)
    if len(sources) > 1:
        return f"the blocks are of different functionals or engines: {sorted(sources)}"
    message = missing_elements(inputs["model"], elements_of(datasets)) if "model" in inputs else None
    return message or check_extra_sets(inputs) or check_functionals(sources.pop()[0], inputs)

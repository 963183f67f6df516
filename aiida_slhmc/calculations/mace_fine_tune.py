"""MaceFineTuneCalculation: the next model from the present one and all blocks of labels so far."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.folders import Folder

from aiida_slhmc.calculations.worker_calculation import MaceCalculation, missing_elements
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

__all__ = ("MaceFineTuneCalculation",)


class MaceFineTuneCalculation(MaceCalculation):
    """Fine-tunes on a list of blocks; which configurations validate is decided by their content, for life."""

    WORKER_MODULE = "fine_tune"
    RESULT_FILE = "metrics.json"
    OUTPUT_FILE = "trained.safetensors"
    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace(
            "datasets", valid_type=DatasetData, dynamic=True, help="Blocks of labels, in the order of their names."
        )
        spec.input("parameters", valid_type=orm.Dict, validator=_validate_parameters, help=FineTuneParameters.__doc__)
        spec.inputs.validator = _validate_inputs
        spec.inputs["metadata"]["options"]["parser_name"].default = "slhmc.mace_fine_tune"
        spec.output("model", valid_type=MaceModelData, help="The best model by validation loss.")
        spec.output(
            "curve", valid_type=orm.ArrayData, help="Per training epoch: losses, validation errors, learning rate."
        )
        spec.output(
            "metrics",
            valid_type=orm.Dict,
            help="Errors on training and validation configurations before and after, references used, stop reason, "
            "which configurations validated, versions.",
        )
        spec.exit_code(
            340, "ERROR_DIVERGED", message="The training diverged ({reason}). Lower learning_rate or raise batch_size."
        )
        spec.exit_code(
            341,
            "ERROR_NO_IMPROVEMENT",
            message="No training epoch beat the initial model ({reason}). Lower learning_rate, or add labels.",
        )

    def parameters(self) -> dict[str, Any]:
        """All options, defaults included."""
        return FineTuneParameters.from_dict(self.inputs.parameters.get_dict()).to_dict()

    def write_files(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Copy the blocks from their nodes, named so that they sort in the order of the inputs."""
        folder.get_subfolder("datasets", create=True)
        blocks = sorted(self.inputs.datasets.items())
        return [(node.uuid, node.FILENAME, f"datasets/{i:04d}.extxyz") for i, (_, node) in enumerate(blocks)]


def _validate_parameters(node: orm.Dict, _: Any) -> str | None:
    try:
        FineTuneParameters.from_dict(node.get_dict())
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def _validate_inputs(inputs: Any, namespace: Any) -> str | None:
    """At least one block, all of one functional, with elements that the model knows."""
    datasets = inputs.get("datasets") or {}
    if "datasets" not in namespace:
        return None
    if not datasets:
        return "give at least one block of labels in `datasets`"
    sources = {tuple(node.base.attributes.get(key) for key in ("functional", "engine")) for node in datasets.values()}
    if len(sources) > 1:
        return f"the blocks are of different functionals or engines: {sorted(sources)}"
    elements = {symbol for node in datasets.values() for symbol in node.base.attributes.get("elements")}
    return missing_elements(inputs["model"], elements) if "model" in inputs else None

"""AseLabelCalculation: energy, forces and stress of one structure from an ASE calculator."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.folders import Folder

from aiida_slhmc.calculations.worker_calculation import WorkerCalculation
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.checks import check_names
from aiida_slhmc.worker.job import PARAMETERS_FILE, RESULT_FILE
from aiida_slhmc.worker.label import CONFIGURATION_FILE, LABEL_FILE

__all__ = ("AseLabelCalculation", "check_calculator", "file_name")

# names in the job's folder that a calculator's file must not take
RESERVED = {PARAMETERS_FILE, RESULT_FILE, CONFIGURATION_FILE, LABEL_FILE, "worker.out", "worker.err", "aiida_slhmc"}


class AseLabelCalculation(WorkerCalculation):
    """Evaluates one structure with any ASE calculator that gives energy, forces and stress.

    The code is a Python interpreter with ASE and the calculator's package. A calculator of your own may come along as
    a file: with ``my_calculator.py`` in ``files``, its path is ``my_calculator.MyClass``.
    """

    WORKER_MODULE = "label"
    OUTPUT_FILE = LABEL_FILE
    PACKAGES = "ase, numpy and the calculator's package"
    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, output and exit codes."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, validator=_validate_structure, help="What to label.")
        spec.input(
            "calculator",
            valid_type=orm.Dict,
            validator=_validate_calculator,
            help="`calculator`: importable path of an ASE calculator's class, or of a function that returns one, such "
            "as tblite.ase.TBLite; `arguments`: its keyword arguments.",
        )
        spec.input_namespace(
            "files",
            valid_type=(orm.SinglefileData, MaceModelData),
            dynamic=True,
            required=False,
            validator=_validate_files,
            help="What the calculator reads, put into the job's folder under their own names: a potential, a model.",
        )
        spec.inputs["metadata"]["options"]["parser_name"].default = "slhmc.ase_label"
        spec.output(
            "label",
            valid_type=orm.ArrayData,
            help="`energy` (eV; the free energy where the calculator has one), `forces` (n_atoms, 3) in eV/Å, `stress` "
            "(3, 3) in eV/Å³, positive under tension, and the configuration that they belong to: `numbers`, "
            "`positions` (Å), `cell` (Å). Attributes: `energy_kind` (free_energy or energy), `versions` of ASE and the "
            "calculator's package, `seconds`.",
        )
        _define_exit_codes(spec)

    def parameters(self) -> dict[str, Any]:
        """The calculator and its arguments."""
        return {"arguments": {}} | self.inputs.calculator.get_dict()

    def write_files(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Write the configuration, and copy the calculator's files."""
        atoms = self.inputs.structure.get_ase()
        handle = io.BytesIO()
        np.savez(handle, numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array)
        handle.seek(0)
        folder.create_file_from_filelike(handle, CONFIGURATION_FILE, mode="wb")
        nodes = self.inputs.get("files", {}).values()
        return [(node.uuid, file_name(node), file_name(node)) for node in nodes]


def _define_exit_codes(spec: Any) -> None:
    """None of these ends is worth a repetition with the same inputs, but they are not cached: packages change."""
    spec.exit_code(
        330,
        "ERROR_NOT_FINITE",
        invalidates_cache=True,
        message="The label is not finite: {reason}. Look at the structure: atoms may be on top of each other.",
    )
    spec.exit_code(340, "ERROR_CALCULATOR_UNAVAILABLE", invalidates_cache=True, message="No calculator: {reason}.")
    spec.exit_code(
        341,
        "ERROR_WRONG_ARGUMENTS",
        invalidates_cache=True,
        message="The calculator cannot be made: {reason}. Correct `arguments` in the input `calculator`.",
    )
    spec.exit_code(
        342,
        "ERROR_PROPERTY_MISSING",
        invalidates_cache=True,
        message="{reason}. A label needs energy, forces and stress: take a calculator that has them all.",
    )
    spec.exit_code(
        343,
        "ERROR_NOT_CONVERGED",
        invalidates_cache=True,
        message="The self-consistency did not converge: {reason}. Allow more iterations in `arguments`.",
    )
    spec.exit_code(
        344,
        "ERROR_CALCULATOR_FAILED",
        invalidates_cache=True,
        message="{reason}. The place is in `verdi calcjob outputcat PK worker.err`.",
    )


def check_calculator(values: dict[str, Any]) -> str | None:
    """Why *values* (of the input ``calculator``) name no calculator, or None."""
    try:
        check_names(values, {"calculator", "arguments"}, "key of the calculator")
    except ValueError as error:
        return str(error)
    path = values.get("calculator")
    parts = path.split(".") if isinstance(path, str) else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return f"calculator must be the path of a class, such as tblite.ase.TBLite, not {path!r}"
    arguments = values.get("arguments", {})
    if not isinstance(arguments, dict) or not all(str(name).isidentifier() for name in arguments):
        return f"arguments must be a dictionary of keyword arguments, not {arguments!r}"
    return None


def file_name(node: orm.SinglefileData | MaceModelData) -> str:
    """The name of a calculator's file in its node and in the job's folder."""
    return node.FILENAME if isinstance(node, MaceModelData) else str(node.filename)


def _validate_calculator(node: orm.Dict, _: Any) -> str | None:
    return check_calculator(node.get_dict())


def _validate_structure(node: orm.StructureData, _: Any) -> str | None:
    """Periodic, and what ASE's atoms can hold without loss."""
    if not all(node.pbc):
        return "the structure must be periodic in three directions"
    if node.has_vacancies or node.is_alloy:
        return "sites must be fully occupied, each by one element"
    return None


def _validate_files(files: Any, _: Any) -> str | None:
    names = Counter(file_name(node) for node in (files or {}).values())
    paths = sorted(name for name in names if PurePosixPath(name).name != name or name in ("", ".."))
    if paths:
        return f"files go into the job's folder by plain names, not {', '.join(paths)}"
    taken = sorted(name for name, count in names.items() if count > 1 or name in RESERVED)
    return f"these names of files are given twice, or are the job's own: {', '.join(taken)}" if taken else None

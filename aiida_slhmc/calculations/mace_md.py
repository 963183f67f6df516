"""MaceMdCalculation: molecular dynamics with a frozen model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from ase.data import atomic_masses, chemical_symbols
from numpy.typing import NDArray

from aiida_slhmc.calculations.mace_proposal import cell_of
from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.calculations.worker_calculation import MaceCalculation, missing_elements
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.kernel.ensembles import make_ensemble
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.worker.md_state import STATE_ARRAYS
from aiida_slhmc.worker.run_md import START_FILE, STATE_FILE, TRAJECTORY_FILE

__all__ = ("MaceMdCalculation", "symbols_of_state")


class MaceMdCalculation(MaceCalculation):
    """Massive Nosé–Hoover chains in NVT or NPT, from a structure or from the state that another run has left."""

    WORKER_MODULE = "run_md"
    OUTPUT_FILE = TRAJECTORY_FILE
    CACHE_VERSION = 1

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outputs and exit codes."""
        super().define(spec)
        spec.input(
            "parameters", valid_type=orm.Dict, validator=checked_by(MdParameters.from_dict), help=MdParameters.__doc__
        )
        spec.input(
            "structure",
            valid_type=(orm.StructureData, ConfigurationData),
            required=False,
            validator=_validate_structure,
            help="Where a new run begins; its momenta are drawn from the seed.",
        )
        spec.input(
            "state",
            valid_type=orm.ArrayData,
            required=False,
            validator=_validate_state,
            help="Instead of a structure: the output `state` of another run, from which this one goes on exactly, by "
            "`n_steps` more. Steps are counted on, and what belongs to the dynamics must be as it was.",
        )
        spec.input(
            "reference_structure",
            valid_type=(orm.StructureData, ConfigurationData),
            required=False,
            help="NPT: the structure whose cell strains are measured from; the default is `structure`. A state has its "
            "own.",
        )
        spec.input(
            "role",
            valid_type=orm.Str,
            required=False,
            help="What the trajectory is for, such as foundation_md, adapted_md or control_md: its attribute `role`.",
        )
        spec.inputs.validator = _validate_inputs
        spec.inputs["metadata"]["options"]["parser_name"].default = "slhmc.mace_md"
        _define_outputs(spec)
        _define_exit_codes(spec)

    def parameters(self) -> dict[str, Any]:
        """All options, defaults included."""
        return {"md": MdParameters.from_dict(self.inputs.parameters.get_dict()).to_dict()}

    def write_files(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Write where the run begins."""
        handle = io.BytesIO()
        np.savez(handle, **self._start())  # type: ignore[arg-type]
        handle.seek(0)
        folder.create_file_from_filelike(handle, START_FILE, mode="wb")
        return []

    def _start(self) -> dict[str, NDArray[Any]]:
        if "state" in self.inputs:
            return {name: self.inputs.state.get_array(name) for name in STATE_ARRAYS}
        numbers, positions = _atoms_of(self.inputs.structure)
        return {
            "numbers": numbers,
            "masses": atomic_masses[numbers],
            "positions": positions,
            "cell": cell_of(self.inputs.structure),
            # of no consequence in NVT
            "reference_cell": cell_of(self.inputs.get("reference_structure", self.inputs.structure)),
        }

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Retrieve the state, too."""
        calc_info = super().prepare_for_submission(folder)
        calc_info.retrieve_temporary_list = [*(calc_info.retrieve_temporary_list or []), STATE_FILE]
        return calc_info


def _define_outputs(spec: Any) -> None:
    spec.output(
        "trajectory",
        valid_type=orm.TrajectoryData,
        required=False,
        help="The frames, after every `sampling_interval` steps; the start is none. `positions` and `cells` (Å, not "
        "wrapped), `steps`, `times` in fs (attribute `time_unit`; AiiDA's own documentation has ps), "
        "`potential_energies` (eV), `temperatures` (K, of all 3N degrees of freedom), `volumes` (Å³) and "
        "`conserved_energies` (eV). Attributes: `role` where given, `ensemble`, `temperature` (K), `pressure` (GPa, "
        "NPT), `timestep` (fs), `sampling_interval` and all options as `parameters`.",
    )
    spec.output(
        "state",
        valid_type=orm.ArrayData,
        required=False,
        help="Where the run stands at its end: the input `state` of one that goes on from there.",
    )
    spec.output(
        "results",
        valid_type=orm.Dict,
        help="`n_steps` and `n_equilibration_steps` that were done, `n_frames`, `last_step`, the means and standard "
        "deviations over the frames of potential energy (eV), temperature (K) and volume (Å³), "
        "`conserved_energy_drift` (meV per atom and ps; slope of a straight line through the frames), "
        "`steps_per_second`, `seconds`, `device`.",
    )


def _define_exit_codes(spec: Any) -> None:
    spec.exit_code(
        311,
        "ERROR_WALLTIME",
        invalidates_cache=True,
        message="Out of wall time: {reason}. The trajectory is the part so far. To go on, give the output `state`, in "
        "the place of `structure`, to a calculation of the steps that are left, or launch the work chain slhmc.md, "
        "which does so; or raise metadata.options.max_wallclock_seconds.",
    )
    spec.exit_code(330, "ERROR_NOT_FINITE", message="The trajectory is not finite: {reason}. Check the model.")
    spec.exit_code(332, "ERROR_MISSING_ELEMENT", message="{reason}. Take a model that has them.")
    spec.exit_code(333, "ERROR_UNREACHABLE_CELL", message="The structure does not fit to its reference: {reason}.")
    spec.exit_code(
        340,
        "ERROR_DIVERGED",
        message="The run diverged {reason}. What came before is in the trajectory, where there is a frame.",
    )


def _atoms_of(node: orm.StructureData | ConfigurationData) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Atomic numbers (n_atoms,) and positions (n_atoms, 3) in Å."""
    atoms = node.get_ase()
    return atoms.numbers, atoms.positions


def _validate_structure(node: orm.StructureData | ConfigurationData | None, _: Any) -> str | None:
    """Periodic, and each site one atom."""
    if not isinstance(node, orm.StructureData):
        return None
    if not all(node.pbc):
        return "the structure must be periodic in three directions"
    if node.has_vacancies or node.is_alloy:
        return "sites must be fully occupied, each by one element"
    return None


def _validate_state(node: orm.ArrayData | None, _: Any) -> str | None:
    missing = sorted(set(STATE_ARRAYS) - set(node.get_arraynames())) if node is not None else []
    return f"this is no state of a molecular dynamics, it lacks {', '.join(missing)}" if missing else None


def _validate_inputs(inputs: Mapping[str, Any], namespace: Any) -> str | None:
    """A structure or a state, whose elements the model knows, and which go with the options."""
    # a work chain may expose a part of the inputs only
    if "structure" not in namespace or "parameters" not in inputs:
        return None
    if ("structure" in inputs) == ("state" in inputs):
        return "give either `structure`, for a new run, or `state`, for one that goes on"
    if "state" in inputs:
        elements, message = set(symbols_of_state(inputs["state"])), _check_state(inputs)
    else:
        elements = {chemical_symbols[number] for number in _atoms_of(inputs["structure"])[0]}
        message = _check_cell(inputs)
    return message or (missing_elements(inputs["model"], elements) if "model" in inputs else None)


def symbols_of_state(node: orm.ArrayData) -> list[str]:
    """Chemical symbols of the atoms, in their order."""
    return [chemical_symbols[number] for number in node.get_array("numbers")]


def _check_state(inputs: Mapping[str, Any]) -> str | None:
    """Why the run cannot go on from this state, or None."""
    if "reference_structure" in inputs:
        return "`reference_structure` is for a new run; the state has its own reference cell"
    former = inputs["state"].base.attributes.get("parameters", None)
    if former is None:
        return None
    present = MdParameters.from_dict(inputs["parameters"].get_dict())
    names = present.differences(MdParameters.from_dict(former))
    if not names:
        return None
    changes = ", ".join(f"{name} (was {former.get(name)}, now {getattr(present, name)})" for name in names)
    return f"the run cannot go on with another {changes}; begin anew from a structure"


def _check_cell(inputs: Mapping[str, Any]) -> str | None:
    """Why the structure's cell is no strain of the reference's, or None; always None in NVT."""
    options = MdParameters.from_dict(inputs["parameters"].get_dict())
    numbers, positions = _atoms_of(inputs["structure"])
    cell = cell_of(inputs["structure"])
    reference = cell_of(inputs.get("reference_structure", inputs["structure"]))
    try:
        make_ensemble(options.kernel(), atomic_masses[numbers], cell, reference).coordinates(positions, cell)
    except ValueError as error:
        return str(error)
    return None

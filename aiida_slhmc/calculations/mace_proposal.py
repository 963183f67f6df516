"""MaceProposalCalculation: one trajectory for every walker with the present model."""

from __future__ import annotations

import io
import re
from dataclasses import asdict
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.folders import Folder
from ase.data import atomic_masses
from numpy.typing import NDArray

from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.calculations.worker_calculation import MaceCalculation, missing_elements
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.ensembles import make_ensemble
from aiida_slhmc.kernel.parameters import KernelParameters, Trajectory
from aiida_slhmc.worker.committee import COMMITTEE_FOLDER
from aiida_slhmc.worker.propose import PROPOSALS_FILE, STATES_FILE

__all__ = (
    "MaceProposalCalculation",
    "cell_of",
    "check_committee",
    "check_reference",
    "check_walkers",
    "read_trajectory",
    "sorted_walkers",
)

# what an adaptation keeps beside `n_steps` and `timestep`
ADAPTATION_KEYS = {"state", "rule", "reason"}


class MaceProposalCalculation(MaceCalculation):
    """Draws momenta for every walker and integrates n steps of leapfrog with the forces of the model."""

    WORKER_MODULE = "propose"
    OUTPUT_FILE = PROPOSALS_FILE
    CACHE_VERSION = 3

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace("states", valid_type=ConfigurationData, dynamic=True, help="walker_0, walker_1, …")
        spec.input(
            "parameters",
            valid_type=orm.Dict,
            validator=checked_by(KernelParameters.from_dict),
            help=KernelParameters.__doc__,
        )
        spec.input(
            "trajectory",
            valid_type=orm.Dict,
            validator=_validate_trajectory,
            help="`n_steps` and `timestep` (fs); an adaptation's `rule`, `state` and `reason` may be there, too.",
        )
        spec.input(
            "reference_structure",
            valid_type=(orm.StructureData, ConfigurationData),
            required=False,
            help="NPT: the structure whose cell strains are measured from, the same for a whole run.",
        )
        spec.input_namespace(
            "committee",
            valid_type=MaceModelData,
            dynamic=True,
            required=False,
            validator=_validate_committee,
            help="member_1, member_2, …: other fine-tunings of the same labels. How much they and `model` differ at "
            "the end points tells how sure `model` is there; they propose and decide nothing.",
        )
        spec.input("epoch", valid_type=orm.Int, help="Number of the epoch; with the cycle it keys the random streams.")
        spec.input("cycle", valid_type=orm.Int, help="Number of the cycle in its epoch.")
        spec.inputs.validator = _validate_inputs
        spec.inputs["metadata"]["options"]["parser_name"].default = "slhmc.mace_proposal"
        spec.output_namespace(
            "structures",
            valid_type=orm.StructureData,
            dynamic=True,
            required=False,
            help="The end points to label, of walkers that did not diverge.",
        )
        spec.output(
            "proposals",
            valid_type=orm.ArrayData,
            help="Per walker: the model's `energies`, the `cell_energies` that NPT adds and the `kinetic_energies` "
            "(n_walkers, 2; start and end) in eV, `positions` (Å), `momenta` (amu Å/fs) and `forces` (eV/Å) at the "
            "end, (n_walkers, n_atoms, 3), `cells` (Å), `integration_errors` in eV, and `diverged` (boolean): there "
            "the end is the start and all else is zero, and the proposal is refused; in NPT also `stresses` (eV/Å³), "
            "`cell_momenta` (amu Å²/fs) and `reference_cell` (Å); with a committee its `committee_energy_spread` "
            "(eV/atom) and `committee_force_spread` (eV/Å), (n_walkers,), NaN where not known. Attributes: `n_steps`, "
            "`timestep`, `epoch`, `cycle`, `seed`, `temperature`, `ensemble`, all parameters as `kernel`, and "
            "`divergences`, the reasons by walker.",
        )
        spec.exit_code(
            330,
            "ERROR_NOT_FINITE",
            message="The proposals are not finite: {reason}. Check the model, for example with a shorter proposal.",
        )
        spec.exit_code(332, "ERROR_MISSING_ELEMENT", message="{reason}. Take a foundation model that has them.")
        spec.exit_code(333, "ERROR_UNREACHABLE_CELL", message="A walker's cell is not one of this run: {reason}.")

    def parameters(self) -> dict[str, Any]:
        """The kernel, the trajectory, and the place in the run."""
        return {
            "kernel": KernelParameters(**self.inputs.parameters.get_dict()).as_dict(),
            "trajectory": asdict(read_trajectory(self.inputs.trajectory)),
            "epoch": self.inputs.epoch.value,
            "cycle": self.inputs.cycle.value,
        }

    def write_files(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Write the walkers' states; copy the committee from its nodes."""
        states = [node.arrays() for _, node in sorted_walkers(self.inputs.states)]
        numbers = states[0]["numbers"]
        handle = io.BytesIO()
        np.savez(
            handle,
            numbers=numbers,
            masses=atomic_masses[numbers],
            positions=np.stack([state["positions"] for state in states]),
            cells=np.stack([state["cell"] for state in states]),
            # of no consequence in NVT
            reference_cell=cell_of(self.inputs.get("reference_structure", self.inputs.states["walker_0"])),
        )
        handle.seek(0)
        folder.create_file_from_filelike(handle, STATES_FILE, mode="wb")
        members = self.inputs.get("committee", {})
        if members:
            folder.get_subfolder(COMMITTEE_FOLDER, create=True)
        return [(node.uuid, node.FILENAME, f"{COMMITTEE_FOLDER}/{name}.safetensors") for name, node in members.items()]


def read_trajectory(node: orm.Dict) -> Trajectory:
    """The length and the time step, without what an adaptation keeps beside them."""
    return Trajectory.from_dict({key: value for key, value in node.get_dict().items() if key not in ADAPTATION_KEYS})


def cell_of(node: orm.StructureData | ConfigurationData) -> NDArray[np.float64]:
    """Cell vectors as rows in Å, (3, 3)."""
    return np.array(node.cell) if isinstance(node, orm.StructureData) else node.arrays()["cell"]


def sorted_walkers(namespace: Any) -> list[tuple[int, Any]]:
    """(number, node) of ``walker_0``, ``walker_1``, … in order of their numbers."""
    return sorted((int(name.removeprefix("walker_")), node) for name, node in namespace.items())


def check_walkers(port: str, walkers: dict[str, Any]) -> str | None:
    """Why *walkers* cannot advance together, or None: numbers without gaps, the same atoms in the same order."""
    if not walkers or set(walkers) != {f"walker_{k}" for k in range(len(walkers))}:
        return f"{port} must be named walker_0, walker_1, … without gaps, got: {', '.join(walkers) or 'none'}"
    if len({node.base.attributes.get("species") for node in walkers.values()}) > 1:
        return "all walkers must have the same atoms in the same order"
    return None


def _validate_trajectory(node: orm.Dict, _: Any) -> str | None:
    try:
        read_trajectory(node)
    except ValueError as error:
        return str(error)
    return None


def check_reference(parameters: orm.Dict, reference: Any, walkers: dict[str, Any]) -> str | None:
    """Why the walkers' cells cannot be strains of the reference structure's cell, or None; always None in NVT."""
    kernel = KernelParameters(**parameters.get_dict())
    if kernel.ensemble == "nvt":
        return None
    if reference is None:
        return "ensemble npt needs `reference_structure`: the structure whose cell strains are measured from"
    for name, node in walkers.items():
        arrays = node.arrays()
        ensemble = make_ensemble(kernel, atomic_masses[arrays["numbers"]], arrays["cell"], cell_of(reference))
        try:
            ensemble.coordinates(arrays["positions"], arrays["cell"])
        except ValueError as error:
            return f"{name}: {error}"
    return None


def _validate_committee(members: Any, _: Any) -> str | None:
    """Names that sort as numbers."""
    wrong = sorted(name for name in members or {} if not re.fullmatch(r"member_[1-9]\d*", name))
    return f"members must be named member_1, member_2, …, not {', '.join(wrong)}" if wrong else None


def check_committee(members: Any, elements: set[str]) -> str | None:
    """Why a member cannot be asked about walkers with these *elements*, or None."""
    for name, node in sorted((members or {}).items()):
        message = missing_elements(node, elements)
        if message:
            return f"committee.{name}: {message}"
    return None


def _validate_inputs(inputs: Any, namespace: Any) -> str | None:
    """The walkers can advance together, the models know their elements, and their cells belong to the reference."""
    if "states" not in namespace or "states" not in inputs:
        return None
    states = inputs["states"]
    message = check_walkers("states", states)
    if message or "model" not in inputs:
        return message
    elements = set(states["walker_0"].base.attributes.get("elements"))
    message = missing_elements(inputs["model"], elements) or check_committee(inputs.get("committee"), elements)
    return message or check_reference(inputs["parameters"], inputs.get("reference_structure"), states)

"""Parser of MaceProposalCalculation."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms
from numpy.typing import NDArray

from aiida_slhmc.calculations.mace_proposal import sorted_walkers
from aiida_slhmc.calculations.worker_parser import WorkerParser
from aiida_slhmc.worker.propose import PROPOSALS_FILE

__all__ = ("MaceProposalParser",)

ARRAYS = ("positions", "momenta", "forces", "energies", "kinetic_energies")


class MaceProposalParser(WorkerParser):
    """Makes one structure per walker, to be labelled, and the arrays that the Metropolis test needs."""

    CACHE_VERSION = 1
    STATUS_EXIT_CODES = WorkerParser.STATUS_EXIT_CODES | {
        "not_finite": "ERROR_NOT_FINITE",
        "divergent": "ERROR_DIVERGENT",
        "missing_element": "ERROR_MISSING_ELEMENT",
    }

    def parse_output(self, result: dict[str, Any], folder: Path) -> ExitCode | None:
        """Make ``structures`` and ``proposals``."""
        if result["status"] != "finished" or not {"n_steps", "device"} <= set(result):
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"unexpected result {sorted(result.items())}")
        try:
            with np.load(folder / PROPOSALS_FILE, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"{PROPOSALS_FILE}: {error}")
        if not all(np.all(np.isfinite(values)) for values in arrays.values()):
            return self.exit_codes.ERROR_NOT_FINITE.format(reason="The proposals are not finite")
        self.out("proposals", self._proposals(result, arrays))
        for k, structure in enumerate(self._structures(arrays["positions"])):
            self.out(f"structures.walker_{k}", structure)
        return None

    def _proposals(self, result: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> orm.ArrayData:
        node = orm.ArrayData(arrays)
        node.set_array("integration_errors", np.diff(arrays["energies"] + arrays["kinetic_energies"], axis=-1)[:, 0])
        parameters = self.node.inputs.parameters.get_dict()
        attributes = {key: parameters[key] for key in ("seed", "temperature")} | self._place()
        node.base.attributes.set_many(attributes | {key: result[key] for key in ("n_steps", "device")})
        return node

    def _structures(self, positions: NDArray[np.float64]) -> list[orm.StructureData]:
        """The end points, unwrapped, each with its place in the run as attributes."""
        structures = []
        for k, state in sorted_walkers({key: self.node.inputs.states[key] for key in self.node.inputs.states}):
            arrays = state.arrays()
            atoms = Atoms(numbers=arrays["numbers"], positions=positions[k], cell=arrays["cell"], pbc=True)
            structure = orm.StructureData(ase=atoms)
            structure.base.attributes.set_many(self._place() | {"walker": k, "role": "proposal"})
            structures.append(structure)
        return structures

    def _place(self) -> dict[str, int]:
        return {"epoch": self.node.inputs.epoch.value, "cycle": self.node.inputs.cycle.value}

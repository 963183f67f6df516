"""Parser of MaceProposalCalculation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms
from numpy.typing import NDArray

from aiida_slhmc.calculations.mace_proposal import cell_of, read_trajectory, sorted_walkers
from aiida_slhmc.calculations.worker_parser import WorkerParser, read_arrays
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.worker.committee import COMMITTEE_ARRAYS
from aiida_slhmc.worker.divergence import integration_errors
from aiida_slhmc.worker.propose import PROPOSALS_FILE

__all__ = ("MaceProposalParser",)

ARRAYS = ("positions", "cells", "momenta", "forces", "energies", "cell_energies", "kinetic_energies", "diverged")
NPT_ARRAYS = ("cell_momenta", "stresses")


class MaceProposalParser(WorkerParser):
    """Makes the arrays that the Metropolis test needs, and the structures to be labelled.

    A walker whose trajectory diverged has no structure: its proposal is refused without a label.
    """

    CACHE_VERSION = 3
    STATUS_EXIT_CODES = WorkerParser.STATUS_EXIT_CODES | {
        "missing_element": "ERROR_MISSING_ELEMENT",
        "unreachable_cell": "ERROR_UNREACHABLE_CELL",
    }

    def parse_output(self, result: dict[str, Any], folder: Path) -> ExitCode | None:
        """Make ``structures`` and ``proposals``."""
        if result["status"] != "finished" or not {"n_steps", "device", "divergences"} <= set(result):
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"unexpected result {sorted(result.items())}")
        kernel = KernelParameters(**self.given["parameters"].get_dict())
        names = ARRAYS + (NPT_ARRAYS if kernel.ensemble == "npt" else ())
        # the only ones that may hold NaN: the spread is not known where a trajectory diverged, and it decides nothing
        committee = COMMITTEE_ARRAYS if "committee" in self.given else ()
        try:
            arrays, spreads = (read_arrays(folder / PROPOSALS_FILE, keys) for keys in (names, committee))
        except ValueError as error:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=error)
        if not all(np.all(np.isfinite(values)) for values in arrays.values()):
            return self.exit_codes.ERROR_NOT_FINITE.format(reason=f"there are such numbers in {PROPOSALS_FILE}")
        self.out("proposals", self._proposals(result, arrays | spreads, kernel))
        for k, structure in self._structures(arrays):
            self.out(f"structures.walker_{k}", structure)
        return None

    def _proposals(
        self, result: dict[str, Any], arrays: dict[str, NDArray[Any]], kernel: KernelParameters
    ) -> orm.ArrayData:
        node = orm.ArrayData(arrays)
        node.set_array("integration_errors", integration_errors(arrays))
        if kernel.ensemble == "npt":
            node.set_array("reference_cell", cell_of(self.given["reference_structure"]))
        attributes = {key: getattr(kernel, key) for key in ("seed", "temperature", "ensemble")}
        attributes |= {"kernel": kernel.as_dict(), "timestep": read_trajectory(self.given["trajectory"]).timestep}
        attributes |= {key: result[key] for key in ("n_steps", "device", "divergences")}
        node.base.attributes.set_many(attributes | self._place())
        return node

    def _structures(self, arrays: dict[str, NDArray[Any]]) -> list[tuple[int, orm.StructureData]]:
        """The end points by walker, unwrapped, each with its place in the run as attributes."""
        structures = []
        # the same atoms in the same order for all
        numbers = self.given["states"]["walker_0"].arrays()["numbers"]
        for k, _ in sorted_walkers(self.given["states"]):
            if arrays["diverged"][k]:
                continue
            atoms = Atoms(numbers=numbers, positions=arrays["positions"][k], cell=arrays["cells"][k], pbc=True)
            structure = orm.StructureData(ase=atoms)
            structure.base.attributes.set_many(self._place() | {"walker": k, "role": "proposal"})
            structures.append((k, structure))
        return structures

    def _place(self) -> dict[str, int]:
        return {name: self.given[name].value for name in ("epoch", "cycle")}

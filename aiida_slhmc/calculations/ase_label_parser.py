"""Parser of AseLabelCalculation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_slhmc.calculations.worker_parser import WorkerParser, read_arrays
from aiida_slhmc.worker.label import LABEL_FILE

__all__ = ("AseLabelParser",)

ATTRIBUTES = ("energy_kind", "versions", "seconds")


class AseLabelParser(WorkerParser):
    """Makes the arrays of a label, bit for bit as the calculator gave them."""

    CACHE_VERSION = 1
    STATUS_EXIT_CODES = WorkerParser.STATUS_EXIT_CODES | {
        "calculator_unavailable": "ERROR_CALCULATOR_UNAVAILABLE",
        "wrong_arguments": "ERROR_WRONG_ARGUMENTS",
        "property_missing": "ERROR_PROPERTY_MISSING",
        "not_converged": "ERROR_NOT_CONVERGED",
        "calculator_failed": "ERROR_CALCULATOR_FAILED",
        "not_finite": "ERROR_NOT_FINITE",
    }

    def parse_output(self, result: dict[str, Any], folder: Path) -> ExitCode | None:
        """Make ``label``."""
        if result["status"] != "finished" or not set(ATTRIBUTES) <= set(result):
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"unexpected result {sorted(result.items())}")
        shapes = _shapes(len(self.node.inputs.structure.sites))
        try:
            arrays = read_arrays(folder / LABEL_FILE, shapes)
        except ValueError as error:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=error)
        wrong = [f"{key} {arrays[key].shape}" for key, shape in shapes.items() if arrays[key].shape != shape]
        if wrong:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"shapes in {LABEL_FILE}: {', '.join(wrong)}")
        if not all(np.all(np.isfinite(values)) for values in arrays.values()):
            return self.exit_codes.ERROR_NOT_FINITE.format(reason=f"there are such numbers in {LABEL_FILE}")
        label = orm.ArrayData(arrays)
        label.base.attributes.set_many({key: result[key] for key in ATTRIBUTES})
        self.out("label", label)
        return None


def _shapes(n_atoms: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays that the worker writes."""
    label = {"energy": (), "forces": (n_atoms, 3), "stress": (3, 3)}
    return label | {"numbers": (n_atoms,), "positions": (n_atoms, 3), "cell": (3, 3)}

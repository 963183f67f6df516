"""Parser of MaceFineTuneCalculation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_slhmc.calculations.mace_fine_tune import MaceFineTuneCalculation
from aiida_slhmc.calculations.worker_parser import WorkerParser
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.fine_tune_parameters import STATE_FILE

__all__ = ("MaceFineTuneParser",)

# a status that comes with outputs all the same: the curve tells what happened, and the model is the best so far
STATUS_WITH_OUTPUTS = {
    "finished": None,
    "diverged": "ERROR_DIVERGED",
    "no_improvement": "ERROR_NO_IMPROVEMENT",
    "worse_than_parent": "ERROR_WORSE_THAN_PARENT",
    "walltime": "ERROR_WALLTIME",
}


class MaceFineTuneParser(WorkerParser):
    """Makes the model, the training curve and the metrics."""

    CACHE_VERSION = 2
    RESULT_FILE = MaceFineTuneCalculation.RESULT_FILE
    STATUS_EXIT_CODES = {
        key: name for key, name in WorkerParser.STATUS_EXIT_CODES.items() if key not in STATUS_WITH_OUTPUTS
    }

    def parse_output(self, result: dict[str, Any], folder: Path) -> ExitCode | None:
        """Make ``model``, ``curve`` and ``metrics``, and ``training_state`` where the training was cut short."""
        status = result["status"]
        if status not in STATUS_WITH_OUTPUTS:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"unknown status '{status}'")
        try:
            model = MaceModelData(checkpoint=folder / MaceFineTuneCalculation.OUTPUT_FILE)
            curve = result.pop("curve")
            # null stands for a number that was not finite
            arrays = {key: np.array(values, dtype=float) for key, values in curve.items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=str(error))
        self.out("model", model)
        self.out("curve", orm.ArrayData(arrays))
        self.out("metrics", orm.Dict(result))
        state = folder / STATE_FILE
        if status == "walltime" and state.is_file():
            self.out("training_state", orm.SinglefileData(state, filename=state.name))
        exit_code = STATUS_WITH_OUTPUTS[status]
        return getattr(self.exit_codes, exit_code).format(reason=result["message"]) if exit_code else None

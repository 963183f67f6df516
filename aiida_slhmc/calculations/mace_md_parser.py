"""Parser of MaceMdCalculation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase.data import chemical_symbols
from numpy.typing import NDArray

from aiida_slhmc.calculations.trajectory import make_trajectory, summarise
from aiida_slhmc.calculations.worker_parser import WorkerParser, read_arrays
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.worker.md_frames import FRAME_ARRAYS
from aiida_slhmc.worker.md_state import STATE_ARRAYS
from aiida_slhmc.worker.run_md import STATE_FILE, TRAJECTORY_FILE

__all__ = ("MaceMdParser",)

# a status that comes with outputs, and its exit code
STATUS_WITH_OUTPUTS = {"finished": None, "walltime": "ERROR_WALLTIME", "diverged": "ERROR_DIVERGED"}
RESULTS = ("n_steps", "n_equilibration_steps", "n_frames", "steps_per_second", "seconds", "device")

Arrays = dict[str, NDArray[Any]]


class MaceMdParser(WorkerParser):
    """Makes the trajectory, the state and the results; also of a run that was cut short, as far as it came."""

    CACHE_VERSION = 1
    STATUS_EXIT_CODES = {
        key: name for key, name in WorkerParser.STATUS_EXIT_CODES.items() if key not in STATUS_WITH_OUTPUTS
    } | {"missing_element": "ERROR_MISSING_ELEMENT", "unreachable_cell": "ERROR_UNREACHABLE_CELL"}

    def parse_output(self, result: dict[str, Any], folder: Path) -> ExitCode | None:
        """Make ``trajectory``, where there is a frame, ``results`` and, unless the run diverged, ``state``."""
        status = result["status"]
        if status not in STATUS_WITH_OUTPUTS or not set(RESULTS) <= set(result):
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"unexpected result {sorted(result.items())}")
        try:
            frames = read_arrays(folder / TRAJECTORY_FILE, FRAME_ARRAYS)
            state = read_arrays(folder / STATE_FILE, STATE_ARRAYS)
        except ValueError as error:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=error)
        if len(frames["steps"]) != result["n_frames"]:
            reason = f"{TRAJECTORY_FILE} has {len(frames['steps'])} frames of {result['n_frames']}"
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=reason)
        if not all(np.all(np.isfinite(values)) for values in (*frames.values(), *state.values())):
            return self.exit_codes.ERROR_NOT_FINITE.format(reason="there are such numbers in what the worker wrote")
        self._make_outputs(result, frames, state)
        exit_code = STATUS_WITH_OUTPUTS[status]
        return getattr(self.exit_codes, exit_code).format(reason=result["message"]) if exit_code else None

    def _make_outputs(self, result: dict[str, Any], frames: Arrays, state: Arrays) -> None:
        parameters = MdParameters.from_dict(self.given["parameters"].get_dict()).to_dict()
        n_atoms = len(state["numbers"])
        content = {key: result[key] for key in RESULTS} | {"last_step": int(state["step"])}
        self.out("results", orm.Dict(content | summarise(frames, n_atoms)))
        if result["n_frames"]:
            symbols = [chemical_symbols[number] for number in state["numbers"]]
            role = self.given["role"].value if "role" in self.given else None
            self.out("trajectory", make_trajectory(symbols, frames, parameters, role))
        if result["status"] != "diverged":
            node = orm.ArrayData(state)
            node.base.attributes.set_many({"parameters": parameters, "step": int(state["step"])})
            self.out("state", node)

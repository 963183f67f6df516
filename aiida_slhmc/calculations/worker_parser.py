"""What the parsers of the worker's jobs have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_slhmc.worker.job import RESULT_FILE

__all__ = ("WorkerParser",)


class WorkerParser(Parser):
    """Reads the worker's result and turns its status into an exit code; subclasses read the output file."""

    RESULT_FILE = RESULT_FILE
    # status in the result -> name of the exit code
    STATUS_EXIT_CODES = {
        "out_of_memory": "ERROR_OUT_OF_MEMORY",
        "walltime": "ERROR_WALLTIME",
        "invalid_input": "ERROR_INVALID_INPUT",
    }

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Result first, then the output file; what the scheduler said stands if the worker left no result."""
        result = self.read_result()
        if isinstance(result, ExitCode):
            return result
        return self.parse_output(result, Path(kwargs["retrieved_temporary_folder"]))

    def parse_output(self, result: dict[str, Any], folder: Path) -> ExitCode | None:
        """Make the output nodes from *result* and the files in *folder*."""
        raise NotImplementedError

    def read_result(self) -> dict[str, Any] | ExitCode:
        """The worker's result, or the exit code that says why there is none."""
        if self.RESULT_FILE not in self.retrieved.base.repository.list_object_names():
            # the scheduler's own verdict (out of memory, out of wall time) says more than ours
            if self.node.exit_status is not None:
                return ExitCode(self.node.exit_status, self.node.exit_message)
            return self.exit_codes.ERROR_NO_RESULT.format(reason=self._last_error_line())
        try:
            result = json.loads(self.retrieved.base.repository.get_object_content(self.RESULT_FILE, "r"))
            status, message = str(result["status"]), str(result["message"])
        except (ValueError, KeyError, TypeError) as error:
            return self.exit_codes.ERROR_OUTPUT_INCOMPLETE.format(reason=f"{self.RESULT_FILE}: {error!r}")
        if status in self.STATUS_EXIT_CODES:
            return getattr(self.exit_codes, self.STATUS_EXIT_CODES[status]).format(reason=message)
        return dict(result)

    def _last_error_line(self) -> str:
        if "worker.err" not in self.retrieved.base.repository.list_object_names():
            return "it did not start"
        lines = self.retrieved.base.repository.get_object_content("worker.err", "r").strip().splitlines()
        return lines[-1] if lines else "it was stopped from outside"

"""What the parsers of the worker's jobs have in common."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from aiida.common.links import LinkType
from aiida.engine import ExitCode
from aiida.parsers import Parser
from numpy.typing import NDArray

from aiida_slhmc.worker.job import RESULT_FILE

__all__ = ("WorkerParser", "read_arrays")


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The arrays of these names in a file that the worker wrote.

    :raises ValueError: with the reason, where the file or one of them is missing, or broken.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name}: {error}") from error


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

    @cached_property
    def given(self) -> dict[str, Any]:
        """The inputs, looked up once: each access to ``node.inputs`` asks the database for all links."""
        return self.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()

    def _last_error_line(self) -> str:
        if "worker.err" not in self.retrieved.base.repository.list_object_names():
            return "it did not start"
        lines = self.retrieved.base.repository.get_object_content("worker.err", "r").strip().splitlines()
        return lines[-1] if lines else "it was stopped from outside"

"""What every worker does around its own task: read its parameters, mind the time, say how it ended.

A worker always leaves ``result.json`` with a ``status`` and a ``message``, written last, so that a job that was cut
off is told from one that finished.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ("RESULT_FILE", "Deadline", "JobError", "is_out_of_memory", "run_worker", "single_thread")

PARAMETERS_FILE = "parameters.json"
RESULT_FILE = "result.json"


class JobError(Exception):
    """A failure with a name (``status``) that the parser knows."""

    def __init__(self, status: str, message: str) -> None:
        # both go to Exception, so that the error survives the way back from a child process
        super().__init__(status, message)
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return self.message


class Deadline:
    """Raises before the scheduler kills the job, so that the reason is on record."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + 0.95 * seconds

    def check(self) -> None:
        """Raise JobError ``walltime`` when 95 % of the time is used."""
        if self._end is not None and time.monotonic() > self._end:
            raise JobError("walltime", "the job's wall time was nearly used up, and the worker stopped by itself")


def single_thread() -> None:
    """One thread per process, before torch is imported: threads lose on small cells and are not reproducible."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether *error* says that the memory of the machine or the GPU ran out."""
    # torch's own class by its name: this module does not import torch
    if isinstance(error, MemoryError) or any(base.__name__ == "OutOfMemoryError" for base in type(error).__mro__):
        return True
    text = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def run_worker(task: Callable[[dict[str, Any], Path], dict[str, Any]]) -> None:
    """Run *task(parameters, folder)* in the current folder and write its result, or how it failed.

    A failure without a name is not caught: its traceback goes to the job's standard error, and the parser reports that
    there is no result.
    """
    folder = Path.cwd()
    parameters = json.loads((folder / PARAMETERS_FILE).read_text())
    start = time.monotonic()
    try:
        result = {"status": "finished", "message": ""} | task(parameters, folder)
    except JobError as error:
        result = {"status": error.status, "message": str(error)}
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        result = {"status": "out_of_memory", "message": str(error)}
    result["seconds"] = time.monotonic() - start
    temporary = folder / (RESULT_FILE + ".part")
    temporary.write_text(json.dumps(result, indent=1))
    temporary.rename(folder / RESULT_FILE)

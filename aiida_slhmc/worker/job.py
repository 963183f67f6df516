"""What every worker does around its own task: read its parameters, mind the time, say how it ended.

A worker always leaves ``result.json`` with a ``status`` and a ``message``, written last, so that a job that was cut
off is told from one that finished.
"""

from __future__ import annotations

import json
import math
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = (
    "RESULT_FILE",
    "Deadline",
    "JobError",
    "finite",
    "is_out_of_memory",
    "run_task",
    "run_worker",
    "single_thread",
    "write_json",
)

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
    """Run *task(parameters, folder)* in the current folder and write its result, or how it failed."""
    folder = Path.cwd()
    parameters = json.loads((folder / PARAMETERS_FILE).read_text())
    write_json(folder / RESULT_FILE, run_task(lambda: task(parameters, folder)))


def run_task(task: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what *task* returns, or how it failed: ``status``, ``message`` and ``seconds`` are always there.

    A failure without a name is not caught: its traceback goes to the job's standard error, and the parser reports that
    there is no result.
    """
    start = time.monotonic()
    try:
        result = {"status": "finished", "message": ""} | task()
    except JobError as error:
        result = _failure(error.status, error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        result = _failure("out_of_memory", error)
    return result | {"seconds": time.monotonic() - start}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either whole or absent; numbers that are not finite become null."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(finite(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def finite(value: Any) -> Any:
    """Return the same with null in the place of numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _failure(status: str, error: BaseException) -> dict[str, Any]:
    traceback.print_exception(error)
    return {"status": status, "message": str(error) or type(error).__name__}

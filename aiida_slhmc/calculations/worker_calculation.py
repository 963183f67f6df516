"""What the calculation jobs that run this package's worker have in common."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob

import aiida_slhmc
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.worker.job import PARAMETERS_FILE, RESULT_FILE

__all__ = ("MaceCalculation", "WorkerCalculation")

# threads: one, see the worker; malloc: keep freed blocks, which makes MACE on a CPU up to three times faster
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "20000000000",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


class WorkerCalculation(CalcJob):
    """A job that runs ``python -m aiida_slhmc.worker.<module>``.

    The code is a Python interpreter that has what the worker needs. The worker's and the kernel's source files travel
    with the job and stay in its repository: nothing of this package has to be installed there, and the code that ran is
    on record.
    """

    WORKER_MODULE = ""
    # what the interpreter has to have, in the words of the exit code for a worker that did not start
    PACKAGES = ""
    RESULT_FILE = RESULT_FILE
    OUTPUT_FILE = ""

    @classmethod
    def define(cls, spec: Any) -> None:
        """Inputs, options and the exit codes that every worker can end with."""
        super().define(spec)
        spec.inputs["code"].required = True
        spec.inputs["metadata"]["options"]["resources"].default = lambda: {"num_machines": 1, "tot_num_mpiprocs": 1}
        spec.inputs["metadata"]["options"]["environment_variables"].default = lambda: dict(ENVIRONMENT)
        spec.inputs["metadata"]["options"]["withmpi"].default = False
        spec.exit_code(300, "ERROR_NO_RESULT", invalidates_cache=True, message=_NO_RESULT + cls.PACKAGES + ".")
        spec.exit_code(
            301,
            "ERROR_OUTPUT_INCOMPLETE",
            invalidates_cache=True,
            message="An output file is missing or truncated ({reason}). Check the disk quota and launch again.",
        )
        spec.exit_code(
            310,
            "ERROR_OUT_OF_MEMORY",
            invalidates_cache=True,
            message="Out of memory: {reason}. Ask for more memory, or take fewer walkers or a smaller batch per job.",
        )
        spec.exit_code(
            311,
            "ERROR_WALLTIME",
            invalidates_cache=True,
            message="Out of wall time: {reason}. Raise metadata.options.max_wallclock_seconds.",
        )
        spec.exit_code(320, "ERROR_INVALID_INPUT", message="The worker refused its input: {reason}.")

    def parameters(self) -> dict[str, Any]:
        """What the worker reads as ``parameters.json``."""
        raise NotImplementedError

    def write_files(self, folder: Folder) -> list[tuple[str, str, str]]:
        """Write further input files; returns (uuid, file, name in the job's folder) of files to copy from nodes."""
        raise NotImplementedError

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the worker's files and inputs; retrieve its result, its output and what it printed."""
        for path, content in worker_files().items():
            folder.get_subfolder(str(Path(path).parent), create=True)
            folder.create_file_from_filelike(io.BytesIO(content), path, mode="wb")
        walltime = self.inputs.metadata.options.get("max_wallclock_seconds", None)
        text = json.dumps(self.parameters() | {"walltime_seconds": walltime}, indent=1)
        folder.create_file_from_filelike(io.StringIO(text), PARAMETERS_FILE, mode="w")
        code_info = CodeInfo()
        code_info.code_uuid = self.inputs.code.uuid
        code_info.cmdline_params = ["-m", f"aiida_slhmc.worker.{self.WORKER_MODULE}"]
        code_info.stdout_name = "worker.out"
        code_info.stderr_name = "worker.err"
        calc_info = CalcInfo()
        calc_info.codes_info = [code_info]
        calc_info.local_copy_list = self.write_files(folder)
        calc_info.retrieve_list = [self.RESULT_FILE, "worker.out", "worker.err"]
        calc_info.retrieve_temporary_list = [self.OUTPUT_FILE]
        return calc_info


class MaceCalculation(WorkerCalculation):
    """A worker's job that needs a MACE model."""

    PACKAGES = "mace-torch and safetensors"

    @classmethod
    def define(cls, spec: Any) -> None:
        """The model."""
        super().define(spec)
        spec.input("model", valid_type=MaceModelData, help="The MACE checkpoint.")

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Copy the checkpoint, too."""
        calc_info = super().prepare_for_submission(folder)
        model = self.inputs.model
        others = calc_info.local_copy_list or []
        calc_info.local_copy_list = [(model.uuid, model.FILENAME, "model.safetensors"), *others]
        return calc_info


_NO_RESULT = (
    "The worker left no result: {reason}. See `verdi calcjob outputcat PK worker.err`; the code must be a Python"
    " interpreter with "
)


def worker_files() -> dict[str, bytes]:
    """The source files that travel with a job, by path in its folder."""
    package = Path(aiida_slhmc.__file__).parent
    sources = [package / "__init__.py", *sorted(package.glob("kernel/*.py")), *sorted(package.glob("worker/*.py"))]
    return {str(path.relative_to(package.parent)): path.read_bytes() for path in sources}


def missing_elements(model: orm.Data, elements: set[str]) -> str | None:
    """What a port validator says where *model* lacks an element, otherwise None."""
    missing = sorted(elements - set(model.elements))
    if not missing:
        return None
    return f"the model does not know {', '.join(missing)}; it knows {', '.join(model.elements)}"

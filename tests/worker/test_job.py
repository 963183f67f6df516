"""What every worker does around its task: deadline, named failures, the result as the last thing written."""

import json
import os
import pickle
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from aiida_slhmc.worker.job import (
    PARAMETERS_FILE,
    RESULT_FILE,
    Deadline,
    JobError,
    is_out_of_memory,
    run_worker,
    single_thread,
    write_json,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A job's folder, as the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / PARAMETERS_FILE).write_text(json.dumps({"a": 1}))
    return tmp_path


def result(folder):
    return json.loads((folder / RESULT_FILE).read_text())


class TestRunWorker:
    def test_result_of_a_task(self, folder):
        run_worker(lambda parameters, where: {"sum": parameters["a"] + 1, "here": str(where)})
        answer = result(folder)
        assert answer.pop("seconds") >= 0
        assert answer == {"status": "finished", "message": "", "sum": 2, "here": str(folder)}

    def test_named_failure(self, folder):
        def task(parameters, where):
            raise JobError("divergent", "too far")

        run_worker(task)
        assert (result(folder)["status"], result(folder)["message"]) == ("divergent", "too far")

    @pytest.mark.parametrize(
        "error", [MemoryError("64 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
    )
    def test_out_of_memory(self, folder, error):
        def task(parameters, where):
            raise error

        run_worker(task)
        assert (result(folder)["status"], result(folder)["message"]) == ("out_of_memory", str(error))

    @pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("seed"), ZeroDivisionError()])
    def test_failure_without_a_name_leaves_no_result(self, folder, error):
        """Control of the statuses: an ordinary bug must not be called out of memory, or finished."""

        def task(parameters, where):
            raise error

        with pytest.raises(type(error)):
            run_worker(task)
        assert not (folder / RESULT_FILE).exists()

    def test_result_appears_whole(self, folder, monkeypatch):
        """A worker cut off while writing must not leave half a result under its final name."""
        seen = []
        replace = type(folder).replace

        def watched(path, target):
            seen.append((json.loads(path.read_text())["status"], (folder / RESULT_FILE).exists()))
            return replace(path, target)

        monkeypatch.setattr(type(folder), "replace", watched)
        run_worker(lambda parameters, where: {})
        assert seen == [("finished", False)]
        assert sorted(path.name for path in folder.iterdir()) == [PARAMETERS_FILE, RESULT_FILE]


class TestDeadline:
    def test_none_never_passes(self):
        Deadline(None).check()

    def test_passes_at_95_percent(self, monkeypatch):
        now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        deadline = Deadline(100)
        now = 1094.9
        deadline.check()
        now = 1095.1
        with pytest.raises(JobError, match="wall time") as caught:
            deadline.check()
        assert caught.value.status == "walltime"

    def test_travels_to_another_process(self):
        """It is made once per job; the processes that share the walkers get it by pickle."""
        with pytest.raises(JobError):
            pickle.loads(pickle.dumps(Deadline(-1))).check()


def _fail():
    raise JobError("not_finite", "walker 3")


class TestJobError:
    def test_survives_pickling(self):
        error = pickle.loads(pickle.dumps(JobError("walltime", "late")))
        assert (error.status, error.message, str(error)) == ("walltime", "late", "late")

    def test_comes_back_from_a_child_process(self):
        """Would fail for an exception that passes only its message on: the pool could not rebuild it."""
        import multiprocessing

        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            error = pool.submit(_fail).exception()
        assert isinstance(error, JobError)
        assert (error.status, str(error)) == ("not_finite", "walker 3")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
        (OSError("No space left on device"), False),
    ],
)
def test_is_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_single_thread(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    single_thread()
    assert {os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"1"}


def test_numbers_that_json_lacks(tmp_path):
    write_json(tmp_path / "m.json", {"a": float("nan"), "b": [1.0, float("inf")], "c": {"d": "NaN"}})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": None, "b": [1.0, None], "c": {"d": "NaN"}}

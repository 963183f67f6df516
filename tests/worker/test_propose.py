"""The proposal worker with the real foundation model: what it computes, in how many processes, how it fails.

The jobs here run as on a compute node: the worker's files copied beside the input, and an interpreter to which neither
this package nor its editable installation is visible.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from worker_examples import rutile_frames

from aiida_slhmc.calculations.worker_calculation import ENVIRONMENT, worker_files
from aiida_slhmc.kernel.dynamics import draw_momenta, jittered_steps, kinetic_energy
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.worker import checkpoint, propose
from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
from aiida_slhmc.worker.job import Deadline, JobError, run_worker
from aiida_slhmc.worker.potential import MacePotential

FOUNDATION = Path(__file__).parents[2] / "examples" / "foundation" / "foundation.safetensors"
PARAMETERS = {
    "temperature": 300.0,
    "timestep": 1.0,
    "seed": 3,
    "epoch": 1,
    "cycle": 2,
    "n_steps": 4,
    "jitter": 0.5,
    "max_integration_error": 1.0,
    "device": "cpu",
    "walltime_seconds": 600,
}
N_WALKERS = 3
ARRAYS = {"positions", "momenta", "forces", "energies", "kinetic_energies"}


@pytest.fixture(scope="module")
def states():
    """Three walkers of six atoms, each with its own cell."""
    frames = rutile_frames(N_WALKERS, seed=5, amplitude=0.03)
    return propose.States(
        numbers=frames[0].numbers,
        masses=frames[0].get_masses(),
        positions=np.stack([atoms.positions for atoms in frames]),
        cells=np.stack([atoms.cell.array for atoms in frames]),
    )


@pytest.fixture(scope="module")
def foundation():
    with default_dtype(torch.float64):
        return load_checkpoint(FOUNDATION)


def write_inputs(folder, states, **changes):
    np.savez(folder / propose.STATES_FILE, **states._asdict())
    shutil.copy(FOUNDATION, folder / propose.MODEL_FILE)
    (folder / "parameters.json").write_text(json.dumps({**PARAMETERS, **changes}))


def lay_out(folder, states, **changes):
    """A job's folder as MaceProposalCalculation makes it."""
    folder.mkdir()
    for name, content in worker_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_inputs(folder, states, **changes)
    return folder


def run_bare(folder, *command, n_cpus=None):
    """Run Python in *folder* with the installed libraries, but without .pth files: this package is not installed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    libraries = os.pathsep.join(dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib")))
    bind = (lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_cpus])) if n_cpus else None
    return subprocess.run(
        [sys.executable, "-S", "-W", "ignore", *command],
        cwd=folder,
        env={**variables, **ENVIRONMENT, "PYTHONPATH": libraries},
        preexec_fn=bind,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_job(folder, states, n_cpus=None, **changes):
    lay_out(folder, states, **changes)
    done = run_bare(folder, "-m", "aiida_slhmc.worker.propose", n_cpus=n_cpus)
    assert done.returncode == 0, done.stderr
    return folder


def read(folder):
    with np.load(folder / propose.PROPOSALS_FILE) as archive:
        return dict(archive)


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory, states):
    """A finished job, with as many processes as there are cores."""
    return run_job(tmp_path_factory.mktemp("first") / "job", states)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, states):
    """The same job on one core, in one process, and the files of this package that it imported."""
    folder = lay_out(tmp_path_factory.mktemp("alone") / "job", states)
    lines = [
        "import runpy, sys",
        "runpy.run_module('aiida_slhmc.worker.propose', run_name='__main__', alter_sys=True)",
        "files = [module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'aiida_slhmc']",
        "print(*files, sep='\\n')",
        "assert 'aiida' not in sys.modules",
    ]
    done = run_bare(folder, "-c", "\n".join(lines), n_cpus=1)
    assert done.returncode == 0, done.stderr
    assert result(folder)["status"] == "finished"
    return folder, [Path(line).resolve() for line in done.stdout.splitlines() if line.endswith(".py")]


class TestJob:
    """Whole jobs, each in a process of its own."""

    def test_outputs(self, first, states, foundation):
        """Against the definitions: streams of (seed, epoch, cycle, walker), energies of both ends, ΔH_M."""
        arrays, answer = read(first), result(first)
        assert set(arrays) == ARRAYS
        assert (answer["status"], answer["message"], answer["device"]) == ("finished", "", "cpu")
        place = (PARAMETERS["seed"], PARAMETERS["epoch"], PARAMETERS["cycle"])
        assert answer["n_steps"] == jittered_steps(random_stream(*place, Purpose.STEPS), 4, 0.5)
        potential = MacePotential(foundation, states.numbers, states.cells)
        for end, positions in enumerate((states.positions, arrays["positions"])):
            np.testing.assert_allclose(arrays["energies"][:, end], potential(positions)[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(arrays["forces"], potential(arrays["positions"])[1], rtol=0, atol=1e-10)
        np.testing.assert_array_equal(
            arrays["kinetic_energies"][:, 1], kinetic_energy(arrays["momenta"], states.masses)
        )
        for k in range(N_WALKERS):
            momenta = draw_momenta(random_stream(*place, Purpose.MOMENTA, k), states.masses, 300.0)
            assert arrays["kinetic_energies"][k, 0] == kinetic_energy(momenta, states.masses)
        total = arrays["energies"] + arrays["kinetic_energies"]
        np.testing.assert_array_equal(answer["integration_errors"], total[:, 1] - total[:, 0])
        assert 0 < np.abs(answer["integration_errors"]).max() < 0.05
        moved = np.abs(arrays["positions"] - states.positions).max(axis=(1, 2))
        assert np.all((moved > 1e-3) & (moved < 1))

    def test_same_seed_same_bits(self, tmp_path, first, states):
        """The whole file. The control, another key with other numbers, is TestPropose.test_key_of_the_streams."""
        again = run_job(tmp_path / "again", states)
        assert (again / propose.PROPOSALS_FILE).read_bytes() == (first / propose.PROPOSALS_FILE).read_bytes()

    @pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: there is only one way to split")
    def test_bitwise_the_same_in_one_process(self, first, alone):
        """The chain must not depend on how many cores the node has."""
        for name, array in read(first).items():
            np.testing.assert_array_equal(array, read(alone[0])[name])

    def test_copied_files_are_the_ones_that_run(self, alone):
        """Would fail if a file were missing among those that travel, or an installed package came first."""
        folder, files = alone
        assert {file.name for file in files} >= {"dynamics.py", "streams.py", "job.py", "potential.py", "checkpoint.py"}
        assert all(folder.resolve() in file.parents for file in files)

    def test_control_without_the_copied_files_there_is_no_package(self, tmp_path):
        """Otherwise the test above might have run the installed package."""
        done = run_bare(tmp_path, "-c", "import numpy; import aiida_slhmc")
        assert "No module named 'aiida_slhmc'" in done.stderr


class TestPropose:
    """The function that does the work, in this process."""

    def run(self, foundation, states, walkers, **changes):
        potential = MacePotential(foundation, states.numbers, states.cells[walkers])
        potential.warm_up(states.positions[walkers])
        return propose.propose(states, walkers, potential, {**PARAMETERS, **changes}, Deadline(None))

    def test_batch_equals_one_by_one(self, foundation, states):
        """A GPU takes all walkers in one batch, a CPU one by one. Control: with each other's streams they differ."""
        together = self.run(foundation, states, [0, 1, 2])
        alone = [self.run(foundation, states, [k]) for k in range(N_WALKERS)]
        for name in ARRAYS:
            parts = np.concatenate([part[name] for part in alone])
            np.testing.assert_allclose(together[name], parts, rtol=0, atol=1e-10)
            assert np.abs(together[name] - parts[::-1]).max() > 1e-4

    @pytest.mark.parametrize("change", [{"seed": 4}, {"epoch": 2}, {"cycle": 3}])
    def test_key_of_the_streams(self, foundation, states, change):
        one, other = (self.run(foundation, states, [0], **options, jitter=0.0) for options in ({}, change))
        assert np.abs(one["momenta"] - other["momenta"]).max() > 1e-3

    def test_number_of_steps_is_the_cycles(self):
        """One number for all walkers of a cycle, others in other cycles."""
        lengths = [propose.steps_of_cycle({**PARAMETERS, "cycle": cycle}) for cycle in range(40)]
        assert set(lengths) == {2, 3, 4, 5, 6}

    def test_error_shrinks_with_the_timestep(self, foundation, states):
        """Second order over the same duration: a quarter for half the step. Wrong forces or masses would not shrink."""
        errors = []
        for halvings in (1, 2):
            options = {"n_steps": 8 * halvings, "timestep": 2.0 / halvings, "jitter": 0.0}
            arrays = self.run(foundation, states, [0, 1, 2], **options)
            errors.append(np.abs(np.diff(arrays["energies"] + arrays["kinetic_energies"])).max())
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)


def _killed(*_):
    """What the kernel's out-of-memory killer does to a process."""
    os.kill(os.getpid(), signal.SIGKILL)


class TestStatuses:
    """Each failure has a name, written by run_worker, and leaves no proposals behind."""

    @pytest.fixture
    def run(self, tmp_path, monkeypatch, states, foundation):
        """One process, here (torch's autograd does not survive a fork), with the model loaded already."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
        monkeypatch.setattr(checkpoint, "load_checkpoint", lambda path, device: foundation)

        def run(states=states, **changes):
            write_inputs(tmp_path, states, **changes)
            run_worker(propose._run)
            answer = result(tmp_path)
            assert (tmp_path / propose.PROPOSALS_FILE).exists() == (answer["status"] == "finished")
            return answer["status"], answer["message"]

        return run

    def test_control_finished(self, run):
        """The same run with nothing wrong."""
        assert run() == ("finished", "")

    def test_warm_up_comes_before_what_counts(self, run, monkeypatch):
        """Two calls that TorchScript may answer with other last bits, then those of the trajectories and no more."""
        forward = MacePotential.__call__
        calls = []

        def counted(self, positions):
            calls.append(positions.copy())
            return forward(self, positions)

        monkeypatch.setattr(MacePotential, "__call__", counted)
        assert run() == ("finished", "")
        assert len(calls) == 2 + N_WALKERS * (1 + propose.steps_of_cycle(PARAMETERS))
        for warm_up in calls[:2]:
            np.testing.assert_array_equal(warm_up, calls[2])

    def test_missing_element(self, run, states):
        numbers = states.numbers.copy()
        numbers[0] = 1
        status, message = run(states._replace(numbers=numbers))
        assert status == "missing_element"
        assert "[1]" in message

    @pytest.mark.parametrize("spoilt", ["energies", "forces"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, run, monkeypatch, spoilt, value):
        """One number of one walker, after the first steps."""
        forward = MacePotential.__call__
        calls = []

        def broken(self, positions):
            calls.append(0)
            results = dict(zip(("energies", "forces"), forward(self, positions), strict=True))
            if len(calls) > 4:
                results[spoilt] = results[spoilt].copy()
                results[spoilt].flat[0] = value
            return results["energies"], results["forces"]

        monkeypatch.setattr(MacePotential, "__call__", broken)
        status, message = run()
        assert status == "not_finite"
        assert "not finite" in message

    def test_divergent(self, run):
        status, message = run(max_integration_error=1e-9)
        assert status == "divergent"
        assert "above the bound of 1e-09 eV" in message

    def test_walltime(self, run):
        status, message = run(walltime_seconds=1e-6)
        assert status == "walltime"
        assert "wall time" in message

    @pytest.mark.parametrize("error", [MemoryError("no more"), torch.OutOfMemoryError("CUDA out of memory")])
    def test_out_of_memory(self, run, monkeypatch, error):
        def broken(self, positions):
            raise error

        monkeypatch.setattr(MacePotential, "__call__", broken)
        assert run() == ("out_of_memory", str(error))

    def test_killed_process(self, run, monkeypatch):
        """A real pool of two processes whose members are killed."""
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        monkeypatch.setattr(propose, "_batch", _killed)
        status, message = run()
        assert status == "out_of_memory"
        assert "killed" in message

    def test_other_errors_are_not_named(self, run, monkeypatch, tmp_path):
        """Control: a bug must not pass for a lack of memory."""

        def broken(self, positions):
            raise RuntimeError("shapes differ")

        monkeypatch.setattr(MacePotential, "__call__", broken)
        with pytest.raises(RuntimeError, match="shapes differ"):
            run()
        assert not (tmp_path / "result.json").exists()


def test_check_integration():
    """The bound holds for either sign and names the worst walker."""
    energies = np.array([[0.0, 0.1], [0.0, -0.6]])
    results = {"energies": energies, "kinetic_energies": np.array([[1.0, 1.1], [1.0, 0.9]])}
    np.testing.assert_allclose(propose.check_integration(results, 0.8), [0.2, -0.7])
    with pytest.raises(JobError, match=r"walker 1 .* -0.7 eV") as caught:
        propose.check_integration(results, 0.6)
    assert caught.value.status == "divergent"

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
from scipy.linalg import logm
from worker_examples import rutile_frames, strained_frames

from aiida_slhmc.calculations.worker_calculation import ENVIRONMENT, worker_files
from aiida_slhmc.kernel.dynamics import draw_momenta, jittered_steps, kinetic_energy
from aiida_slhmc.kernel.ensembles import Nvt
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.kernel.units import (
    AMU_ANGSTROM2_PER_FS2_IN_EV,
    EV_PER_CUBIC_ANGSTROM_IN_GPA,
    thermal_energy,
)
from aiida_slhmc.worker import checkpoint, divergence, propose
from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
from aiida_slhmc.worker.job import Deadline, JobError, run_worker
from aiida_slhmc.worker.potential import MacePotential

FOUNDATION = Path(__file__).parents[2] / "examples" / "foundation" / "foundation.safetensors"
KERNELS = {
    "nvt": {"temperature": 300.0, "seed": 3, "jitter": 0.5, "device": "cpu"},
    # a light cell, so that a short trajectory moves it, and a pressure that is felt
    "npt": {
        "temperature": 300.0,
        "seed": 3,
        "jitter": 0.5,
        "device": "cpu",
        "ensemble": "npt",
        "pressure": 5.0,
        "cell_degrees_of_freedom": "full",
        "cell_time_constant": 60.0,
    },
}
TRAJECTORY = {"n_steps": 4, "timestep": 1.0}
PLACE = {"epoch": 1, "cycle": 2}
N_WALKERS = 3
ARRAYS = {
    "positions",
    "cells",
    "momenta",
    "cell_momenta",
    "forces",
    "energies",
    "cell_energies",
    "kinetic_energies",
    "diverged",
}
N_CELL = {"nvt": 0, "npt": 6}
ENSEMBLES = ("nvt", "npt")
MODES = ("isotropic", "orthorhombic", "full")


def parameters(ensemble, *, kernel=None, trajectory=None, **changes):
    """parameters.json of a job."""
    kernel, trajectory = KERNELS[ensemble] | (kernel or {}), TRAJECTORY | (trajectory or {})
    return {"kernel": kernel, "trajectory": trajectory, **PLACE, "walltime_seconds": 600, **changes}


def make_states(frames, reference_cell):
    return propose.States(
        numbers=frames[0].numbers,
        masses=frames[0].get_masses(),
        positions=np.stack([atoms.positions for atoms in frames]),
        cells=np.stack([atoms.cell.array for atoms in frames]),
        reference_cell=reference_cell,
    )


@pytest.fixture(scope="module")
def states():
    """Three walkers of six atoms: in NVT each with a cell of its own, in NPT strained from one triclinic cell."""
    rotated = rutile_frames(N_WALKERS, seed=5, amplitude=0.03)
    return {
        "nvt": make_states(rotated, rotated[0].cell.array),
        "npt": make_states(*strained_frames(N_WALKERS, "full", seed=5)),
    }


@pytest.fixture(scope="module")
def foundation():
    with default_dtype(torch.float64):
        return load_checkpoint(FOUNDATION)


def write_inputs(folder, states, content):
    np.savez(folder / propose.STATES_FILE, **states._asdict())
    shutil.copy(FOUNDATION, folder / propose.MODEL_FILE)
    (folder / "parameters.json").write_text(json.dumps(content))


def lay_out(folder, states, content):
    """A job's folder as MaceProposalCalculation makes it."""
    folder.mkdir()
    for name, file in worker_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(file)
    write_inputs(folder, states, content)
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


def run_job(folder, states, ensemble, n_cpus=None):
    lay_out(folder, states[ensemble], parameters(ensemble))
    done = run_bare(folder, "-m", "aiida_slhmc.worker.propose", n_cpus=n_cpus)
    assert done.returncode == 0, done.stderr
    return folder


def read(folder):
    with np.load(folder / propose.PROPOSALS_FILE) as archive:
        return dict(archive)


def divergences(folder):
    """Reasons of the walkers that diverged."""
    return result(folder)["divergences"]


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory, states):
    """Finished jobs, with as many processes as there are cores."""
    return {name: run_job(tmp_path_factory.mktemp("first") / name, states, name) for name in ENSEMBLES}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, states):
    """The NPT job on one core, in one process, and the files of this package that it imported."""
    folder = lay_out(tmp_path_factory.mktemp("alone") / "job", states["npt"], parameters("npt"))
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


def strain_mass(n_atoms):
    """W = 3N k_B T τ² in amu Å²."""
    tau = KERNELS["npt"]["cell_time_constant"]
    return 3 * n_atoms * thermal_energy(300.0) * tau**2 / AMU_ANGSTROM2_PER_FS2_IN_EV


def strain_kinetic_energy(cell_momenta, n_atoms):
    """|π_ε|²/2W in eV."""
    return AMU_ANGSTROM2_PER_FS2_IN_EV * np.sum(cell_momenta**2, axis=-1) / (2 * strain_mass(n_atoms))


def npt_cell_energy(cell, reference_cell, n_atoms):
    """PΩ − k_B T (N + 1) ln(Ω/Ω₀) − k_B T ln J, from SciPy's matrix logarithm."""
    strain = logm(np.linalg.inv(reference_cell) @ cell).real
    values = np.linalg.eigvalsh(strain)
    gaps = [values[i] - values[j] for i, j in ((0, 1), (0, 2), (1, 2))]
    jacobian = sum(np.log(np.sinh(gap) / gap) for gap in gaps)
    volume, reference_volume = (abs(np.linalg.det(h)) for h in (cell, reference_cell))
    pressure = KERNELS["npt"]["pressure"] / EV_PER_CUBIC_ANGSTROM_IN_GPA
    thermal = thermal_energy(KERNELS["npt"]["temperature"])
    return pressure * volume - thermal * ((n_atoms + 1) * np.log(volume / reference_volume) + jacobian)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
class TestJob:
    """Whole jobs, each in a process of its own."""

    def test_outputs(self, first, states, foundation, ensemble):
        """Fails where an array has another shape than documented, or the ends are not what the model says of them."""
        arrays, answer, start = read(first[ensemble]), result(first[ensemble]), states[ensemble]
        assert set(arrays) == ARRAYS | ({"stresses"} if ensemble == "npt" else set())
        assert arrays["cell_momenta"].shape == (N_WALKERS, N_CELL[ensemble])
        assert (answer["status"], answer["message"], answer["device"]) == ("finished", "", "cpu")
        assert answer["divergences"] == {}
        assert arrays["diverged"].tolist() == [False] * N_WALKERS
        potential = MacePotential(foundation, start.numbers, compute_stress=True)
        ends = ((start.positions, start.cells), (arrays["positions"], arrays["cells"]))
        for k, end in enumerate(ends):
            np.testing.assert_allclose(arrays["energies"][:, k], potential(*end).energies, rtol=0, atol=1e-10)
        np.testing.assert_allclose(arrays["forces"], potential(*ends[1]).forces, rtol=0, atol=1e-10)
        if ensemble == "npt":
            np.testing.assert_allclose(arrays["stresses"], potential(*ends[1]).stresses, rtol=0, atol=1e-10)
        moved = np.abs(arrays["positions"] - start.positions).max(axis=(1, 2))
        assert np.all((moved > 1e-3) & (moved < 1))

    def test_momenta_are_those_of_the_streams(self, first, states, ensemble):
        """Streams of (seed, epoch, cycle, walker). Fails where walkers share momenta, or the strain has another W."""
        arrays, masses = read(first[ensemble]), states[ensemble].masses
        masses_of_coordinates = np.repeat(masses, 3)
        place = (3, 1, 2)
        assert result(first[ensemble])["n_steps"] == jittered_steps(random_stream(*place, Purpose.STEPS), 4, 0.5)
        for k in range(N_WALKERS):
            stream = random_stream(*place, Purpose.MOMENTA, k)
            atoms = draw_momenta(stream, masses, 300.0)
            sigma = np.sqrt(strain_mass(len(masses)) * thermal_energy(300.0) / AMU_ANGSTROM2_PER_FS2_IN_EV)
            strain = sigma * stream.standard_normal(N_CELL[ensemble])
            pairs = ((atoms, strain), (arrays["momenta"][k], arrays["cell_momenta"][k]))
            for end, (momenta, cell_momenta) in enumerate(pairs):
                kinetic = kinetic_energy(momenta.ravel(), masses_of_coordinates)
                kinetic += strain_kinetic_energy(cell_momenta, len(masses))
                assert arrays["kinetic_energies"][k, end] == pytest.approx(kinetic, rel=1e-12)

    def test_integration_errors(self, first, ensemble):
        """Fails where a term of H is missing from the reported error: without the cell's, it is no error any more."""
        arrays, answer = read(first[ensemble]), result(first[ensemble])
        parts = {name: np.diff(arrays[name])[:, 0] for name in ("energies", "cell_energies", "kinetic_energies")}
        np.testing.assert_allclose(answer["integration_errors"], sum(parts.values()), rtol=0, atol=1e-12)
        assert 0 < np.abs(answer["integration_errors"]).max() < 0.05
        if ensemble == "npt":
            assert np.abs(parts["cell_energies"]).max() > 0.05

    def test_cells(self, first, states, ensemble):
        """NVT leaves the cells alone to the last bit; in NPT they move, and Φ − V is that of an independent formula."""
        arrays, start = read(first[ensemble]), states[ensemble]
        if ensemble == "nvt":
            np.testing.assert_array_equal(arrays["cells"], start.cells)
            np.testing.assert_array_equal(arrays["cell_energies"], 0.0)
            return
        moved = np.abs(arrays["cells"] - start.cells).max(axis=(1, 2))
        assert np.all((moved > 1e-3) & (moved < 1))
        for k in range(N_WALKERS):
            for end, cell in enumerate((start.cells[k], arrays["cells"][k])):
                expected = npt_cell_energy(cell, start.reference_cell, len(start.numbers))
                assert arrays["cell_energies"][k, end] == pytest.approx(expected, abs=1e-10)


class TestAgain:
    """Jobs run a second time, NPT's on one core."""

    def test_same_seed_same_bits(self, tmp_path, first, states):
        """The whole file. The control, another key with other numbers, is TestPropose.test_key_of_the_streams."""
        again = run_job(tmp_path / "again", states, "nvt")
        assert (again / propose.PROPOSALS_FILE).read_bytes() == (first["nvt"] / propose.PROPOSALS_FILE).read_bytes()

    def test_bitwise_the_same_in_one_process(self, first, alone):
        """The chain must not depend on how many cores the node has; with one core this is the same job again."""
        for name, array in read(first["npt"]).items():
            np.testing.assert_array_equal(array, read(alone[0])[name])

    def test_copied_files_are_the_ones_that_run(self, alone):
        """Would fail if a file were missing among those that travel, or an installed package came first."""
        folder, files = alone
        assert {file.name for file in files} >= {"dynamics.py", "ensembles.py", "strain.py", "potential.py"}
        assert all(folder.resolve() in file.parents for file in files)

    def test_control_without_the_copied_files_there_is_no_package(self, tmp_path):
        """Otherwise the test above might have run the installed package."""
        done = run_bare(tmp_path, "-c", "import numpy; import aiida_slhmc")
        assert "No module named 'aiida_slhmc'" in done.stderr


def changes_of(results):
    """ΔH_M per walker, and the same without what the cell adds to the energy."""
    total = results["energies"] + results["kinetic_energies"]
    return np.diff(total + results["cell_energies"])[:, 0], np.diff(total)[:, 0]


class TestPropose:
    """The function that does the work, in this process."""

    def run(self, foundation, states, walkers, ensemble, **changes):
        potential = MacePotential(foundation, states.numbers, compute_stress=ensemble == "npt")
        potential.warm_up(states.positions[walkers], states.cells[walkers])
        plan = propose.Plan.from_dict(parameters(ensemble, **changes))
        return propose.propose(states, walkers, potential, plan, Deadline(None))

    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    def test_batch_equals_one_by_one(self, foundation, states, ensemble):
        """A GPU takes all walkers in one batch, a CPU one by one. Control: with each other's streams they differ."""
        together = self.run(foundation, states[ensemble], [0, 1, 2], ensemble)
        alone = [self.run(foundation, states[ensemble], [k], ensemble) for k in range(N_WALKERS)]
        constant = {"cell_energies", "cell_momenta"} if ensemble == "nvt" else set()
        for name in together:
            parts = np.concatenate([part[name] for part in alone])
            # momenta of the cell are of another size than everything else
            np.testing.assert_allclose(together[name], parts, rtol=1e-11, atol=1e-10)
            if name not in constant:
                assert np.abs(together[name] - parts[::-1]).max() > 1e-4

    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    @pytest.mark.parametrize("change", [{"kernel": {"seed": 4}}, {"epoch": 2}, {"cycle": 3}])
    def test_key_of_the_streams(self, foundation, states, change, ensemble):
        """Fails where two cycles of a run would get the same momenta, of the atoms or of the cell."""
        plans = [propose.Plan.from_dict(parameters(ensemble, **options)) for options in ({}, change)]
        one, other = (plan.stream(Purpose.MOMENTA).standard_normal(24) for plan in plans)
        assert np.abs(one - other).min() > 1e-6
        start, length = states[ensemble], {"trajectory": {"n_steps": 1}}
        results = [self.run(foundation, start, [0], ensemble, **length, **key) for key in ({}, change)]
        for name in ("momenta", "cell_momenta")[: 1 + (ensemble == "npt")]:
            assert np.abs(results[0][name] - results[1][name]).max() > 1e-3

    def test_number_of_steps_is_the_cycles(self):
        """One number for all walkers of a cycle, others in other cycles."""
        lengths = [propose.Plan.from_dict(parameters("nvt", cycle=cycle)).n_steps() for cycle in range(40)]
        assert set(lengths) == {2, 3, 4, 5, 6}

    @pytest.mark.parametrize("mode", [None, *MODES])
    def test_error_shrinks_with_the_timestep(self, foundation, states, mode):
        """Second order over the same duration: a quarter for half the step.

        Wrong forces, stresses or masses would not shrink; nor does H without what the cell adds to it (the control).
        """
        ensemble, kernel = (
            ("npt", {"cell_degrees_of_freedom": mode, "cell_time_constant": 150.0}) if mode else ("nvt", {})
        )
        start = make_states(*strained_frames(N_WALKERS, mode, seed=5)) if mode else states["nvt"]
        errors, without_cell = [], []
        for halvings in (1, 2):
            trajectory = {"n_steps": 8 * halvings, "timestep": 2.0 / halvings}
            changes = {"kernel": {"jitter": 0.0, **kernel}, "trajectory": trajectory}
            results = self.run(foundation, start, [0, 1, 2], ensemble, **changes)
            assert np.abs(results["cells"] - start.cells).max() > 1e-3 or not mode
            for values, change in zip((errors, without_cell), changes_of(results), strict=True):
                values.append(np.linalg.norm(change))
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
        if mode:
            assert without_cell[0] / without_cell[1] < 2

    @pytest.mark.parametrize("mode", MODES)
    def test_cells_move_as_they_are_let(self, foundation, mode):
        """Fails where a cell is sheared that must not be, or a strain that is let does not move."""
        start = make_states(*strained_frames(1, mode, seed=5))
        results = self.run(foundation, start, [0], "npt", kernel={"cell_degrees_of_freedom": mode})
        strain = logm(np.linalg.inv(start.reference_cell) @ results["cells"][0]).real
        diagonal, shear = np.diag(strain), strain[[1, 0, 0], [2, 2, 1]]
        np.testing.assert_allclose(strain, strain.T, rtol=0, atol=1e-10)
        assert (np.ptp(diagonal) < 1e-10) == (mode == "isotropic")
        assert np.all(np.abs(shear) > 1e-6) if mode == "full" else np.all(np.abs(shear) < 1e-10)

    def test_pressure_squeezes(self, foundation, states):
        """Fails where the pressure has the other sign: the same momenta, and a smaller cell at a higher pressure."""
        volumes = []
        for pressure in (0.0, 50.0):
            results = self.run(foundation, states["npt"], [0, 1, 2], "npt", kernel={"pressure": pressure})
            volumes.append(np.linalg.det(results["cells"]))
        assert np.all(volumes[1] < volumes[0])


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

        def run(ensemble="nvt", spoilt_states=None, **changes):
            write_inputs(tmp_path, spoilt_states or states[ensemble], parameters(ensemble, **changes))
            run_worker(propose._run)
            answer = result(tmp_path)
            assert (tmp_path / propose.PROPOSALS_FILE).exists() == (answer["status"] == "finished")
            return answer["status"], answer["message"]

        return run

    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    def test_control_finished(self, run, ensemble):
        """The same run with nothing wrong."""
        assert run(ensemble) == ("finished", "")

    def test_warm_up_comes_before_what_counts(self, run, monkeypatch):
        """Two calls that TorchScript may answer with other last bits, then those of the trajectories and no more."""
        forward = MacePotential.__call__
        calls = []

        def counted(self, positions, cells):
            calls.append(positions.copy())
            return forward(self, positions, cells)

        monkeypatch.setattr(MacePotential, "__call__", counted)
        assert run() == ("finished", "")
        n_steps = propose.Plan.from_dict(parameters("nvt")).n_steps()
        assert len(calls) == 2 + N_WALKERS * (1 + n_steps)
        for warm_up in calls[:2]:
            np.testing.assert_array_equal(warm_up, calls[2])

    def test_missing_element(self, run, states):
        numbers = states["nvt"].numbers.copy()
        numbers[0] = 1
        status, message = run(spoilt_states=states["nvt"]._replace(numbers=numbers))
        assert status == "missing_element"
        assert "[1]" in message

    @pytest.mark.parametrize("spoilt", ["energies", "forces", "stresses"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, run, monkeypatch, tmp_path, spoilt, value):
        """One number of every walker, after the first steps."""
        forward = MacePotential.__call__
        calls = []

        def broken(self, positions, cells):
            calls.append(0)
            output = forward(self, positions, cells)
            if len(calls) > 3:
                values = getattr(output, spoilt).copy()
                values.flat[0] = value
                output = output._replace(**{spoilt: values})
            return output

        monkeypatch.setattr(MacePotential, "__call__", broken)
        assert run("npt") == ("finished", "")
        assert "not finite" in divergences(tmp_path)["walker_0"]

    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    def test_divergent(self, run, tmp_path, ensemble):
        """Also where all walkers diverge: each is refused on its own."""
        assert run(ensemble, kernel={"max_integration_error": 1e-9}) == ("finished", "")
        reasons = divergences(tmp_path)
        assert set(reasons) == {f"walker_{k}" for k in range(N_WALKERS)}
        assert all("beyond the bound of 1e-09 eV" in reason for reason in reasons.values())

    @pytest.mark.parametrize("time_constant", [5.0, 1.0, 0.1])
    def test_divergent_cell(self, run, tmp_path, time_constant):
        """A cell that collapses or explodes. Fails where neighbour list or algebra dies of it without a name."""
        changes = {"kernel": {"cell_time_constant": time_constant}, "trajectory": {"n_steps": 20, "timestep": 2.0}}
        assert run("npt", **changes) == ("finished", "")
        reasons = divergences(tmp_path)
        assert set(reasons) == {f"walker_{k}" for k in range(N_WALKERS)}
        assert "larger cell_time_constant" in reasons["walker_0"]

    def test_unreachable_cell(self, run, states):
        """A cell that is rotated, and one with a shear that is not let. Control: in NVT both do."""
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        rotation *= np.linalg.det(rotation)
        start = states["npt"]
        rotated = start._replace(positions=start.positions @ rotation, cells=start.cells @ rotation)
        status, message = run("npt", rotated)
        assert status == "unreachable_cell"
        assert "rotated with respect to the reference cell" in message
        status, message = run("npt", kernel={"cell_degrees_of_freedom": "orthorhombic"})
        assert status == "unreachable_cell"
        assert "that the cell degrees of freedom do not allow" in message
        assert run("nvt", rotated) == ("finished", "")

    def test_walltime(self, run):
        status, message = run(walltime_seconds=1e-6)
        assert status == "walltime"
        assert "wall time" in message

    @pytest.mark.parametrize("error", [MemoryError("no more"), torch.OutOfMemoryError("CUDA out of memory")])
    def test_out_of_memory(self, run, monkeypatch, error):
        def broken(self, positions, cells):
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

        def broken(self, positions, cells):
            raise RuntimeError("shapes differ")

        monkeypatch.setattr(MacePotential, "__call__", broken)
        with pytest.raises(RuntimeError, match="shapes differ"):
            run()
        assert not (tmp_path / "result.json").exists()


class TestDivergence:
    """A walker that diverges is flagged and the others are what they would have been without it."""

    def propose(self, foundation, states, ensemble="nvt", walkers=(0, 1, 2), spoil=None, **changes):
        """All in one batch; *spoil* changes the model's output from the positions and cells it was asked at."""
        potential = MacePotential(foundation, states.numbers, compute_stress=ensemble == "npt")
        potential.warm_up(states.positions[list(walkers)], states.cells[list(walkers)])

        def model(positions, cells):
            output = potential(positions, cells)
            return output if spoil is None else spoil(output, positions, cells)

        plan = propose.Plan.from_dict(parameters(ensemble, **changes))
        return propose.propose_each(states, walkers, model, plan, Deadline(None))

    def check(self, proposed, clean, states, guilty):
        """Only *guilty* is flagged, its rows are its start and zeros; the others' numbers are those of *clean*."""
        arrays = proposed.arrays
        assert arrays["diverged"].tolist() == [k == guilty for k in range(N_WALKERS)]
        assert set(proposed.failures) == {guilty}
        others = [k for k in range(N_WALKERS) if k != guilty]
        for name, values in arrays.items():
            np.testing.assert_allclose(values[others], clean.arrays[name][others], rtol=1e-11, atol=1e-10)
            assert np.all(np.isfinite(values))
            if name not in ("positions", "cells", "diverged"):
                np.testing.assert_array_equal(values[guilty], 0)
        np.testing.assert_array_equal(arrays["positions"][guilty], states.positions[guilty])
        np.testing.assert_array_equal(arrays["cells"][guilty], states.cells[guilty])

    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    def test_bound_on_the_integration_error(self, foundation, states, ensemble):
        """Between the largest error and the next: one is refused. Fails where the sign matters, or all are refused."""
        start = states[ensemble]
        clean = self.propose(foundation, start, ensemble)
        assert clean.failures == {}
        errors = np.abs(divergence.integration_errors(clean.arrays))
        bound = float(np.sort(errors)[-2:].mean())
        proposed = self.propose(foundation, start, ensemble, kernel={"max_integration_error": bound})
        self.check(proposed, clean, start, int(errors.argmax()))
        assert proposed.failures[int(errors.argmax())].status == "divergent"

    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    def test_one_walker_not_finite(self, foundation, states, ensemble):
        """In a batch, as on a GPU, the fault is somewhere in it; one by one it is found. Walker 1 is spoilt."""
        start = states[ensemble]
        clean = self.propose(foundation, start, ensemble)
        calls = []

        def spoil(output, positions, cells):
            """Only walker 1 comes near its own start."""
            calls.append(len(positions))
            forces = output.forces.copy()
            forces[np.abs(positions - start.positions[1]).max(axis=(1, 2)) < 0.02] = np.nan
            return output._replace(forces=forces)

        proposed = self.propose(foundation, start, ensemble, spoil=spoil)
        self.check(proposed, clean, start, 1)
        assert proposed.failures[1].status == "not_finite"
        assert set(calls) == {3, 1}, "in one batch first"

    def test_one_cell_too_far(self, foundation, states, monkeypatch):
        """Measured from the reference cell. Fails where it is the start's: from there, all three are near enough."""
        start, heavy = states["npt"], {"cell_time_constant": 400.0}
        scale = np.array([1.0, 1.15, 1.0])[:, None, None]
        start = start._replace(positions=start.positions * scale, cells=start.cells * scale)
        clean = self.propose(foundation, start, "npt", kernel=heavy)
        assert clean.failures == {}
        monkeypatch.setattr(divergence, "MAX_STRETCH", 1.1)
        from_start = np.linalg.svd(np.linalg.solve(start.cells, clean.arrays["cells"]), compute_uv=False)
        assert 1 / 1.1 < from_start.min() < from_start.max() < 1.1
        proposed = self.propose(foundation, start, "npt", kernel=heavy)
        self.check(proposed, clean, start, 1)
        assert "from the reference cell" in str(proposed.failures[1])

    def test_what_is_not_a_trajectorys_fault_is_raised(self, foundation, states):
        """The control: lack of time and a cell of another run are not rejections."""
        potential = MacePotential(foundation, states["nvt"].numbers, compute_stress=False)
        plan = propose.Plan.from_dict(parameters("nvt"))
        with pytest.raises(JobError) as caught:
            propose.propose_each(states["nvt"], [0, 1], potential, plan, Deadline(-1.0))
        assert caught.value.status == "walltime"
        with pytest.raises(JobError) as caught:
            self.propose(foundation, states["npt"], "npt", kernel={"cell_degrees_of_freedom": "orthorhombic"})
        assert caught.value.status == "unreachable_cell"

    def test_reversed_trajectory_is_refused_too(self, foundation, states, monkeypatch):
        """From the end with flipped momenta: ΔH has the other sign and the same size. What detailed balance asks for.

        The control is a bound without the absolute value, which would refuse one of the two.
        """
        start, trajectory = states["nvt"], {"n_steps": 6, "timestep": 3.0}
        clean = self.propose(foundation, start, trajectory=trajectory)
        back = start._replace(positions=clean.arrays["positions"])

        class Flipped(Nvt):
            def draw_momenta(self, generator):
                return flipped.pop(0)

        flipped = list(-clean.arrays["momenta"].reshape(N_WALKERS, -1))
        monkeypatch.setattr(propose, "make_ensemble", lambda kernel, masses, cells, _: Flipped(masses, 300.0, cells))
        returned = self.propose(foundation, back, trajectory=trajectory)
        np.testing.assert_allclose(returned.arrays["positions"], start.positions, rtol=0, atol=1e-9)
        errors = [divergence.integration_errors(each.arrays) for each in (clean, returned)]
        np.testing.assert_allclose(errors[0], -errors[1], rtol=0, atol=1e-9)
        bound = float(np.sort(np.abs(errors[0]))[-2:].mean())
        refusals = [set(divergence.over_the_bound(each, bound)) for each in errors]
        assert refusals[0] == refusals[1] != set()
        one_sided = [set(np.flatnonzero(each > bound)) for each in errors]
        assert one_sided[0] != one_sided[1]


@pytest.mark.parametrize("n_processes", [1, 2])
def test_job_with_one_divergence(tmp_path, states, first, n_processes):
    """The whole job, in one process and in two: flags and messages come home in the walkers' order."""
    errors = np.abs(result(first["nvt"])["integration_errors"])
    bound, guilty = float(np.sort(errors)[-2:].mean()), int(errors.argmax())
    content = parameters("nvt", kernel={"max_integration_error": bound})
    folder = lay_out(tmp_path / "job", states["nvt"], content)
    done = run_bare(folder, "-m", "aiida_slhmc.worker.propose", n_cpus=n_processes)
    assert done.returncode == 0, done.stderr
    answer, arrays = result(folder), read(folder)
    assert answer["status"] == "finished"
    assert list(answer["divergences"]) == [f"walker_{guilty}"]
    assert "beyond the bound" in answer["divergences"][f"walker_{guilty}"]
    assert arrays["diverged"].tolist() == [k == guilty for k in range(N_WALKERS)]
    for k in range(N_WALKERS):
        if k == guilty:
            assert answer["integration_errors"][k] is None
            np.testing.assert_array_equal(arrays["positions"][k], states["nvt"].positions[k])
        else:
            np.testing.assert_array_equal(arrays["positions"][k], read(first["nvt"])["positions"][k])


@pytest.mark.parametrize(
    ("stretches", "is_far"),
    [
        ((1.0, 1.0, 1.0), False),
        ((0.2, 1.0, 3.0), False),
        ((0.25, 0.25, 0.25), True),
        ((31.0, 1.0, 1.0), True),
        ((0.03, 30.0, 1.0), True),
        ((np.nan, 1.0, 1.0), True),
    ],
    ids=["reference", "squeezed one way", "a sixty-fourth of the volume", "torn", "flat", "not a number"],
)
def test_cells_that_no_trajectory_can_mean(stretches, is_far):
    """Fails where a soft cell is cut out of its ensemble, or a collapse is only found out by a full memory."""
    reference = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.5, 0.3, 6.0]])
    cells = np.stack([reference, reference @ np.diag(stretches)])
    if not is_far:
        divergence.check_stretch(cells, reference)
        return
    with pytest.raises(JobError, match="from the reference cell") as caught:
        divergence.check_stretch(cells, reference)
    assert caught.value.status == "divergent"


def test_over_the_bound():
    """The bound holds for either sign, and what is not finite is over it; the cell's energy counts."""
    results = {
        "energies": np.array([[0.0, 0.1], [0.0, -0.6], [0.0, np.nan]]),
        "cell_energies": np.array([[5.0, 5.0], [5.0, 4.9], [0.0, 0.0]]),
        "kinetic_energies": np.array([[1.0, 1.1], [1.0, 1.0], [0.0, 0.0]]),
    }
    errors = divergence.integration_errors(results)
    np.testing.assert_allclose(errors, [0.2, -0.7, np.nan])
    assert set(divergence.over_the_bound(errors, 0.8)) == {2}
    found = divergence.over_the_bound(errors, 0.6)
    assert set(found) == {1, 2}
    assert "-0.7 eV, beyond the bound of 0.6 eV" in str(found[1])
    assert found[1].status == "divergent"

"""The worker of molecular dynamics with the real foundation model: frames, exact restarts, how it ends early.

The jobs run in this process; one runs as on a compute node, with nothing but the files that travel with it.
"""

import json
import shutil
import time

import numpy as np
import pytest
import torch
from test_propose import FOUNDATION, lay_out, run_bare
from worker_examples import rutile_frames, strained_frames

from aiida_slhmc.kernel.ensembles import ModelOutput, make_ensemble
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.kernel.nose_hoover import NoseHoover
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.kernel.units import BOLTZMANN_EV_PER_K
from aiida_slhmc.worker import checkpoint, run_md
from aiida_slhmc.worker.checkpoint import default_dtype, load_checkpoint
from aiida_slhmc.worker.job import Deadline, JobError, run_worker
from aiida_slhmc.worker.md_frames import FRAME_ARRAYS, Frame, Progress
from aiida_slhmc.worker.md_state import STATE_ARRAYS
from aiida_slhmc.worker.potential import MacePotential

LEAST = {"n_steps": 12, "temperature": 300.0, "seed": 3, "sampling_interval": 4, "device": "cpu"}
OPTIONS = {
    "nvt": LEAST,
    # a light cell, so that a short run moves it
    "npt": LEAST | {"ensemble": "npt", "pressure": 5.0, "cell_degrees_of_freedom": "full", "cell_time_constant": 60.0},
}
ENSEMBLES = ("nvt", "npt")


def start_of(atoms, reference_cell):
    return {
        "numbers": atoms.numbers,
        "masses": atoms.get_masses(),
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "reference_cell": reference_cell,
    }


@pytest.fixture(scope="module")
def starts():
    """Six atoms: in NPT in a cell strained from a triclinic one."""
    (strained,), reference = strained_frames(1, "full", seed=5)
    atoms = rutile_frames(1, seed=5, amplitude=0.03)[0]
    return {"nvt": start_of(atoms, atoms.cell.array), "npt": start_of(strained, reference)}


@pytest.fixture(scope="module")
def foundation():
    with default_dtype(torch.float64):
        return load_checkpoint(FOUNDATION)


@pytest.fixture
def job(tmp_path, monkeypatch, foundation, starts):
    """Function: run a job in a new folder; returns its result, trajectory and state. The model is loaded already."""
    monkeypatch.setattr(checkpoint, "load_checkpoint", lambda path, device: foundation)

    def run(name, ensemble="nvt", start=None, walltime_seconds=None, **changes):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        content = {"md": OPTIONS[ensemble] | changes, "walltime_seconds": walltime_seconds}
        (folder / "parameters.json").write_text(json.dumps(content))
        np.savez(folder / "start.npz", **(starts[ensemble] if start is None else start))
        run_worker(run_md._run)
        return read(folder)

    return run


def read(folder):
    """Result, trajectory and state; None where there is none."""
    arrays = []
    for name in ("trajectory.npz", "state.npz"):
        if not (folder / name).exists():
            arrays.append(None)
            continue
        with np.load(folder / name) as archive:
            arrays.append(dict(archive))
    return json.loads((folder / "result.json").read_text()), *arrays


def assert_same(first, second):
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
class TestRun:
    def test_outputs(self, job, starts, foundation, ensemble):
        """Fails where an array has another shape, or a frame is not what the model says of it."""
        result, trajectory, state = job("a", ensemble)
        assert (result["status"], result["message"], result["device"]) == ("finished", "", "cpu")
        assert (result["n_steps"], result["n_equilibration_steps"], result["n_frames"]) == (12, 0, 3)
        assert result["steps_per_second"] > 0
        assert set(trajectory) == set(FRAME_ARRAYS)
        assert set(state) == set(STATE_ARRAYS)
        assert trajectory["steps"].tolist() == [4, 8, 12]
        assert trajectory["times"].tolist() == [4.0, 8.0, 12.0]
        assert trajectory["positions"].shape == (3, 6, 3)
        assert trajectory["cells"].shape == (3, 3, 3)
        potential = MacePotential(foundation, starts[ensemble]["numbers"], compute_stress=False)
        energies = potential(trajectory["positions"], trajectory["cells"]).energies
        np.testing.assert_allclose(trajectory["potential_energies"], energies, rtol=0, atol=1e-10)
        np.testing.assert_allclose(trajectory["volumes"], np.linalg.det(trajectory["cells"]), rtol=1e-13)
        moved = np.abs(trajectory["positions"] - starts[ensemble]["positions"]).max(axis=(1, 2))
        assert np.all((moved > 1e-3) & (moved < 1))
        change = np.abs(trajectory["cells"] - starts[ensemble]["cell"]).max()
        assert change == 0 if ensemble == "nvt" else 1e-3 < change < 1
        np.testing.assert_array_equal(state["positions"], trajectory["positions"][-1])
        np.testing.assert_array_equal(state["cell"], trajectory["cells"][-1])
        assert state["step"] == 12

    def test_temperature_is_of_all_3n(self, job, ensemble):
        """From the momenta in the state. Control: 3N − 3 is another number."""
        _, trajectory, state = job("a", ensemble)
        momenta = state["momenta"][: 3 * len(state["numbers"])].reshape(-1, 3)
        # 1 amu Å²/fs² is 103.6426966 eV
        twice = 103.6426966 * np.sum(momenta**2 / state["masses"][:, None])
        assert trajectory["temperatures"][-1] == pytest.approx(twice / (18 * BOLTZMANN_EV_PER_K), rel=1e-8)
        assert trajectory["temperatures"][-1] != pytest.approx(twice / (15 * BOLTZMANN_EV_PER_K), rel=1e-2)

    def test_restart_is_exact(self, job, ensemble):
        """2n steps, and n and n through the state: bit for bit. Fails where anything of the dynamics is not kept."""
        _, whole, last = job("whole", ensemble, n_steps=24)
        _, first, between = job("first", ensemble)
        _, second, end = job("second", ensemble, start=between, seed=99)
        assert second["steps"].tolist() == [16, 20, 24]
        assert_same(whole, {name: np.concatenate([first[name], second[name]]) for name in first})
        assert_same(last, end)

    def test_restart_off_the_beat(self, job, ensemble):
        """Cut between two frames: none doubled, none missing. Control: without the chains it is another run."""
        _, whole, _ = job("whole", ensemble, n_steps=24)
        _, first, between = job("first", ensemble, n_steps=10)
        _, second, _ = job("second", ensemble, start=between, n_steps=14)
        assert first["steps"].tolist() == [4, 8]
        assert_same(whole, {name: np.concatenate([first[name], second[name]]) for name in first})
        spoilt = between | {"chain_velocities": np.zeros_like(between["chain_velocities"])}
        _, other, _ = job("other", ensemble, start=spoilt, n_steps=14)
        assert np.abs(other["positions"][-1] - whole["positions"][-1]).max() > 1e-6

    def test_equilibration_is_not_recorded(self, job, ensemble):
        """Its steps come before step 0; the run is the one without, from 7 steps later."""
        result, trajectory, state = job("a", ensemble, n_equilibration_steps=7)
        assert (result["n_steps"], result["n_equilibration_steps"]) == (12, 7)
        assert trajectory["steps"].tolist() == [4, 8, 12]
        _, plain, end = job("b", ensemble, n_steps=19, sampling_interval=1)
        np.testing.assert_array_equal(trajectory["positions"], plain["positions"][[10, 14, 18]])
        assert state["step"] == 12
        assert end["step"] == 19

    def test_conserved_quantity(self, job, ensemble):
        """A second-order error: a quarter for half the step. Fails where a force or an energy belongs to another Φ."""
        spreads = []
        for n in (1, 2):
            changes = {"n_steps": 20 * n, "timestep": 2.0 / n, "sampling_interval": n, "cell_time_constant": 150.0}
            changes = changes if ensemble == "npt" else {k: v for k, v in changes.items() if k != "cell_time_constant"}
            _, trajectory, _ = job(f"n{n}", ensemble, **changes)
            spreads.append(np.std(trajectory["conserved_energies"]))
            if n == 1:
                assert np.std(trajectory["potential_energies"]) > 10 * spreads[0]
        assert spreads[0] / spreads[1] == pytest.approx(4, rel=0.25)

    def test_initial_momenta_come_from_the_seed(self, job, starts, ensemble):
        """Of the kernel's own functions and stream; another seed is another run."""
        _, one, _ = job("a", ensemble, n_steps=1, sampling_interval=1, timestep=1e-9)
        options = MdParameters.from_dict(OPTIONS[ensemble])
        start = starts[ensemble]
        cell = start["cell"][None]
        ensemble_ = make_ensemble(options.kernel(), start["masses"], cell, start["reference_cell"])
        thermostat = NoseHoover(ensemble_.masses, temperature=300.0, time_constant=30.0)
        momenta = thermostat.draw_momenta(random_stream(3, 0, 0, Purpose.MOMENTA))[:18].reshape(-1, 3)
        twice = 103.6426966 * np.sum(momenta**2 / start["masses"][:, None])
        assert one["temperatures"][0] == pytest.approx(twice / (18 * BOLTZMANN_EV_PER_K), rel=1e-6)
        _, other, _ = job("b", ensemble, n_steps=1, sampling_interval=1, timestep=1e-9, seed=4)
        assert abs(other["temperatures"][0] - one["temperatures"][0]) > 1

    def test_no_frame(self, job, ensemble):
        """Fewer steps than the interval: empty arrays of the right shapes."""
        result, trajectory, state = job("a", ensemble, n_steps=3)
        assert result["n_frames"] == 0
        assert trajectory["positions"].shape == (0, 6, 3)
        assert trajectory["steps"].dtype == np.int64
        assert state["step"] == 3


def test_as_on_a_compute_node(tmp_path, starts, job):
    """A whole job with the copied files only: it finishes, does not touch AiiDA, and gives the same numbers."""
    folder = tmp_path / "node"
    shutil.copytree(_folder_of_sources(tmp_path), folder)
    content = {"md": OPTIONS["npt"], "walltime_seconds": 600}
    (folder / "parameters.json").write_text(json.dumps(content))
    np.savez(folder / "start.npz", **starts["npt"])
    lines = [
        "import runpy, sys",
        "runpy.run_module('aiida_slhmc.worker.run_md', run_name='__main__', alter_sys=True)",
        "assert 'aiida' not in sys.modules",
    ]
    done = run_bare(folder, "-c", "\n".join(lines), n_cpus=1)
    assert done.returncode == 0, done.stderr
    result, trajectory, _ = read(folder)
    assert result["status"] == "finished"
    assert_same(job("here", "npt")[1], trajectory)
    printed = [line for line in done.stdout.splitlines() if line.startswith("step ")]
    assert len(printed) == 12
    assert printed[-1].startswith("step 12/12 (100 %)  12.0 fs  T ")


def _folder_of_sources(tmp_path):
    """The files that travel, and the model."""
    from test_propose import make_states

    frames = rutile_frames(1)
    folder = lay_out(tmp_path / "sources", make_states(frames, frames[0].cell.array), {})
    (folder / "states.npz").unlink()
    return folder


def counted_clock(monkeypatch, n_steps):
    """The wall time is over after so many steps."""
    calls = []

    def check(self):
        calls.append(0)
        if len(calls) > n_steps:
            raise JobError("walltime", "the time was up")

    monkeypatch.setattr(Deadline, "check", check)
    return calls


class TestEarlyEnds:
    """Outputs are what came before, and the message says what happened."""

    @pytest.mark.parametrize("n_equilibration_steps", [0, 5])
    def test_walltime(self, job, monkeypatch, n_equilibration_steps):
        """What was done can be used, and goes on from the state to the same end."""
        changes = {"n_equilibration_steps": n_equilibration_steps}
        _, whole, _ = job("whole", **changes)
        with monkeypatch.context() as patch:
            counted_clock(patch, 6)
            result, first, between = job("first", **changes)
        assert result["status"] == "walltime"
        assert result["message"] == "after 6 steps: the time was up"
        done = (result["n_steps"], result["n_equilibration_steps"])
        assert done == ((6, 0) if n_equilibration_steps == 0 else (1, 5))
        rest = {"n_steps": 12 - done[0], "n_equilibration_steps": n_equilibration_steps - done[1]}
        _, second, _ = job("second", start=between, **rest)
        assert_same(whole, {name: np.concatenate([first[name], second[name]]) for name in first})

    def test_walltime_in_the_equilibration(self, job, monkeypatch):
        changes = {"n_equilibration_steps": 9}
        _, whole, _ = job("whole", **changes)
        with monkeypatch.context() as patch:
            counted_clock(patch, 6)
            result, first, between = job("first", **changes)
        assert (result["n_steps"], result["n_equilibration_steps"], between["step"]) == (0, 6, -3)
        _, second, _ = job("second", start=between, n_equilibration_steps=3)
        assert_same(whole, second)
        assert len(first["steps"]) == 0

    def test_walltime_before_the_first_step(self, job, starts):
        result, trajectory, state = job("a", walltime_seconds=0)
        assert (result["status"], result["n_steps"], len(trajectory["steps"])) == ("walltime", 0, 0)
        np.testing.assert_array_equal(state["positions"], starts["nvt"]["positions"])

    @pytest.mark.parametrize("ensemble", ENSEMBLES)
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, job, monkeypatch, ensemble, value):
        """The model breaks in the tenth step, after two warm-up calls and that of the start: two frames are kept."""
        forward, calls = MacePotential.__call__, []

        def broken(self, positions, cells):
            calls.append(0)
            output = forward(self, positions, cells)
            forces = output.forces * (1 if len(calls) < 13 else value)
            return ModelOutput(output.energies, forces, output.stresses)

        monkeypatch.setattr(MacePotential, "__call__", broken)
        result, trajectory, state = job("a", ensemble)
        assert result["status"] == "diverged"
        assert "after 9 steps: the model gives energies or forces that are not finite" in result["message"]
        assert trajectory["steps"].tolist() == [4, 8]
        assert np.all(np.isfinite(state["momenta"]))

    def test_exploded(self, job, monkeypatch):
        """Forces a thousand times too large in one step: the temperature tells. Control: the same without them."""
        forward, calls = MacePotential.__call__, []

        def kicked(self, positions, cells):
            calls.append(0)
            output = forward(self, positions, cells)
            return output._replace(forces=output.forces * (1 if len(calls) != 13 else 1e3))

        monkeypatch.setattr(MacePotential, "__call__", kicked)
        result, trajectory, _ = job("a")
        assert result["status"] == "diverged"
        assert "after 9 steps: the temperature is" in result["message"]
        assert trajectory["steps"].tolist() == [4, 8]
        calls.extend([0] * 100)
        assert job("b")[0]["status"] == "finished"

    def test_drift(self, job, monkeypatch):
        """An energy that is no integral of the forces: nothing is hot, and yet the run means nothing."""
        forward, calls = MacePotential.__call__, []

        def leaking(self, positions, cells):
            calls.append(0)
            output = forward(self, positions, cells)
            return output._replace(energies=output.energies + (7.0 if len(calls) > 12 else 0.0))

        monkeypatch.setattr(MacePotential, "__call__", leaking)
        result, _, _ = job("a")
        assert result["status"] == "diverged"
        assert "the conserved quantity has drifted by 1.17 eV per atom" in result["message"]

    @pytest.mark.parametrize(
        ("ensemble", "changes"), [("nvt", {"timestep": 30.0}), ("npt", {"cell_time_constant": 0.5})]
    )
    def test_real_divergences(self, job, ensemble, changes):
        """A time step or a cell far too fast. Fails where neighbour list or algebra dies of it without a name."""
        result, _, _ = job("a", ensemble, n_steps=200, **changes)
        assert result["status"] == "diverged", result


class TestRefusals:
    def test_missing_element(self, job, starts):
        numbers = starts["nvt"]["numbers"].copy()
        numbers[0] = 1
        result, trajectory, _ = job("a", start=starts["nvt"] | {"numbers": numbers})
        assert result["status"] == "missing_element"
        assert trajectory is None

    def test_unreachable_cell(self, job, starts):
        result, _, _ = job("a", "npt", cell_degrees_of_freedom="isotropic")
        assert result["status"] == "unreachable_cell"
        assert "do not allow" in result["message"]

    def test_wrong_options(self, job):
        assert job("a", timestep=-1)[0]["status"] == "invalid_input"

    @pytest.mark.parametrize("what", ["array missing", "other chains", "other ensemble", "unknown array"])
    def test_foreign_start(self, job, starts, what):
        """Fails where arrays that do not go together are broadcast to something."""
        state = job("first")[2]
        start, changes = {
            "array missing": ({k: v for k, v in starts["nvt"].items() if k != "cell"}, {}),
            "other chains": (state, {"chain_length": 3}),
            "other ensemble": (state, {"ensemble": "npt"}),
            "unknown array": (state | {"extra": np.zeros(2)}, {}),
        }[what]
        result, trajectory, _ = job("second", start=start, **changes)
        assert result["status"] == "invalid_input"
        assert trajectory is None


class TestProgress:
    """Lines of a run of 320 steps, 20 of them of equilibration; the clock moves on by so many seconds per step."""

    def lines(self, monkeypatch, seconds_per_step):
        present = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda: present[0])
        found = []
        progress = Progress(320, 20, found.append)
        for n_done in range(1, 321):
            present[0] += seconds_per_step
            if progress.is_due(n_done):
                progress.show(n_done, Frame(n_done - 20, n_done - 20.0, None, None, -12.5, 301.0, 99.5, 0.0), 2e-5)
        return found

    def test_a_line_per_hundredth(self, monkeypatch):
        """With what is needed to see whether all is well, and when it will be over."""
        lines = self.lines(monkeypatch, 0.5)
        assert 100 <= len(lines) <= 108
        assert lines[0].startswith("step 1/320 (0 %)  equilibration  T 301.0 K")
        assert lines[-1] == (
            "step 320/320 (100 %)  300.0 fs  T 301.0 K  E -12.50000 eV  V 99.500 Å³  drift +0.0200 meV/atom  2 steps/s"
        )

    def test_a_line_every_ten_seconds(self, monkeypatch):
        """Where a hundredth, three steps, takes longer: after steps 1, 3, … 319 and the last one."""
        assert len(self.lines(monkeypatch, 6.0)) == 161

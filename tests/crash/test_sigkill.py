"""SIGKILL in the middle of an epoch: the run is finished afterwards, with no stored label computed twice.

Everything is real: a profile of its own with the ZeroMQ broker, a daemon with two workers, processes killed with
signal 9. The undisturbed run with the same seed is the reference for the decisions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
VERDI = str(Path(sys.executable).parent / "verdi")
SMALL_RUN = str(Path(__file__).parent / "small_run.py")
# what is asked of the graph, in a process of its own: run pk, state, decisions, label calculations by (cached, place)
QUESTION = """
import json, sys
from aiida import orm
from aiida_slhmc.report.run_state import find_runs
def labelled(name):
    return {"attributes.process_label": name}
def labels(run):
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": run}, tag="run")
    query.append(orm.WorkChainNode, with_incoming="run", filters=labelled("EpochWorkChain"), tag="e")
    query.append(orm.WorkChainNode, with_incoming="e", filters=labelled("VaspLabelWorkChain"), tag="l")
    query.append(orm.CalcJobNode, with_incoming="l", tag="vasp", project=["uuid", "extras", "attributes.exit_status"])
    query.append(orm.StructureData, with_outgoing="vasp", project="attributes")
    return [[u, "_aiida_cached_from" in x, s, [a["epoch"], a["cycle"], a["walker"]]] for u, x, s, a in query.all()]
def decisions(run):
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": run}, tag="run")
    query.append(orm.WorkChainNode, with_incoming="run", tag="e")
    query.append(orm.CalcFunctionNode, with_incoming="e", filters=labelled("metropolis"), tag="m")
    query.append(orm.Dict, with_incoming="m", project="attributes")
    return sorted(([d["epoch"], d["cycle"], d["accepted"], d["delta_h"]] for d in query.all(flat=True)))
runs = [n for n in find_runs()]
print(json.dumps([[n.pk, n.process_state.value, n.exit_status, labels(n.pk), decisions(n.pk)] for n in runs]))
"""


class Profile:
    """A profile in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # the daemon looks for `verdi` on the path
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = os.environ | {"AIIDA_PATH": str(folder), "OMP_NUM_THREADS": "1", "PATH": path}
        self.verdi("presto", "-p", "crash", "--use-zeromq", "-n", profile=False)
        self.verdi("config", "set", "runner.poll.interval", "1")
        self.verdi("run", str(ROOT / "examples" / "setup_demo.py"))

    def verdi(self, *arguments: str, profile: bool = True, check: bool = True) -> str:
        command = [VERDI, *(["-p", "crash"] if profile else []), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=600)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def restart_daemon(self) -> None:
        """With the repair of a process that was stored, but not yet announced to the broker when that was killed."""
        self.verdi("daemon", "stop", check=False)
        self.verdi("process", "repair", check=False)
        self.verdi("daemon", "start", "2", check=False)

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [VERDI, "-p", "crash", "run", SMALL_RUN, *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, start_new_session=True)

    def runs(self) -> list:
        script = self.folder / "question.py"
        script.write_text(QUESTION)
        return json.loads(self.verdi("run", str(script)).splitlines()[-1])

    def wait_for_labels(self, n_labels: int, timeout: float = 300) -> None:
        """Until the newest run has *n_labels* finished label calculations."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            runs = self.runs()
            if runs and sum(status == 0 for _, _, status, _ in runs[-1][3]) >= n_labels:
                return
            time.sleep(0.5)
        raise AssertionError(f"no {n_labels} labels within {timeout} s: {self.runs()}")

    def daemon_processes(self) -> list[int]:
        """Process ids of the daemon, its workers and its broker, found by their environment."""
        marker = f"AIIDA_PATH={self.folder}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker in environment and b"\0daemon\0" in command:
                found.append(int(entry.name))
        return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list:
    """Decisions of the undisturbed run."""
    profile = Profile(tmp_path_factory.mktemp("reference"))
    assert profile.start("run").wait() == 0
    [[_, state, status, labels, decisions]] = profile.runs()
    assert (state, status, len(labels), len(decisions)) == ("finished", 0, 12, 6)
    return decisions


def check_run(labels: list, decisions: list, reference: list) -> None:
    """All twelve labels are there, none twice, and every decision is the undisturbed run's, bit for bit."""
    places = Counter(tuple(place) for _, _, status, place in labels if status == 0)
    assert len(places) == 12
    assert set(places.values()) == {1}
    assert decisions == reference


def test_daemon_killed(tmp_path: Path, reference: list) -> None:
    """SIGKILL of the daemon, all its workers and its broker; after a new start the same run goes on and finishes."""
    profile = Profile(tmp_path)
    profile.verdi("daemon", "start", "2")
    try:
        assert profile.start("submit").wait() == 0
        profile.wait_for_labels(3)
        killed = profile.daemon_processes()
        assert len(killed) >= 3, "found neither the daemon nor its workers"
        before = {uuid for uuid, _, status, _ in profile.runs()[-1][3] if status == 0}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        profile.verdi("daemon", "stop", check=False)
        profile.verdi("daemon", "start", "2")
        state = wait_until_terminated(profile)
        assert state[1:3] == ["finished", 0]
        assert before <= {uuid for uuid, *_ in state[3]}, "a stored label was left out"
        check_run(state[3], state[4], reference)
    finally:
        profile.verdi("daemon", "stop", check=False)


def wait_until_terminated(profile: Profile, timeout: float = 600) -> list:
    """The newest run, when it has ended. Where it hangs after a hard stop, what README says is done."""
    end = time.monotonic() + timeout
    before, restart_at = None, 0.0
    while time.monotonic() < end:
        run = profile.runs()[-1]
        if run[1] in ("finished", "excepted", "killed"):
            return run
        if run != before:  # on a slow machine a restart costs more than it brings while there is progress
            before, restart_at = run, time.monotonic() + 90
        if time.monotonic() > restart_at:
            profile.restart_daemon()
            restart_at = time.monotonic() + 90
        time.sleep(2)
    raise AssertionError(f"the run did not end: {profile.runs()[-1]}")


def test_in_process_run_killed(tmp_path: Path, reference: list) -> None:
    """SIGKILL of `verdi run`; the restart takes over every stored label and computes only what is missing."""
    profile = Profile(tmp_path)
    process = profile.start("run")
    profile.wait_for_labels(3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = profile.runs()[-1]
    stored = {tuple(place) for _, _, status, place in killed[3] if status == 0}
    assert 3 <= len(stored) < 12
    assert profile.start("restart", str(killed[0])).wait() == 0
    restarted = profile.runs()[-1]
    assert restarted[1:3] == ["finished", 0]
    # epochs that had finished are not in the new run; decisions of both together are the reference's
    finished = [row for row in killed[4] if row[0] < min(row[0] for row in restarted[4])]
    assert finished + restarted[4] == reference
    computed = Counter(tuple(place) for _, is_cached, _, place in restarted[3] if not is_cached)
    assert not stored & set(computed), "a stored label was computed again"
    assert stored | set(computed) == {tuple(place) for place in all_places()}
    assert set(computed.values()) == {1}


def all_places() -> list[tuple[int, int, int]]:
    """(epoch, cycle, walker) of all labels of the small run."""
    return [(epoch, cycle, walker) for epoch in range(2) for cycle in range(3) for walker in range(2)]

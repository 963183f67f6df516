"""SIGKILL in the middle of an epoch: the run is finished afterwards, with no stored label computed twice.

Everything is real: a profile of its own with the ZeroMQ broker, a daemon with two workers, processes killed with
signal 9. The undisturbed run with the same seed is the reference for the decisions.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from killed_runs import Profile, check_restart, check_run, wait_until_terminated

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_daemon_killed(tmp_path: Path, reference: list) -> None:
    """SIGKILL of the daemon, all its workers and its broker; after a new start the same run goes on and finishes."""
    profile = Profile(tmp_path)
    profile.verdi("daemon", "start", "2")
    try:
        before = profile.submit(1)
        killed = profile.daemon_processes()
        assert len(killed) >= 3, "found neither the daemon nor its workers"
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        profile.verdi("daemon", "stop", check=False)
        profile.verdi("daemon", "start", "2")
        check_run(wait_until_terminated(profile), before, reference)
        assert not profile.executed_twice()
    finally:
        profile.verdi("daemon", "stop", check=False)


def test_in_process_run_killed(tmp_path: Path, reference: list) -> None:
    """SIGKILL of `verdi run`; the restart takes over every stored label and computes only what is missing."""
    profile = Profile(tmp_path)
    process = profile.start("run")
    profile.wait_for_labels(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    check_restart(profile, profile.runs()[-1], reference)

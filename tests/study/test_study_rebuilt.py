"""A referee makes every number of a study again, from its archive alone, in a process without any profile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiida.tools.archive import create_archive

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rebuilt(study, tmp_path_factory):
    """Exit of the referee's command, and the folder that it wrote to."""
    folder = tmp_path_factory.mktemp("referee")
    create_archive([study], filename=folder / "study.aiida", test_run=False)
    command = [sys.executable, str(ROOT / "examples" / "rebuild_study.py"), "study.aiida", "--folder", "rebuilt"]
    environment = os.environ | {"AIIDA_PATH": str(folder / "nothing")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done, folder / "rebuilt"


def test_everything_is_equal(rebuilt):
    done, folder = rebuilt
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["is_good"]
    assert not verdict["differences"]
    # the decisions of all cycles, the trajectories, the analyses and the report were all made again
    assert {"metropolis", "slhmc_trajectories", "analyse_structure", "compare_structure", "report_study"} <= set(
        verdict["executed"]
    )


def test_tables_are_those_of_the_study(rebuilt, study):
    _, folder = rebuilt
    files = study.outputs.files.base.repository
    for name in ("table1.csv", "table_a2.csv", "checks.csv", "summary.json"):
        assert (folder / name).read_text() == files.get_object_content(name, "r")

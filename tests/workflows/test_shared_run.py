"""A real run is shared: nothing private is in its archive, which can be checked, trained from and continued."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiida import orm
from aiida.tools.archive import create_archive
from shared_labels import words_in

from aiida_slhmc.audit.rebuild import rebuild
from aiida_slhmc.sharing.archive import export_archive, export_processes
from aiida_slhmc.sharing.collect import create_data_set
from aiida_slhmc.sharing.private import private_words
from aiida_slhmc.sharing.sanitise import LeftOut
from aiida_slhmc.standin.potcar import TEMPLATE

SCRIPT_LINE = "exec > _scheduler-stdout.txt"
COLLEAGUE = Path(__file__).with_name("colleague.py")


@pytest.fixture(scope="module")
def shared(finished, tmp_path_factory) -> tuple[Path, LeftOut]:
    """The run's archive for others, and what was left out of it."""
    path = tmp_path_factory.mktemp("shared") / "run.aiida"
    return path, export_processes([finished], path)


def test_nothing_private_is_in_it(shared, finished, computer, tmp_path) -> None:
    """Fails where a folder, a program's place, an address or a POTCAR leaves; AiiDA's own archive has them."""
    own = (computer.get_workdir(), str(Path(sys.executable).parent), orm.User.collection.get_default().email)
    potcar = next(line.strip() for line in TEMPLATE.splitlines() if "End of Dataset" in line)
    raw = create_archive([finished], filename=tmp_path / "raw.aiida")
    # a line of the jobs' scripts
    assert words_in(raw, tmp_path / "raw", (*own, SCRIPT_LINE)) == [*own, SCRIPT_LINE]
    secrets = (*own, SCRIPT_LINE, str(Path.home()), potcar, "remote_workdir", "END of PSCTR")
    assert words_in(shared[0], tmp_path / "clean", secrets) == []


def test_it_can_be_rebuilt(shared, tmp_path) -> None:
    """Fails where the cleaning takes away what a referee's check needs."""
    path, left_out = shared
    assert left_out.incomplete == {}
    verdict = rebuild(path, tmp_path / "rebuilt")
    assert verdict.differences == []
    assert verdict.is_good
    assert {"read_vasp_label", "metropolis", "collect_chain", "collect_block", "summarise_run"} <= set(verdict.executed)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_colleague_goes_on(finished, tmp_path) -> None:
    """Fails where one who has nothing but the archive cannot check, train from or continue what is in it."""
    path = tmp_path / "real.aiida"
    data_set = create_data_set("real", [finished])
    export_archive(data_set, path, private_words())
    tests = str(Path(__file__).parents[1])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AIIDA")}
    environment |= {"AIIDA_PATH": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": tests}

    def run(*arguments: object) -> str:
        command = [str(argument) for argument in arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    verdi = Path(sys.executable).parent / "verdi"
    run(verdi, "profile", "setup", "core.sqlite_dos", "-n", "--profile-name", "colleague", "--email", "c@d.org")
    command = (sys.executable, "-m", "aiida_slhmc.cli", "dataset")
    n_labels = len(data_set.labels)
    assert f"data set 'real' with {n_labels} labels" in run(*command, "import", path)
    assert f"all {n_labels} labels agree with their calculations" in run(*command, "show", "real", "--verify")
    done = run(sys.executable, COLLEAGUE, "colleague", "real", finished.uuid, tmp_path)
    assert "training 0" in done
    assert "run 0" in done
    assert "with 4 labels" in done

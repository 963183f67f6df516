"""The wheel with its declared dependencies in an environment that has nothing else: neither PyTorch nor MACE."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from docs_pages import ROOT

# the installation alone takes more than a minute
pytestmark = pytest.mark.long


class Environment:
    """A folder with the package installed, and an empty folder for AiiDA's profiles."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.bin, self.home = folder / "bin", home
        self.variables = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(home), "AIIDA_PATH": str(home)}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """The command, started where the clone is not."""
        program, *arguments = command
        return subprocess.run(
            [str(self.bin / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
            env=self.variables | {"PYTHONWARNINGS": "ignore"},
        )

    def output(self, *command: str) -> str:
        """What a command prints that has to succeed."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("environment")
    names = ["pyproject.toml", "README.md", "LICENSE", "aiida_slhmc"]
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in names), str(source)], check=True)
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    # from the index, as for a user, in the versions of the tests
    subprocess.run([*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    return Environment(folder, tmp_path_factory.mktemp("home"))


def test_nothing_else_is_there(environment):
    """Fails where the environment is not as empty as a user's, so that the other tests here would prove nothing."""
    for module in ("torch", "mace", "lammps", "pytest"):
        assert environment.run("python", "-c", f"import {module}").returncode != 0
    environment.output("python", "-m", "pip", "check")


def test_entry_points_load(environment):
    """Fails where a module needs a package that is not declared; an extra's packages may be missing."""
    code = (
        "from importlib.metadata import distribution\n"
        "for entry in distribution('aiida-slhmc').entry_points:\n"
        "    try: entry.load(); print('loaded', entry.name)\n"
        "    except ModuleNotFoundError as error: print('missing', error.name)\n"
    )
    words = [line.split() for line in environment.output("python", "-c", code).splitlines()]
    assert {name for kind, name in words if kind == "missing"} <= {"aiida_cp2k", "aiida_quantumespresso"}
    assert len([name for kind, name in words if kind == "loaded"]) > 20


def test_commands_work(environment):
    """Fails where what is done before the first job needs the worker's packages: profile, plugins, forms."""
    assert environment.output("aiida-slhmc", "--version").startswith("aiida-slhmc, version ")
    environment.output("verdi", "presto", "--profile-name", "empty", "--use-zeromq", "--non-interactive")
    plugins = environment.output("verdi", "plugin", "list", "aiida.workflows")
    ours = [entry.name for entry in entry_points(group="aiida.workflows") if entry.name.startswith("slhmc.")]
    assert len(ours) > 8
    assert [name for name in ours if name not in plugins] == []
    for form in (("setup", "--dump"), ("launch", "slhmc", "--dump"), ("launch", "md", "--dump")):
        assert yaml.safe_load(environment.output("aiida-slhmc", "-p", "empty", *form))
    assert "Usage" in environment.output("aiida-slhmc", "model", "import", "--help")


def test_python_version_is_the_tests_own(environment):
    """Fails where another interpreter than that of the tests was asked."""
    code = "import sys; print(sys.version_info[:2])"
    assert environment.output("python", "-c", code).strip() == str(sys.version_info[:2])

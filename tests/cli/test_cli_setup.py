"""`aiida-slhmc setup`: computers and codes, made once, and what the Python there lacks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiida import orm
from click.testing import CliRunner, Result

from aiida_slhmc.cli.interpreter_check import needed_packages
from aiida_slhmc.cli.setup import command
from aiida_slhmc.cli.setup_settings import CodeSettings, ComputerSettings, SetupSettings

# no site-packages: no MACE, no torch
BARE_PYTHON = f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n'


def called(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(result: Result, message: str, code: int = 1) -> None:
    """Ended with this exit status and one message, without a traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert message in result.output


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Function that writes a file for `setup`: computer `label`, its other settings, and codes."""

    def make(label: str, codes: list[dict[str, Any]] | None = None, **settings: Any) -> Path:
        path = tmp_path / "computer.yaml"
        computer = {"label": label, "work_dir": str(tmp_path / "work"), **settings}
        path.write_text(yaml.safe_dump({"computer": computer, "codes": codes or []}))
        return path

    return make


def program(folder: Path, text: str, name: str = "python") -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def saying(content: dict[str, Any]) -> str:
    """A program that answers like the script of the check."""
    return f"#!/bin/sh\necho 'a message of the day'\necho '{json.dumps(content)}'\n"


def python_code(path: str, **more: Any) -> dict[str, Any]:
    return {"label": "python", "executable": path, "plugin": "slhmc.mace_proposal", **more}


@pytest.mark.usefixtures("aiida_profile")
def test_this_machine(tmp_path: Path) -> None:
    """Fails where nothing is made, it is not found again, or the settings are those for the demo."""
    result = called("--vasp", program(tmp_path, "", "vasp_std"), "--no-check")
    assert result.exit_code == 0, result.output
    computer = orm.load_computer("localhost")
    assert computer.transport_type == "core.local"
    assert computer.is_configured
    assert str(orm.load_code("python@localhost").get_executable()) == sys.executable
    assert orm.load_code("python@localhost").with_mpi is False
    assert orm.load_code("vasp@localhost").default_calc_job_plugin == "vasp.vasp"
    pks = [computer.pk, orm.load_code("python@localhost").pk]
    again = called("--no-check")
    assert again.exit_code == 0, again.output
    assert "code python@localhost: was there" in again.output
    assert [orm.load_computer("localhost").pk, orm.load_code("python@localhost").pk] == pks


@pytest.mark.usefixtures("aiida_profile")
def test_a_new_computer_is_asked_seldom(write: Any) -> None:
    """Fails where the polling interval is one for many short local jobs, though nobody asked for it."""
    assert called(write("seldom")).exit_code == 0
    assert orm.load_computer("seldom").get_minimum_job_poll_interval() == 5.0


@pytest.mark.usefixtures("aiida_profile")
def test_a_file_is_followed_and_brings_a_computer_up_to_date(write: Any, tmp_path: Path) -> None:
    """Fails where a setting of the file is not on the computer, or a change of the file changes nothing."""
    settings = {"poll_interval": 20.0, "mpiprocs_per_machine": 4, "prepend_text": "module load a"}
    codes = [python_code(sys.executable, prepend_text="module load b")]
    options = {"safe_interval": 12.0}
    path = write("cluster", codes, scheduler="core.slurm", transport_options=options, **settings)
    result = called(path, "--no-check")
    assert result.exit_code == 0, result.output
    computer = orm.load_computer("cluster")
    assert computer.scheduler_type == "core.slurm"
    assert computer.get_minimum_job_poll_interval() == 20.0
    assert computer.get_default_mpiprocs_per_machine() == 4
    assert computer.get_prepend_text() == "module load a"
    assert computer.get_workdir() == str(tmp_path / "work")
    assert computer.get_configuration()["safe_interval"] == 12.0
    assert orm.load_code("python@cluster").prepend_text == "module load b"
    path = write("cluster", codes, scheduler="core.slurm", **(settings | {"poll_interval": 60.0}))
    assert called(path, "--no-check").exit_code == 0
    assert orm.load_computer("cluster").get_minimum_job_poll_interval() == 60.0
    assert orm.load_computer("cluster").get_configuration()["safe_interval"] == 12.0


@pytest.mark.usefixtures("aiida_profile")
def test_what_is_another_one_is_not_touched(write: Any) -> None:
    """Fails where a computer or a code of the same label is taken for the one in the file."""
    assert called(write("taken", [python_code(sys.executable)]), "--no-check").exit_code == 0
    refused(called(write("taken", scheduler="core.slurm")), "with the scheduler core.direct, not core.slurm")
    refused(called(write("taken", [python_code("/other/python")]), "--no-check"), "A code cannot be changed")
    refused(called(write("taken", [python_code(sys.executable, prepend_text="x")])), "another prepend_text")
    refused(called(write("taken", [python_code(sys.executable, with_mpi=True)])), "with_mpi: false, not true")


@pytest.mark.usefixtures("aiida_profile")
def test_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a path is taken by one option and refused by the other."""
    program(tmp_path, "", "python")
    monkeypatch.chdir(tmp_path)
    written = called("--python", "./python", "--vasp", "vasp_std", "--dump")
    codes = yaml.safe_load(written.output)["codes"]
    assert [code["executable"] for code in codes] == [str(tmp_path / name) for name in ("python", "vasp_std")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hostnme": "x"}, "no key 'computer.hostnme'; did you mean 'hostname'?"),
        ({"scheduler": "core.slrm"}, "there is no scheduler 'core.slrm'"),
        ({"transport_options": {"safe_intervall": 1}}, "did you mean 'safe_interval'?"),
        ({"transport": "core.ssh_async", "work_dir": None}, "`computer.work_dir` is needed"),
        ({"mpiprocs_per_machine": 0}, "computer.mpiprocs_per_machine"),
        ({"codes": [{"label": "x", "executable": "/x"}]}, "`codes.0.plugin` is missing"),
        ({"codes": [python_code("python")]}, "must be a full path"),
        ({"codes": [{"label": "x", "executable": "/x", "plugin": "slhmc.propose"}]}, "no calculation plugin"),
    ],
)
@pytest.mark.usefixtures("aiida_profile")
def test_errors_in_the_file(write: Any, change: dict[str, Any], message: str) -> None:
    """Fails where a slip in the file gives a traceback, or a message that does not name it."""
    refused(called(write(f"erroneous-{min(change)}", **change), "--no-check"), message)


def test_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    for text, message in (("computer: [", "is no YAML"), ("- a", "a mapping")):
        path.write_text(text)
        refused(called(path), message)
    refused(called(path, "--python", "/x"), "put the codes into the file", code=2)
    refused(called(tmp_path / "none.yaml"), "does not exist", code=2)


@pytest.mark.usefixtures("aiida_profile")
def test_a_python_that_is_fit(write: Any, tmp_path: Path) -> None:
    """Fails where a Python with all packages is refused, or its versions and device are not told."""
    packages = {"mace-torch": "0.3.16", "torch": "2.6.0", "safetensors": "0.5"}
    found = {"python": "3.12.1", "packages": packages, "errors": {}, "device": "cuda", "name": "A100", "mps": False}
    result = called(write("fit", [python_code(program(tmp_path, saying(found)))]))
    assert result.exit_code == 0, result.output
    assert "mace-torch 0.3.16" in result.output
    assert "cuda (A100)" in result.output


@pytest.mark.usefixtures("aiida_profile")
def test_a_python_that_is_not_fit(write: Any, tmp_path: Path) -> None:
    """Fails where an old version or a missing package is not named, with what to install, or the status is 0."""
    packages = {"mace-torch": "0.3.6", "torch": "2.6.0"}
    errors = {"safetensors": "ModuleNotFoundError: No module named 'safetensors'"}
    found = {"python": "3.9.1", "packages": packages, "errors": errors, "device": "cpu", "name": None, "mps": False}
    result = called(write("unfit", [python_code(program(tmp_path, saying(found)))]))
    refused(result, "mace-torch is 0.3.6: pip install 'mace-torch")
    assert "safetensors cannot be imported" in result.output
    assert "Python 3.9.1 is too old" in result.output
    assert "torch is 2.6.0" not in result.output


@pytest.mark.usefixtures("aiida_profile")
def test_a_real_python_without_packages(write: Any, tmp_path: Path) -> None:
    """Fails where the script itself does not run on a bare interpreter, or finds packages that are not there."""
    result = called(write("bare", [python_code(program(tmp_path, BARE_PYTHON))]))
    refused(result, "mace-torch cannot be imported (ModuleNotFoundError")
    assert "torch cannot be imported" in result.output


@pytest.mark.parametrize(
    ("text", "message"), [(None, "is no Python that runs"), ("#!/bin/sh\necho hello\n", "it said 'hello'")]
)
@pytest.mark.usefixtures("aiida_profile")
def test_no_python_at_all(write: Any, tmp_path: Path, text: str | None, message: str) -> None:
    """Fails where a path with nothing, or another program, gives a traceback."""
    path = str(tmp_path / "nothing") if text is None else program(tmp_path, text, "hello")
    label = "nothing" if text is None else "hello"
    refused(called(write(label, [python_code(path)])), message)


@pytest.mark.usefixtures("aiida_profile")
def test_the_check_runs_after_the_prepend_texts(write: Any, tmp_path: Path) -> None:
    """Fails where modules that the code loads first are not loaded for the check."""
    path = program(tmp_path, '#!/bin/sh\necho "$SLHMC_A $SLHMC_B"\n')
    codes = [python_code(path, prepend_text="export SLHMC_B=second")]
    refused(called(write("prepended", codes, prepend_text="export SLHMC_A=first")), "it said 'first second'")


def test_needed_packages_are_those_of_the_worker() -> None:
    """Fails where the names or versions differ from what the package itself declares."""
    needs = {need.name: need for need in needed_packages()}
    assert set(needs) == {"mace-torch", "torch", "safetensors"}
    assert not needs["mace-torch"].specifier.contains("0.3.15")


def test_dump_is_a_file_that_is_taken(tmp_path: Path) -> None:
    """Fails where the form has a key that is refused, no comments, or schema and form disagree."""
    text = called("--dump").output
    assert "# " in text
    path = tmp_path / "form.yaml"
    path.write_text(text)
    assert called(path, "--dump").output == text
    schema = json.loads(called("--schema").output)
    assert set(schema["properties"]) == set(yaml.safe_load(text))
    every = [*SetupSettings.model_fields.values(), *ComputerSettings.model_fields.values()]
    assert all(field.description for field in [*every, *CodeSettings.model_fields.values()])


def test_help_has_an_example() -> None:
    assert "aiida-slhmc setup cluster.yaml" in called("--help").output

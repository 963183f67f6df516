"""`aiida-slhmc setup`: computers and codes, and whether the Python there can run MACE."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_slhmc.cli.errors import load_database, user_errors
from aiida_slhmc.cli.examples import examples
from aiida_slhmc.cli.settings import check_settings, commented_yaml, read_yaml
from aiida_slhmc.cli.setup_settings import PYTHON_PLUGIN, CodeSettings, ComputerSettings, SetupSettings, template

if TYPE_CHECKING:
    from aiida import orm

__all__ = ("command",)


@click.command(
    "setup",
    epilog=examples(
        "aiida-slhmc setup                              # this machine, with the Python of this command",
        "aiida-slhmc setup --vasp /opt/vasp/bin/vasp_std",
        "aiida-slhmc setup --dump > cluster.yaml        # a form for a cluster: fill it in, then",
        "aiida-slhmc setup cluster.yaml",
    ),
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--python", metavar="PATH", help="This machine: the Python with mace-torch; default: this one.")
@click.option("--vasp", metavar="PATH", help="This machine: the executable of VASP.")
@click.option("--no-check", is_flag=True, help="Do not run anything on the computer.")
@click.option("--dump", is_flag=True, help="Only write a FILE to fill in, commented.")
@click.option("--schema", is_flag=True, help="Only write the JSON schema of FILE.")
@user_errors
def command(file: Path | None, python: str | None, vasp: str | None, no_check: bool, dump: bool, schema: bool) -> None:
    """Set up a computer and its codes.

    It is this machine, or the one in a YAML FILE. Do it as often as you like: what is there is kept, and brought up to
    date with what the file says. Then the Python of each code that is to run MACE is asked, there, for its packages and
    the device that it would use; if it lacks something, the exit status is 1.
    """
    if file is not None and (python or vasp):
        raise click.UsageError("--python and --vasp are for this machine; put the codes into the file")
    settings = check_settings(SetupSettings, read_yaml(file)) if file is not None else _this_machine(python, vasp)
    if schema:
        import json

        click.echo(json.dumps(SetupSettings.model_json_schema(), indent=1))
    elif dump:
        shown = settings if file is not None or python or vasp else template()
        click.echo(commented_yaml(SetupSettings, shown.model_dump(exclude_unset=True)), nl=False)
    else:
        _set_up(settings, is_checked=not no_check)


def _this_machine(python: str | None, vasp: str | None) -> SetupSettings:
    codes = [
        CodeSettings(
            label="python",
            executable=str(Path(python or sys.executable).absolute()),
            plugin=PYTHON_PLUGIN,
            with_mpi=False,
        )
    ]
    if vasp:
        codes.append(CodeSettings(label="vasp", executable=str(Path(vasp).absolute()), plugin="vasp.vasp"))
    return SetupSettings(computer=ComputerSettings(label="localhost"), codes=codes)


def _set_up(settings: SetupSettings, *, is_checked: bool) -> None:
    load_database()
    from aiida_slhmc.cli.setup_nodes import set_up_code, set_up_computer

    computer, is_new = set_up_computer(settings.computer)
    interval = computer.get_minimum_job_poll_interval()
    click.echo(f"computer {computer.label}: {_made(is_new)}, asked for its jobs every {interval:g} s")
    codes = []
    for entry in settings.codes:
        code, is_new = set_up_code(entry, computer)
        click.echo(f"code {code.full_label}: {_made(is_new)}")
        codes.append(code)
    interpreters = [code for code in codes if code.default_calc_job_plugin == PYTHON_PLUGIN and is_checked]
    unfit = [code for code in interpreters if not _is_fit(code)]
    if unfit:
        raise click.ClickException("the Python has to be mended before anything can run there")
    click.echo("Next: `aiida-slhmc model import`, then `aiida-slhmc launch slhmc --help`")


def _made(is_new: bool) -> str:
    return "made" if is_new else "was there"


def _is_fit(code: orm.InstalledCode) -> bool:
    """Whether the code's Python can run the worker; says what it has, and what it lacks."""
    from aiida_slhmc.cli.interpreter_check import check_interpreter

    found = check_interpreter(code)
    for problem in found.problems:
        click.echo(f"code {code.full_label}: {problem}", err=True)
    if not found.problems:
        click.echo(f"code {code.full_label}: {found.summary}")
    return not found.problems

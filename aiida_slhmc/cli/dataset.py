"""``aiida-slhmc dataset``: sets of labels, made of runs or files, looked at, checked and passed on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from aiida.cmdline.params import arguments
from aiida.cmdline.utils import echo

from aiida_slhmc.cli.dataset_export import complete_name, export, export_run
from aiida_slhmc.cli.errors import with_database
from aiida_slhmc.cli.examples import examples

if TYPE_CHECKING:
    from aiida_slhmc.sharing.data_set import DataSet

__all__ = ("command",)

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
# problems that are printed
SHOWN = 10
# exit status where some labels were checked and others could not be; 2 is that of wrong usage
SOME_UNCHECKED = 3


@click.group(
    "dataset",
    epilog=examples(
        "aiida-slhmc dataset create rutile-pbe --run 1234",
        "aiida-slhmc dataset show rutile-pbe --verify",
        "aiida-slhmc dataset export rutile-pbe rutile-pbe.aiida",
        "aiida-slhmc dataset export-run 1234 run.aiida",
    ),
)
def command() -> None:
    """Make sets of labels, check them, and pass them on.

    A data set is a group of labels of one functional, engine and choice of settings, with one block of them that
    `datasets`, `replay` and `probes` of the work chains take.
    """


@command.command(
    "create",
    epilog=examples(
        "aiida-slhmc dataset create rutile-pbe --run 1234",
        "aiida-slhmc dataset create rutile-pbe --run 1234 --run 2345",
        "aiida-slhmc dataset create epoch-3 1301          # the block with PK 1301",
    ),
)
@click.argument("name")
@arguments.NODES("nodes", required=False)
@click.option(
    "--run", "runs", multiple=True, metavar="PK", help="A run (any process) whose labels to take; repeatable."
)
@with_database
def create(name: str, nodes: tuple[Any, ...], runs: tuple[str, ...]) -> None:
    """Make the data set NAME of all labels of runs, of blocks (DatasetData) or of single labels.

    Labels of different functionals, engines or settings are refused: make one data set of each.
    """
    from aiida.orm import load_node

    from aiida_slhmc.sharing.collect import create_data_set

    sources = [*(load_node(run) for run in runs), *nodes]
    if not sources:
        raise click.UsageError("say of what: --run PK, or the PKs of blocks or labels")
    data_set = create_data_set(name, sources)
    echo.echo_success(f"data set '{data_set.name}' with {len(data_set.labels)} labels")
    _table(data_set)


@command.command(
    "show",
    epilog=examples(
        "aiida-slhmc dataset show",
        "aiida-slhmc dataset show rutile-pbe --verify",
    ),
)
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--verify", is_flag=True, help="Check each label against the stored outputs of its calculation.")
@with_database
def show(name: str | None, verify: bool) -> None:
    """Show what the data set NAME is; without NAME, list all.

    With --verify, labels are read again from what their calculations left, and compared. The exit status is 0 where all
    agree, 1 where something differs or nothing could be checked, and 3 where some could be checked and others not.
    """
    from aiida_slhmc.sharing.data_set import data_set_names, load_data_set

    if name is None:
        for known in data_set_names() or ["there is no data set; make one with `aiida-slhmc dataset create`"]:
            echo.echo(known)
        return
    data_set = load_data_set(name)
    _table(data_set)
    if verify:
        _verify(data_set)


@command.command(
    "import",
    epilog=examples(
        "aiida-slhmc dataset import rutile-pbe.aiida",
        "aiida-slhmc dataset import frames.extxyz --name other-pbe --functional pbe --units eV/Angstrom",
    ),
)
@click.argument("file", type=EXISTING_FILE)
@click.option("--name", help="Name of the data set that is made of an extended XYZ file.")
@click.option("--functional", help="Functional of the labels in an extended XYZ file, such as pbe.")
@click.option("--units", help="Unit of its forces, by ASE's names: eV/Angstrom, Ha/Bohr, kcal/mol/Angstrom, …")
@click.option("--engine", help="What computed them; by default what the frames say, or `unknown`.")
@click.option("--stress-units", help="Unit of its stress, such as GPa; by default energy over the cube of the length.")
@click.option("--energy-key", help="Name of the energies in the file, by default `energy`.")
@click.option("--forces-key", help="Name of the forces in the file, by default `forces`.")
@click.option("--stress-key", help="Name of the stress in the file, by default `stress`.")
@with_database
def import_(file: Path, **declared: str | None) -> None:
    """Take in FILE: an archive with data sets, or extended XYZ from outside.

    Of extended XYZ the functional and the units have to be declared. Energies are in what comes before the last slash
    of --units and are those that the forces derive from; positions and cells are in Å; stress is positive under
    tension. Such labels are marked as without provenance.
    """
    from aiida_slhmc.sharing.archive import import_data_sets

    given = {option: value for option, value in declared.items() if value is not None}
    if file.suffix == ".aiida":
        if given:
            raise click.UsageError(f"an archive says all of its data sets itself: leave out {_options(given)}")
        for data_set in import_data_sets(file):
            echo.echo_success(f"data set '{data_set.name}' with {len(data_set.labels)} labels")
            _table(data_set)
        return
    missing = [option for option in ("name", "functional", "units") if option not in given]
    if missing:
        raise click.UsageError(f"an extended XYZ file does not say it: give {_options(missing)}")
    data_set = _import_frames(file, **given)
    echo.echo_success(f"data set '{data_set.name}' with {len(data_set.labels)} labels, without provenance")
    _table(data_set)


def _options(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def _import_frames(file: Path, name: str, **given: str) -> DataSet:
    from aiida_slhmc.sharing.outside import declare, import_frames

    options = {key: given.pop(f"{key}_key", None) for key in ("energy", "forces", "stress")}
    keys = {key: value for key, value in options.items() if value is not None}
    return import_frames(file, name, declare(keys=keys, **given))


def _table(data_set: DataSet) -> None:
    from aiida_slhmc.sharing.describe import describe

    rows = describe(data_set)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        echo.echo(f"{name:{width}}  {value}")


def _verify(data_set: DataSet) -> None:
    """Say what was checked, and end with exit status 1 unless it is good, 3 where not all could be checked."""
    from aiida_slhmc.sharing.verify import verify

    result = verify(data_set)
    echo.echo("")
    for problem in result.problems[:SHOWN]:
        echo.echo(f"DIFFERS  {problem}")
    if len(result.problems) > SHOWN:
        echo.echo(f"... and {len(result.problems) - SHOWN} more")
    for reason, count in result.unchecked.items():
        echo.echo(f"{count} of {result.n_labels} labels: {reason}")
    echo.echo(f"VERDICT: {result.verdict}")
    if not result.is_good:
        raise click.exceptions.Exit(1)
    if not result.is_complete:
        raise click.exceptions.Exit(SOME_UNCHECKED)


for part in (export, export_run):
    command.add_command(part)

"""``aiida-slhmc dataset export`` and ``export-run``: files for others, with nothing private in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from aiida.cmdline.utils import echo

from aiida_slhmc.cli.errors import load_database, with_database
from aiida_slhmc.cli.examples import examples

if TYPE_CHECKING:
    from aiida_slhmc.sharing.sanitise import LeftOut

__all__ = ("complete_name", "export", "export_run")

FILE = click.Path(dir_okay=False, path_type=Path)
# left-out nodes that are printed
SHOWN = 10


def complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of data sets that begin with what is typed."""
    from aiida_slhmc.sharing.data_set import data_set_names

    load_database()
    return [name for name in data_set_names() if name.startswith(incomplete)]


def _secrets(function: Any) -> Any:
    """Options of all commands that write a file for others."""
    options = (
        click.option("--private", multiple=True, metavar="WORD", help="What must not be in the file; repeatable."),
        click.option("--allow", multiple=True, metavar="WORD", help="A name that may be in the file; repeatable."),
        click.option("--overwrite", is_flag=True, help="Replace FILE if it exists."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    "export",
    epilog=examples(
        "aiida-slhmc dataset export rutile-pbe rutile-pbe.aiida",
        "aiida-slhmc dataset export rutile-pbe labels.aiida --without-provenance",
        "aiida-slhmc dataset export rutile-pbe labels.extxyz",
    ),
)
@click.argument("name", shell_complete=complete_name)
@click.argument("file", type=FILE)
@click.option("--without-provenance", is_flag=True, help="Only the labels and their block, no calculations (.aiida).")
@_secrets
@with_database
def export(name: str, file: Path, without_provenance: bool, **given: Any) -> None:
    """Write the data set NAME to FILE: an AiiDA archive (.aiida) or extended XYZ (.extxyz).

    POTCARs, codes, users, hosts, folders and job scripts are left out. The file is searched for all that this profile
    knows to be private before it gets its name; give further words with --private, and with --allow names of computers
    or users that are common words.
    """
    from aiida_slhmc.sharing.archive import export_archive
    from aiida_slhmc.sharing.data_set import load_data_set
    from aiida_slhmc.sharing.frames import export_frames

    _check_file(file, (".aiida", ".extxyz"), given["overwrite"])
    is_frames = file.suffix == ".extxyz"
    if is_frames and without_provenance:
        raise click.UsageError("extended XYZ never has provenance; --without-provenance is for archives (.aiida)")
    data_set = load_data_set(name)
    words = _words(given)
    if is_frames:
        export_frames(data_set, file, words)
    else:
        options = {"with_provenance": not without_provenance, "overwrite": given["overwrite"]}
        _say_left_out(export_archive(data_set, file, words, **options))
    echo.echo_success(f"{file}: {len(data_set.labels)} labels; none of {len(words)} private words is in it")


@click.command(
    "export-run",
    epilog=examples(
        "aiida-slhmc dataset export-run 1234 run.aiida",
        "aiida-slhmc dataset export-run 1234 2345 both.aiida --allow vasp",
    ),
)
@click.argument("processes", nargs=-1, required=True, metavar="PK...")
@click.argument("file", type=FILE)
@_secrets
@with_database
def export_run(processes: tuple[str, ...], file: Path, **given: Any) -> None:
    """Write whole runs or studies to the AiiDA archive FILE, with all that they called, made and came from.

    It is cleaned and searched as that of a data set. Whoever gets it can check every number of it
    (examples/rebuild_study.py), import it with `verdi archive import` and go on from it with codes of their own.
    """
    from aiida.orm import ProcessNode, load_node

    from aiida_slhmc.sharing.archive import export_processes

    _check_file(file, (".aiida",), given["overwrite"])
    nodes = []
    for process in processes:
        node = load_node(process)
        if not isinstance(node, ProcessNode):
            raise click.UsageError(f"{type(node).__name__}<{node.pk}> is no run: give the PK of a process")
        nodes.append(node)
    words = _words(given)
    _say_left_out(export_processes(nodes, file, words, overwrite=given["overwrite"]))
    echo.echo_success(f"{file}: {len(nodes)} runs; none of {len(words)} private words is in it")


def _check_file(file: Path, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuse a name that does not say what the file becomes, or is taken."""
    if file.suffix not in suffixes:
        raise click.UsageError(f"{file} should end with {' or '.join(suffixes)}, which says what it becomes")
    if file.exists() and not overwrite:
        raise click.UsageError(f"{file} exists; choose another name, or replace it with --overwrite")


def _words(given: dict[str, Any]) -> set[str]:
    """What must not be in the file."""
    from aiida_slhmc.sharing.private import private_words

    both = sorted(set(given["private"]) & set(given["allow"]))
    if both:
        raise click.UsageError(f"--private and --allow are both given for {', '.join(both)}")
    return private_words(given["allow"]) | set(given["private"])


def _say_left_out(left_out: LeftOut) -> None:
    """What is not in the archive."""
    for what, counts in (("nodes", left_out.nodes), ("files of processes", left_out.files)):
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        echo.echo(f"{what} left out: {listed or 'none'}")
    for reason in left_out.reasons[:SHOWN]:
        echo.echo(f"  {reason}")
    if len(left_out.reasons) > SHOWN:
        echo.echo(f"  ... and {len(left_out.reasons) - SHOWN} more")
    for what, count in left_out.found.most_common():
        echo.echo(f"because of {what}: {count}")
    if any(what.startswith("'") for what in left_out.found):
        echo.echo("a word in quotes that is no secret of yours can stay: --allow WORD")
    for name, count in sorted(left_out.incomplete.items()):
        echo.echo_warning(f"{count} calls of {name} cannot be executed again, because an input was left out")

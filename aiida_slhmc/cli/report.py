"""``aiida-slhmc report``: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click
from aiida.cmdline.utils import echo

from aiida_slhmc.cli.completion import runs
from aiida_slhmc.cli.errors import with_database
from aiida_slhmc.cli.examples import examples

__all__ = ("command",)


@click.command(
    "report",
    epilog=examples(
        "aiida-slhmc report 123",
        "aiida-slhmc report 123 --output run.html --follow",
    ),
)
@click.argument("pk", metavar="PK", shell_complete=runs)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; by default slhmc-PK.html in the current folder. A file that is there is replaced.",
)
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Write it again and again until the run has ended.")
@click.option(
    "--interval",
    type=click.FloatRange(min=1.0),
    default=20.0,
    show_default=True,
    help="With --follow: seconds between two pages; the page in the browser loads itself anew as often.",
)
@with_database
def command(pk: str, output: Path | None, is_followed: bool, interval: float) -> None:
    """Write the report of a run, or of a single epoch, as one HTML file.

    PK is the pk or UUID of a SlhmcWorkChain or an EpochWorkChain, which may run, have finished or have failed. The file
    opens from disk and needs no network. The profile's data are only read.

    Exit status: 0 if the file was written, 1 if not (with the reason), 2 for a wrong option.
    """
    # late: plotly and the analysis take seconds to import, and help needs neither
    from aiida import orm

    from aiida_slhmc.cli.references import load_node
    from aiida_slhmc.report.html.collect import load_run
    from aiida_slhmc.report.html.follow import follow, write_report

    run = load_run(load_node(pk, orm.ProcessNode, "PK").pk)
    path = output or Path(f"slhmc-{run.pk}.html")
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}; make it first", param_hint="--output")
    if not is_followed:
        write_report(run, path)
        echo.echo_success(f"wrote {path}")
        return
    echo.echo_report(
        f"writing {path} every {interval:g} s until the run has ended; Ctrl-C stops the writing, not the run"
    )
    try:
        follow(run.pk, path, interval=interval, say=echo.echo_warning)
    except KeyboardInterrupt:
        echo.echo_report(f"stopped; {path} shows the run as it was now")
        return
    echo.echo_success(f"the run has ended; {path} is complete")

"""`aiida-slhmc status`: where runs stand, from any terminal, whoever works on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aiida_slhmc.cli.completion import runs
from aiida_slhmc.cli.errors import with_database
from aiida_slhmc.cli.examples import examples

if TYPE_CHECKING:
    from aiida import orm
    from rich.console import Console

    from aiida_slhmc.report.run_state import RunState

__all__ = ("command",)


@click.command(
    "status",
    epilog=examples(
        "aiida-slhmc status                  # all that was launched, the newest last",
        "aiida-slhmc status 1234 --follow    # one run, live; Ctrl-C ends the display, not the run",
    ),
)
@click.argument("pk", required=False, metavar="[PK]", shell_complete=runs)
@click.option("-f", "--follow", is_flag=True, help="Show the run until it ends.")
@click.option("-n", "--last", type=click.IntRange(min=1), default=20, show_default=True, help="List so many runs.")
@click.option("-u", "--unfinished", is_flag=True, help="List only runs that have not ended.")
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Look every … seconds."
)
@with_database
def command(pk: str | None, follow: bool, last: int, unfinished: bool, interval: float) -> None:
    """Show where runs stand.

    Without a PK they are listed: all that `launch` began. With one, it and what it called are shown, with
    the last line of its jobs' output where that is on this machine. It reads the database only, so it works on a run of
    the daemon or of another terminal, and can be ended and begun again at will.
    """
    from aiida_slhmc.cli.output import make_console

    console = make_console()
    if pk is None:
        if follow:
            raise click.UsageError("--follow needs the PK of a run")
        _list_runs(console, last, unfinished)
        return
    _show_run(console, pk, follow, interval)


def _list_runs(console: Console, last: int, unfinished: bool) -> None:
    from aiida_slhmc.cli.output import make_table
    from aiida_slhmc.report.process_state import find_launched

    runs = find_launched(last, only_unfinished=unfinished)
    if not runs:
        which = " unfinished" if unfinished else ""
        click.echo(f"There are no{which} runs in this profile; `aiida-slhmc launch` begins one.")
        return
    headers = ("PK", "what", "begun", "state", "epoch", "labels", "acceptance", "force RMSE (meV/Å)")
    console.print(make_table("Runs", headers, [_row(run) for run in runs], left=4))


def _row(run: orm.WorkChainNode) -> tuple[object, ...]:
    from aiida_slhmc.report.process_state import state_in_words
    from aiida_slhmc.report.run_state import EPOCH, SLHMC, read_run_state

    assert run.pk is not None, "it is in the database"
    about = (
        run.pk,
        str(run.process_label).removesuffix("WorkChain"),
        run.ctime.astimezone().strftime("%Y-%m-%d %H:%M"),
    )
    if run.process_label not in (SLHMC, EPOCH):
        return *about, state_in_words(run), None, None, None, None
    state = read_run_state(run.pk)
    words = state_in_words(run) if run.paused else state.activity or state_in_words(run)
    return *about, words, *_numbers(state)


def _numbers(state: RunState) -> tuple[object, ...]:
    """Epoch, labels, acceptance and error of the last epoch."""
    from aiida_slhmc.cli.output import number

    epoch = state.epochs[-1] if state.epochs else None
    return (
        epoch.epoch if epoch else None,
        f"{state.labels}/{state.label_budget}",
        number(epoch.acceptance if epoch else None, ".2f"),
        number(epoch.force_rmse if epoch else None, ".1f"),
    )


def _show_run(console: Console, reference: str, follow: bool, interval: float) -> None:
    from aiida import orm

    from aiida_slhmc.cli.references import load_node
    from aiida_slhmc.report.database import read_patiently
    from aiida_slhmc.report.display import watch

    pk = load_node(reference, orm.ProcessNode, "PK").pk
    assert pk is not None, "it is in the database"
    try:
        watch(pk, is_alive=lambda: follow, console=console, interval=interval)
    except KeyboardInterrupt:
        click.echo(f"\nThe display has ended, the run goes on: aiida-slhmc status {pk} --follow")
        return
    # anew: the display may have outlived a connection to the database
    run = read_patiently(lambda: load_node(pk, orm.ProcessNode, "PK"), interval=interval, say=click.echo)
    _say_ending(run, console)


def _say_ending(run: orm.ProcessNode, console: Console) -> None:
    """The epochs with their warnings, how it ended, and what can be done."""
    from aiida_slhmc.report.display import epoch_table
    from aiida_slhmc.report.process_state import state_in_words
    from aiida_slhmc.report.run_state import SLHMC

    if not run.is_terminated:
        click.echo("It is not finished; `--follow` shows it live. If nothing moves: `verdi daemon status`.")
        return
    is_run = run.process_label == SLHMC
    if is_run and "history" in run.outputs:
        console.print(epoch_table(run.outputs.history.get_dict()))
    ending = state_in_words(run) + (f": {run.exit_message}" if run.exit_message else "")
    click.echo(f"{'run' if is_run else run.process_label} {run.pk}: {ending}")
    if not run.is_finished_ok:
        click.echo(f"why: verdi process report {run.pk}")
        if is_run:
            click.echo(f"go on: aiida-slhmc launch slhmc --restart {run.pk}")
    elif not is_run:
        click.echo(f"what it gave: verdi node show {run.pk}")

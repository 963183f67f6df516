"""`aiida-slhmc chain`: the decisions of a run or an epoch, cycle by cycle and walker by walker."""

from __future__ import annotations

import csv
import sys

import click

from aiida_slhmc.cli.completion import runs
from aiida_slhmc.cli.errors import with_database
from aiida_slhmc.cli.examples import examples

__all__ = ("command",)

HEADERS = {
    "epoch": "epoch",
    "cycle": "cycle",
    "walker": "walker",
    "n_steps": "steps",
    "delta_h": "ΔH\neV",
    "integration": "integration\neV",
    "mismatch": "mismatch\neV",
    "probability": "probability",
    "decision": "decision",
    "energy": "energy\neV",
    "volume": "volume\nÅ³",
    "force_rmse": "force RMSE\nmeV/Å",
}
FORMS = {
    **dict.fromkeys(("delta_h", "integration", "mismatch"), "+.4f"),
    "probability": ".3f",
    "energy": ".4f",
    "volume": ".3f",
}


@click.command(
    "chain",
    epilog=examples("aiida-slhmc chain 1234 --walker 0", "aiida-slhmc chain 1234 --csv > chain.csv"),
)
@click.argument("pk", metavar="PK", shell_complete=runs)
@click.option("-w", "--walker", type=click.IntRange(min=0), help="Only this walker.")
@click.option("-e", "--epoch", type=click.IntRange(min=0), help="Only the epoch of this number.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV, with all digits.")
@with_database
def command(pk: str, walker: int | None, epoch: int | None, as_csv: bool) -> None:
    """Show the decisions of a run or an epoch.

    For each cycle and walker: ΔH of the proposal, its parts (`integration`, the error of the integrator, and
    `mismatch`, that of the model), the probability to accept it, what was decided, and energy and volume of the state
    that the chain is in afterwards: where it was rejected, the one before once more. PK is that of the run or epoch.
    """
    from aiida import orm

    from aiida_slhmc.cli.chain_rows import read_rows
    from aiida_slhmc.cli.output import make_console, make_table
    from aiida_slhmc.cli.references import load_node

    rows = read_rows(load_node(pk, orm.WorkChainNode, "PK"))
    chosen = [row for row in rows if walker in (None, row["walker"]) and epoch in (None, row["epoch"])]
    if not chosen:
        what = "no decisions of this walker and epoch" if rows else "no decisions yet"
        raise ValueError(f"{pk} has {what}")
    if as_csv:
        writer = csv.DictWriter(sys.stdout, list(chosen[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen)
        return
    make_console().print(make_table(None, HEADERS.values(), [_cells(row) for row in chosen]))


def _cells(row: dict[str, object]) -> list[str | None]:
    """The row as text."""
    from aiida_slhmc.cli.output import number

    values = dict(row)
    values["decision"] = "diverged" if row["diverged"] else "accepted" if row["accepted"] else "rejected"
    error = row["force_rmse"]
    values["force_rmse"] = None if error is None else f"{1000 * float(str(error)):.1f}"
    cells = []
    for name in HEADERS:
        value = values[name]
        cells.append(number(value, FORMS[name]) if isinstance(value, float) and name in FORMS else _text(value))
    return cells


def _text(value: object) -> str | None:
    return None if value is None else str(value)

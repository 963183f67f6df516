"""Make every number of an archive anew from the archive alone, and say whether anything differs.

    python examples/rebuild_study.py study.aiida [--folder build/rebuilt]

needs this package and the archive: no profile of AiiDA's, no daemon, no VASP, LAMMPS or MACE. Calculation functions
are executed again and their outputs compared; what they do not cover (labels and what their calculations said, the
chain from decision to decision) is checked; the study's tables are written anew to the folder. Exit status: 0 where
all is equal, 1 where something differs, 2 where the file is no archive.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# when it is imported, AiiDA makes an empty configuration folder where there is none, and warns of it
warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")

from aiida_slhmc.audit.archive import ArchiveError  # noqa: E402
from aiida_slhmc.audit.rebuild import Verdict, rebuild  # noqa: E402

# differences that are printed; all of them are in verdict.json
SHOWN = 20


def run(archive: Path, folder: Path, console: Console) -> Verdict:
    """Rebuild, with a bar for each part of the work."""
    columns = (TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # what is no terminal gets no bars
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        return rebuild(archive, folder, show)


def report(verdict: Verdict, folder: Path, console: Console) -> None:
    """The verdict in words."""
    for difference in verdict.differences[:SHOWN]:
        console.print(f"DIFFERS  {difference}", soft_wrap=True, highlight=False, markup=False)
    if len(verdict.differences) > SHOWN:
        console.print(f"... and {len(verdict.differences) - SHOWN} more, see {folder / 'verdict.json'}")
    for note in verdict.notes:
        console.print(f"note     {note}", soft_wrap=True, highlight=False, markup=False)
    lines = {
        "functions executed again": verdict.executed,
        "links and files checked": verdict.links,
        "not made in the archive, to be believed": verdict.given,
        "calls not executed again": verdict.skipped,
    }
    for what, counts in lines.items():
        console.print(f"{what}: {_listed(counts)}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"outputs equal: {verdict.outputs_equal}, largest relative difference of numbers {verdict.largest:.1g} "
        f"(equal up to {verdict.tolerance:.0g})",
        highlight=False,
    )
    if verdict.written:
        console.print(f"tables and pictures, rebuilt: {len(verdict.written)} files in {folder}", highlight=False)
    words = "everything is equal" if verdict.is_good else f"{len(verdict.differences)} differences"
    if not verdict.executed:
        words += "; nothing of this package could be executed again"
    console.print(f"VERDICT: {words}", highlight=False)


def _listed(counts: Counter[str]) -> str:
    """The sum, and the counts by name."""
    names = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({names})" if names else "none"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("build/rebuilt"))
    arguments = parser.parse_args()
    # a log file has no width of its own
    console = Console(width=None if sys.stdout.isatty() else 110)
    try:
        verdict = run(arguments.archive, arguments.folder, console)
    except ArchiveError as error:
        console.print(str(error), soft_wrap=True, highlight=False, markup=False)
        return 2
    report(verdict, arguments.folder, console)
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(main())

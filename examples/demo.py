"""Run `nvt_slhmc.py` with a live display, then show its table and picture. Started by `make demo`.

If an earlier demo was interrupted, it is gone on with: its finished epochs are kept, and the stored proposals and
labels of the interrupted epoch are taken over. ``--fresh`` starts anew. With ``--daemon`` the profile's daemon runs it,
whether the display is there or not; started again, the display goes on with the run that is under way.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from aiida import load_profile, orm
from aiida.engine.daemon.client import get_daemon_client
from rich.console import Console

from aiida_slhmc.cli.chain_rows import read_rows
from aiida_slhmc.report.display import epoch_table, watch
from aiida_slhmc.report.figure import plot_history
from aiida_slhmc.report.run_state import find_runs
from aiida_slhmc.workflows.children import find_children

SCRIPT = Path(__file__).parent / "nvt_slhmc.py"


def start(profile: str, log: Path, restart: orm.WorkChainNode | None, to_daemon: bool) -> subprocess.Popen[bytes]:
    """Start the example in a process of its own, its output in a log file; or let that submit it."""
    command = [str(Path(sys.executable).parent / "verdi"), "-p", profile, "run", str(SCRIPT)]
    if to_daemon:
        command += ["--submit"]
    if restart is not None:
        command += ["--restart", str(restart.pk)]
    with log.open("wb") as handle:
        return subprocess.Popen(command, stdout=handle, stderr=subprocess.STDOUT)


def wait_for_run(process: subprocess.Popen[bytes], known: set[int]) -> int | None:
    """The pk of the run that *process* makes, or None if it ends before it has made one."""
    while True:
        new = [node.pk for node in find_runs() if node.pk not in known]
        if new:
            return new[-1]
        if process.poll() is not None:
            return None
        time.sleep(0.5)


def follow(arguments: argparse.Namespace, log: Path, console: Console) -> orm.WorkChainNode | None:
    """Start the run, or go on with an interrupted one, and show it until nobody works on it any more."""
    runs = find_runs()
    is_interrupted = bool(runs) and not runs[-1].is_finished_ok and not arguments.fresh
    earlier = runs[-1] if is_interrupted else None
    if arguments.daemon and earlier is not None and not earlier.is_terminated:
        console.print(f"Following run {earlier.pk}, which the daemon has.")
        watch(earlier.pk, is_alive=is_daemon_running, console=console)
        return earlier
    if earlier is not None:
        console.print(f"Going on from run {earlier.pk}, which was interrupted.")
    process = start(arguments.profile, log, earlier, arguments.daemon)
    try:
        pk = wait_for_run(process, {node.pk for node in runs})
        if arguments.daemon:
            process.wait()
        if pk is not None:
            is_alive = is_daemon_running if arguments.daemon else lambda: process.poll() is None
            watch(pk, is_alive=is_alive, console=console)
        process.wait()
    finally:
        process.terminate()
    return orm.load_node(pk) if pk is not None else None


def is_daemon_running() -> bool:
    """Whether the profile's daemon is there; its workers may be busy or just starting."""
    return bool(get_daemon_client().is_daemon_running)


def write_summary(run: orm.WorkChainNode, folder: Path) -> None:
    """Leave what the table shows, and the uuids, in summary.json, and the picture and all decisions beside it."""
    outputs = {name: getattr(run.outputs, name).uuid for name in ("model", "history", "trajectory")}
    outputs |= {name: [node.uuid for node in getattr(run.outputs, name).values()] for name in ("walkers", "datasets")}
    history = run.outputs.history.get_dict()
    children = find_children(run, "epoch_")
    for epoch in history["epochs"]:
        node = children.get(f"epoch_{epoch['epoch']:04d}")  # none where an earlier run has done it
        if node is not None:
            epoch |= {"uuid": node.uuid, "model": node.inputs.model.uuid, "dataset": node.outputs.dataset.uuid}
    stand_in = run.outputs.walkers.walker_0.base.attributes.get("stand_in")
    content = {"uuid": run.uuid, "pk": run.pk, "target_is_a_stand_in": stand_in, "outputs": outputs, **history}
    (folder / "summary.json").write_text(json.dumps(content, indent=1))
    rows = read_rows(run)
    with (folder / "chain.csv").open("w", newline="") as handle:
        table = csv.DictWriter(handle, rows[0])
        table.writeheader()
        table.writerows(rows)
    title = f"SLHMC of rutile TiO₂, run {run.pk}" + (" (target: stand-in, not DFT)" if stand_in else "")
    plot_history(history, folder / "epochs.png", title=title)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--folder", type=Path, default=Path("build/demo"))
    parser.add_argument("--fresh", action="store_true", help="start anew even if an earlier demo was interrupted")
    parser.add_argument("--daemon", action="store_true", help="let the profile's daemon run it")
    arguments = parser.parse_args()
    load_profile(arguments.profile)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    # a log file has no width of its own
    console = Console(width=None if sys.stdout.isatty() else 110)
    log = arguments.folder / "run.log"
    run = follow(arguments, log, console)
    if run is None or not run.is_finished_ok:
        console.print(f"The run did not finish: {run and (run.exit_message or run.process_state)}; see {log}")
        return 1
    write_summary(run, arguments.folder)
    report(run, arguments, console)
    return 0


def report(run: orm.WorkChainNode, arguments: argparse.Namespace, console: Console) -> None:
    """The table, where the picture is, and how to look further."""
    console.print(epoch_table(run.outputs.history.get_dict()))
    home, verdi = os.environ.get("AIIDA_PATH", ""), f".venv/bin/verdi -p {arguments.profile}"
    console.print(f"picture: {arguments.folder / 'epochs.png'}    numbers: {arguments.folder / 'summary.json'}")
    console.print("The target was a stand-in for VASP, not DFT. To look further:")
    prefix = f"  export AIIDA_PATH={home}\n" if home else ""
    console.print(
        f"{prefix}  {verdi} process status {run.pk}            # the tree of everything that ran\n"
        f"  {verdi} node show {run.outputs.model.pk}                 # the fine-tuned model\n"
        f"  {verdi} run examples/query.py {run.pk}      # who trained, proposed and accepted what",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())

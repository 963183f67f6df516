"""Running a builder in this process, handing it to the daemon, or running it in a child while this process shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.manage import get_manager
from rich.console import Console

from aiida_slhmc.report.display import watch
from aiida_slhmc.workflows.launch import launch

__all__ = ("finish", "run_here", "run_watched", "submit")

STARTED = "started"
INTERVAL = 0.5  # s
PATIENCE = 30.0  # s, for the child to end the run
LINES = 20  # of the child's output that are shown


def submit(builder: ProcessBuilder, *, take_over: bool) -> None:
    """Hand *builder* to the daemon."""
    node = launch(builder, to_daemon=True, take_over=take_over)
    click.echo(f"submitted {node.process_label} {node.pk}; `verdi daemon status` tells whether a daemon runs")
    _say_where_to_look(node)


def run_here(builder: ProcessBuilder, *, take_over: bool) -> orm.ProcessNode:
    """Run *builder* in this process and wait."""
    return launch(builder, take_over=take_over, announce=_announce)


def run_watched(arguments: list[str], console: Console) -> orm.ProcessNode:
    """Run `aiida-slhmc launch` with these arguments in a child, and show the run while it lives.

    AiiDA's engine keeps the process in which it runs busy, so the display has one of its own. What the child prints is
    kept in a file unless the run ends well.

    :raises ValueError: if the child ends before it has begun a run, with what it said.
    :raises click.ClickException: on Ctrl-C, which kills the run, with how to go on.
    """
    profile = get_manager().get_profile()
    assert profile is not None, "the command has loaded one"
    handle, name = tempfile.mkstemp(prefix="aiida-slhmc-", suffix=".log")
    log = Path(name)
    command = [sys.executable, "-m", "aiida_slhmc.cli", "-p", profile.name, "launch", *arguments, "--no-display"]
    with os.fdopen(handle, "wb") as stream:
        child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        pk = _wait_for_pk(child, log)
        watch(pk, is_alive=lambda: child.poll() is None, console=console)
        child.wait()
    except KeyboardInterrupt:
        _end(child)
        raise click.ClickException(_interrupted(log)) from None
    finally:
        _end(child)
    node = orm.load_node(pk)
    assert isinstance(node, orm.ProcessNode)
    if node.is_finished_ok:
        log.unlink()
    else:
        click.echo(f"{_tail(log)}\n… the end of {log}", err=True)
    return node


def finish(node: orm.ProcessNode) -> None:
    """Say how the process has ended.

    :raises click.ClickException: if it did not end well.
    """
    name = f"{node.process_label} {node.pk}"
    if node.is_finished_ok:
        click.echo(f"{name} finished")
        _say_where_to_look(node)
        return
    if node.is_finished:
        how = f"ended with exit status {node.exit_status}: {(node.exit_message or 'no message').rstrip('.')}"
    elif node.is_terminated:
        how = f"was {node.process_state.value if node.process_state else 'ended'}"
    else:
        how = "was left unfinished: the process that worked on it has died"
    again = f", go on with `{_restart_of(node)}`" if _is_run(node) else ""
    raise click.ClickException(f"{name} {how}. Look at `verdi process report {node.pk}`{again}")


def _wait_for_pk(child: subprocess.Popen[bytes], log: Path) -> int:
    """The pk that the child announces.

    :raises ValueError: if it ends before.
    """
    while True:
        has_ended = child.poll() is not None
        pk = _announced(log)
        if pk is not None:
            return pk
        if has_ended:
            text = log.read_text(errors="replace").strip()
            log.unlink()
            raise ValueError(f"the run could not be started:\n{text}")
        time.sleep(INTERVAL)


def _announced(log: Path) -> int | None:
    found = re.search(rf"^{STARTED} \S+ (\d+)$", log.read_text(errors="replace"), re.MULTILINE)
    return int(found[1]) if found else None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let the child end, which kills the run; after a Ctrl-C it is about to do so by itself."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _interrupted(log: Path) -> str:
    """What was stopped, and how to go on."""
    pk = _announced(log)
    if pk is None:
        return "stopped before a run had begun"
    node: Any = orm.load_node(pk)
    return f"stopped {node.process_label} {pk}; what it has stored is kept. Go on with `{_restart_of(node)}`"


def _restart_of(node: orm.ProcessNode) -> str:
    return f"aiida-slhmc launch slhmc --restart {node.pk}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").rstrip().splitlines()[-LINES:])


def _announce(node: orm.ProcessNode) -> None:
    click.echo(f"{STARTED} {node.process_label} {node.pk}")
    sys.stdout.flush()


def _say_where_to_look(node: orm.ProcessNode) -> None:
    if _is_run(node):
        click.echo(f"aiida-slhmc status {node.pk} --follow    # the run, live\naiida-slhmc chain {node.pk}")
    else:
        click.echo(f"aiida-slhmc status {node.pk} --follow")


def _is_run(node: orm.ProcessNode) -> bool:
    return node.process_label == "SlhmcWorkChain"

"""Writing the page, once or again and again while the run lives."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from aiida import orm

from aiida_slhmc.report.database import read_patiently
from aiida_slhmc.report.html.collect import load_run, read_report
from aiida_slhmc.report.html.page import render

__all__ = ("follow", "write_report")


def write_report(run: orm.WorkChainNode, path: Path, *, refresh: float | None = None) -> None:
    """Write the page of a run as it stands.

    :param refresh: after how many seconds the page loads itself anew; only while the run lives.
    :raises OSError: if the file cannot be written.
    """
    report = read_report(run)
    _replace(path, render(report, refresh=None if report.state.is_terminated else refresh))


def follow(
    pk: int,
    path: Path,
    *,
    interval: float,
    on_written: Callable[[bool], None] | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Write the page every *interval* seconds until the run has ended, or somebody stops it (Ctrl-C).

    The last page does not load itself anew. While the database does not answer, the page stays as it is.

    :param on_written: is told after each page whether it was the last.
    :param say: is told in a sentence that the database does not answer, and that it does again.
    """
    try:
        while True:
            is_last = read_patiently(lambda: _write(pk, path, interval), interval=interval, say=say)
            if on_written is not None:
                on_written(is_last)
            if is_last:
                return
            time.sleep(interval)
    except KeyboardInterrupt:
        write_report(load_run(pk), path)
        raise


def _write(pk: int, path: Path, interval: float) -> bool:
    """Write the page; returns whether it is the last."""
    run = load_run(pk)
    # whatever ends after this is on a next page
    is_last: bool = run.is_terminated
    write_report(run, path, refresh=interval)
    return is_last


def _replace(path: Path, text: str) -> None:
    """Put *text* into the file at once: a browser that reads it meanwhile sees the old page or the new one, whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # a new file, so that the umask says who may read it
        with partial.open("x", encoding="utf-8") as stream:
            stream.write(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

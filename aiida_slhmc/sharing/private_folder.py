"""A place for what is not yet fit for others, which does not outlast its use, and the way out of it."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ("move", "private_folder")

# what ends a program from outside, as far as it is told so
ENDS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder that nobody else can read, and that is removed in the end, also after a signal to end.

    It is where temporary files are, and not beside the target, whose folder others may read.
    """
    with _exceptions_for_signals(), tempfile.TemporaryDirectory(prefix="slhmc-sharing-") as folder:
        yield Path(folder)


def move(source: Path, path: Path) -> None:
    """Give the file *source* the name *path*: all of it or nothing, also from one disk to another."""
    part = path.with_name(f".{path.name}.part")
    try:
        shutil.move(source, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _exceptions_for_signals() -> Iterator[None]:
    """A signal to end becomes an exception, after which folders are removed; by itself it would leave them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is one that was not set by Python
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

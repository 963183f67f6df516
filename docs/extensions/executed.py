"""The directive ``executed``: shell commands that are run when the page is read, with what they print below them.

    ```{executed}
    :shown: 20
    verdi -p tutorial process list --all
    ```

The blocks of a page run one after the other in the clone, with an empty AiiDA configuration folder of the page's own
(its place is the setting ``executed_home``); variables that one sets are there in the next, as in a reader's shell. One
that fails stops the build. Of long outputs the first lines are shown, up to ``shown``; with ``lines`` only those that
match this regular expression. How many are left out is said below them.

What was printed is kept in ``executed_cache`` under a hash of the page, of the files beside it and of the package, so
that a build runs nothing again unless one of these has changed. Libraries that run single commands (programoutput) keep
each output by itself, which cannot work where a command needs the files and the profile of the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

CLONE = Path(__file__).parents[2]
# what the commands of a page may read; the page's own folder is added
SOURCES = ("aiida_slhmc", "examples")
# s; a block that takes longer hangs. The tutorial's run has two minutes of work, and the machine may have other work
TIMEOUT = 1800

logger = logging.getLogger(__name__)


class Session:
    """The commands of one page, and what they printed: run, or taken from the file of an earlier build."""

    def __init__(self, page: Path, home: Path, cache: Path) -> None:
        self.home = home
        self.file = cache / f"{page.stem}-{digest(page)}.json"
        self.stored: list[str] | None = json.loads(self.file.read_text()) if self.file.is_file() else None
        self.outputs: list[str] = []
        if self.stored is None:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)

    def output_of(self, commands: str) -> str:
        """What the next block prints.

        :raises ExtensionError: if one of its commands fails, with what it printed.
        """
        if self.stored is not None:
            return self.stored.pop(0)
        started = time.perf_counter()
        text = execute(commands, self.home)
        logger.info("executed in %.0f s: %s", time.perf_counter() - started, commands.splitlines()[0])
        self.outputs.append(text)
        return text

    def close(self) -> None:
        """Keep the outputs for the next build."""
        if self.stored is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(self.outputs, indent=1))


# of the pages that are being read
SESSIONS: dict[Path, Session] = {}


def execute(commands: str, home: Path) -> str:
    """Run *commands* in the clone; returns what they print, errors included.

    :raises ExtensionError: where one of them fails, or takes longer than ``TIMEOUT`` and is ended with all it started.
    """
    variables = home / "variables.sh"
    # `a` exports all variables, so that they are among those that are kept
    start = f". {shlex.quote(str(variables))}" if variables.is_file() else ":"
    script = f"set -aeo pipefail\n{start}\n{commands}\nexport -p > {shlex.quote(str(variables))}"
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=CLONE,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        raise ExtensionError(f"after {TIMEOUT} s still running:\n{commands}\n{output}") from error
    if process.returncode:
        raise ExtensionError(f"exit status {process.returncode} of\n{commands}\n{output}")
    # paths of this machine say nothing to a reader, who has another folder for what the commands write
    return output.replace(str(home), "$AIIDA_PATH").replace(str(CLONE), "…/aiida-slhmc").rstrip()


def environment(home: Path) -> dict[str, str]:
    """That of the build, with its interpreter first on the path, a profile folder of the page's own and no colours."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {
        "PATH": path,
        "AIIDA_PATH": str(home),
        "COLUMNS": "110",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }


def digest(page: Path) -> str:
    """A hash of all that decides what the commands of a page print."""
    total = hashlib.sha256()
    for path in sources_of(page):
        total.update(os.path.relpath(path, CLONE).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def sources_of(page: Path) -> list[Path]:
    """The page, the files in the folder that has its name, the package and the examples."""
    folders = [page.with_suffix(""), *(CLONE / name for name in SOURCES)]
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [page, *sorted(path for path in files if "__pycache__" not in path.parts)]


class ExecutedDirective(SphinxDirective):
    """The directive; its content is run by bash."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"shown": directives.positive_int, "lines": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The commands, and what they print."""
        commands = "\n".join(self.content)
        page = Path(self.env.doc2path(self.env.docname))
        for source in sources_of(page):
            self.env.note_dependency(str(source))
        output = session_of(self.env.app, page).output_of(commands)
        blocks = [nodes.literal_block(commands, commands, language="bash")]
        if output:
            text = shortened(output, self.options.get("shown", 40), self.options.get("lines", ""))
            blocks.append(nodes.literal_block(text, text, language="none", classes=["executed-output"]))
        return list(blocks)


def shortened(output: str, n_lines: int, pattern: str = "") -> str:
    """The first lines of an output that match *pattern*, with a word on how many are left out."""
    lines = output.splitlines()
    shown = [line for line in lines if re.search(pattern, line)][:n_lines]
    left_out = len(lines) - len(shown)
    return "\n".join([*shown, f"… ({left_out} more lines)"] if left_out else shown)


def session_of(app: Sphinx, page: Path) -> Session:
    """The session of the page that is being read."""
    if page not in SESSIONS:
        build = CLONE / "build" / "executed"
        # not where a reader of the page has a profile, because it is emptied
        home = Path(app.config.executed_home or build / page.stem)
        SESSIONS[page] = Session(page, home, Path(app.config.executed_cache or build))
    return SESSIONS[page]


def close_session(app: Sphinx, doctree: nodes.document) -> None:
    """When the page has been read to its end without an error."""
    session = SESSIONS.pop(Path(doctree["source"]), None)
    if session is not None:
        session.close()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register directive and settings; blocks depend on each other, so pages are not read in parallel."""
    app.add_config_value("executed_home", "", "")
    app.add_config_value("executed_cache", "", "")
    app.add_directive("executed", ExecutedDirective)
    app.connect("doctree-read", close_session)
    return {"parallel_read_safe": False}

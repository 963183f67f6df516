"""What the documentation's own extensions make of the code."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from docs_pages import DOCS

pytest.importorskip("myst_parser", reason="the documentation's packages are not installed: pip install -e '.[docs]'")
pytest.importorskip("sphinx")
# conf.py does the same
sys.path.insert(0, str(DOCS / "extensions"))

import executed
from docstrings import as_markdown, description
from parameter_tables import comments_of, table_of
from sphinx.errors import ExtensionError

from aiida_slhmc.kernel.parameters import Trajectory
from aiida_slhmc.worker.fine_tune_options import LoraParameters
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

CONF = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_parser", "aiida.sphinxext", "process_reference", "parameter_tables", "needs", "executed"]
executed_home = {home!r}
executed_cache = {cache!r}
"""


@pytest.fixture
def build(tmp_path):
    """Function: build one page of Markdown, a warning being an error; returns the text of the page."""

    def make(content: str) -> str:
        source, out = tmp_path / "source", tmp_path / "out"
        source.mkdir(exist_ok=True)
        folders = {"home": str(tmp_path / "home"), "cache": str(tmp_path / "cache")}
        (source / "conf.py").write_text(CONF.format(extensions=str(DOCS / "extensions"), **folders))
        (source / "index.md").write_text(f"# Page\n\n{content}\n")
        # in a process of its own, since Sphinx can be set up only once in each
        command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "text", str(source), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return (out / "index.txt").read_text()

    return make


def test_roles_become_code_and_fields_are_left_out():
    """Fails where reStructuredText would stand in a page of Markdown."""
    text = "See :func:`~package.module.name` and :class:`Other`, ``code``.\n\n    :raises ValueError: never.\n"
    assert description(text) == "See `name` and `Other`, `code`."
    assert as_markdown(":mod:`~a.b`") == "`b`"
    assert description(None) == ""


def test_table_of_options_has_defaults_and_comments():
    """Fails where an option is missing, or loses the comment that explains it."""
    table = table_of(FineTuneParameters)
    assert "| `patience` | `int` | `10` | epochs without a better validation loss before training stops |" in table
    assert "| `gate_factor` | `float \\| None` | `1.5` |" in table
    assert "| `amsgrad` | `bool` | `true` |" in table
    assert table.count("\n") == len(FineTuneParameters.__dataclass_fields__) + 1
    assert comments_of(LoraParameters) == {"alpha": "the addition is scaled by alpha/rank"}


def test_table_without_comments_has_no_column_for_them():
    """Fails where a class that is explained by its docstring gets an empty column."""
    assert table_of(Trajectory).splitlines()[0] == "| name | type | default |"
    assert "| `n_steps` | `int` | required |" in table_of(Trajectory)


def test_process_directive_shows_ports_and_exit_codes(build):
    """Fails where a reader does not learn what goes in, what comes out, and how it may fail."""
    text = build("```{aiida-workchain} EpochWorkChain\n:module: aiida_slhmc.workflows.epoch\n:hide-nondb-inputs:\n```")
    for words in ("n_cycles", "Cycles; each costs K labels", "next_trajectory", "ERROR_TOO_MANY_FAILED_LABELS", "402"):
        assert words in text


def test_commands_are_run_in_order_and_shown_with_their_output(build, tmp_path):
    """Fails where a block does not see the files of the one before it, or its output is not shown."""
    page = '```{executed}\necho 6 > "$AIIDA_PATH/n"\n```\n\n```{executed}\necho $((7 * $(cat "$AIIDA_PATH/n")))\n```'
    assert "\n   42" in build(page)
    assert len(list((tmp_path / "cache").glob("index-*.json"))) == 1


def test_variables_are_kept_between_blocks(tmp_path: Path):
    """Fails where a reader, who has one shell, sees other commands than those that the build needs."""
    executed.execute("N='a b'; M=$(echo \\$N)", tmp_path)
    assert executed.execute('echo "$N, $M"', tmp_path) == "a b, $N"


def test_an_unchanged_page_is_not_run_again(tmp_path):
    """Fails where outputs of an earlier build are not taken, or are taken although the page has changed."""
    page, log = tmp_path / "page.md", tmp_path / "log"
    command = f"echo again >> {log}; echo output"

    def outputs() -> str:
        session = executed.Session(page, tmp_path / "home", tmp_path / "cache")
        text = session.output_of(command)
        session.close()
        return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executed, "CLONE", tmp_path)
        patch.setattr(executed, "SOURCES", ())
        page.write_text("one")
        assert outputs() == outputs() == "output"
        assert log.read_text().count("again") == 1
        page.write_text("two")
        outputs()
    assert log.read_text().count("again") == 2


def test_a_command_that_fails_stops_the_build(tmp_path: Path):
    """Fails where a tutorial that does not work would be published."""
    with pytest.raises(ExtensionError, match=r"exit status 1 of[\s\S]*no such thing"):
        executed.execute("echo no such thing; false; echo never", tmp_path)
    with pytest.raises(ExtensionError):
        executed.execute("false | cat", tmp_path)


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path, monkeypatch):
    """Fails where a build waits for ever, or leaves something running."""
    monkeypatch.setattr(executed, "TIMEOUT", 2)
    with pytest.raises(ExtensionError, match=r"still running[\s\S]*before"):
        executed.execute(f"echo before; (sleep 5; echo late > {tmp_path / 'late'}); echo after", tmp_path)
    time.sleep(5)
    assert not (tmp_path / "late").exists()


def test_long_outputs_are_cut_with_a_word():
    """Fails where lines disappear in silence."""
    assert executed.shortened("1\n2\n3\n4", 2) == "1\n2\n… (2 more lines)"
    assert executed.shortened("1\n2", 2) == "1\n2"
    assert executed.shortened("a 1\nb\na 2", 9, r"^a") == "a 1\na 2\n… (1 more lines)"


def test_a_part_without_its_package_says_so(build):
    """Fails where pages cannot be built without an extra, or leave something out in silence."""
    text = build("```{needs} no_such_package\nhidden\n```\n\n```{needs} json\nshown\n```")
    assert "without the package no_such_package" in text
    assert "hidden" not in text
    assert "shown" in text

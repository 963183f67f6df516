"""The command `report`, and the file that it writes, once or again and again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import ProcessState
from click.testing import CliRunner
from html_examples import MadeUpRun, Recipe

from aiida_slhmc.cli.report import command
from aiida_slhmc.report.html import follow as following
from aiida_slhmc.report.html.follow import follow, write_report


@pytest.fixture(scope="module")
def run(computer) -> MadeUpRun:
    return MadeUpRun(Recipe(n_epochs=1), computer)


def test_help_has_an_example() -> None:
    """Fails where a user has to guess how it is called."""
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert "aiida-slhmc report 123 --output run.html --follow" in result.output


@pytest.mark.parametrize("by", ["pk", "uuid"])
def test_writes_one_file(run, tmp_path: Path, by: str) -> None:
    """Fails where there is no page, or anything beside it."""
    path = tmp_path / "run.html"
    path.write_text("an old one")
    result = CliRunner().invoke(command, [str(getattr(run.node, by)), "--output", str(path)])
    assert result.exit_code == 0, result.output
    assert f"wrote {path}" in result.output
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]


def test_name_of_the_file_by_default(run, tmp_path: Path, monkeypatch) -> None:
    """Fails where the file is not in the current folder under the name that help promises."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(command, [str(run.node.pk)]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"slhmc-{run.node.pk}.html"]


def test_errors_of_users_are_sentences(run, tmp_path: Path) -> None:
    """Fails where a wrong node, a wrong folder or a wrong interval is answered by a traceback, or by success."""
    chain = run.epochs[0].called[1]
    cases = [
        (["999999999"], 1, "there is no node"),
        ([str(chain.pk)], 1, "a report is made of a SlhmcWorkChain"),
        ([str(run.node.pk), "-o", str(tmp_path / "none" / "x.html")], 2, "there is no folder"),
        ([str(run.node.pk), "-o", str(tmp_path)], 2, "is a directory"),
        ([str(run.node.pk), "--interval", "0"], 2, "not in the range"),
    ]
    for arguments, status, words in cases:
        result = CliRunner().invoke(command, arguments)
        assert (result.exit_code, words in result.output) == (status, True), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
    assert list(tmp_path.iterdir()) == []


def test_follow_ends_with_the_run(computer, tmp_path: Path, monkeypatch) -> None:
    """Fails where it stops before the run, does not show the end, or leaves a page that loads itself for ever."""
    run = MadeUpRun(Recipe(n_epochs=1, n_cycles=1, status=None), computer)
    path, seen = tmp_path / "run.html", []

    def sleep(_: float) -> None:
        seen.append('http-equiv="refresh" content="5"' in path.read_text())
        if len(seen) == 2:
            node = orm.load_node(run.node.pk)
            node.set_process_state(ProcessState.FINISHED)
            node.set_exit_status(0)

    monkeypatch.setattr(following.time, "sleep", sleep)
    written: list[bool] = []
    follow(run.node.pk, path, interval=5.0, on_written=written.append)
    assert seen == [True, True]
    assert written == [False, False, True]
    text = path.read_text()
    assert 'http-equiv="refresh"' not in text
    assert ">finished</span>" in text


def test_who_may_read_the_page_is_the_users_choice(run, tmp_path: Path) -> None:
    """Fails where a page is readable for others although the umask forbids it."""
    before = os.umask(0o077)
    try:
        write_report(run.node, tmp_path / "own.html")
        os.umask(0o022)
        write_report(run.node, tmp_path / "all.html")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("own.html", "all.html")] == [0o600, 0o644]


def test_interrupted_follow_leaves_a_page_at_rest(computer, tmp_path: Path, monkeypatch) -> None:
    """Fails where Ctrl-C is a traceback, or leaves a page that waits for news that will never come."""
    run = MadeUpRun(Recipe(n_epochs=1, n_cycles=1, status=None), computer)
    path = tmp_path / "run.html"

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", interrupt)
    result = CliRunner().invoke(command, [str(run.node.pk), "--output", str(path), "--follow"])
    assert result.exit_code == 0, result.output
    assert "stopped" in result.output
    assert 'http-equiv="refresh"' not in path.read_text()


def test_a_page_that_cannot_be_written_leaves_nothing_behind(run, tmp_path: Path, monkeypatch) -> None:
    """Fails where an error in the middle leaves half a page, or harms the one that was there."""
    path = tmp_path / "run.html"
    path.write_text("an old one")

    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="no space left"):
        write_report(run.node, path)
    assert [other.name for other in tmp_path.iterdir()] == ["run.html"]
    assert path.read_text() == "an old one"

"""The command itself: it finds its commands, loads the profile that is asked for, and answers mistakes in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from aiida.manage import get_manager
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from aiida_slhmc.cli.errors import with_database
from aiida_slhmc.cli.root import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str) -> None:
    """Fails where a command is announced that is not there, or nobody is told how to use it."""
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"aiida-slhmc {name}" in result.output.partition("Options:")[2]


@pytest.mark.usefixtures("aiida_profile")
def test_profile() -> None:
    """Fails where the profile option is not understood, as with a context that is not AiiDA's."""
    profile = get_manager().get_profile()
    assert profile is not None
    assert CliRunner().invoke(main, ["-p", profile.name, "status"]).exit_code == 0
    result = CliRunner().invoke(main, ["-p", "nobodys", "status"])
    assert result.exit_code == 2
    assert "`nobodys` does not exist" in result.output


def test_unknown_command() -> None:
    result = CliRunner().invoke(main, ["lunch"])
    assert result.exit_code == 2
    assert "No such command 'lunch'" in result.output


@pytest.mark.parametrize("arguments", ["status", "chain 1", "report 1", "launch slhmc --restart 1", "setup --no-check"])
def test_without_a_profile(arguments: str, tmp_path: Path) -> None:
    """Fails where a new user sees AiiDA's configuration as an error, or help and forms need a profile."""
    command = [sys.executable, "-W", "ignore", "-m", "aiida_slhmc.cli", *arguments.split()]
    environment = os.environ | {"AIIDA_PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "there is no AiiDA profile to work in: `verdi presto` makes one" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("aiida_profile")
def test_a_database_that_is_down() -> None:
    """Fails where it gives a traceback, or a defect of ours none."""
    errors: list[Exception] = [OperationalError("SELECT 1", {}, Exception("connection refused")), KeyError("defect")]

    @click.command()
    @with_database
    def command() -> Any:
        raise errors.pop(0)

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert "database does not answer (connection refused); `verdi status`" in result.output
    assert isinstance(CliRunner().invoke(command).exception, KeyError)

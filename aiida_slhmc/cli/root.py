"""The command itself; each of its commands is imported when it is called, so that help and completion are quick."""

from __future__ import annotations

from importlib import import_module

import click
from aiida.cmdline.groups.verdi import VerdiContext
from aiida.cmdline.params import options, types

import aiida_slhmc

__all__ = ("main",)

# name of the command: module of this folder in which it is, as `command`
COMMANDS = {
    "chain": "chain",
    "dataset": "dataset",
    "launch": "launch",
    "model": "model",
    "report": "report",
    "setup": "setup",
    "status": "status",
}


class LazyGroup(click.Group):
    """Finds its commands by name in :data:`COMMANDS`."""

    # AiiDA's option for the profile keeps it there
    context_class = VerdiContext

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"aiida_slhmc.cli.{COMMANDS[cmd_name]}").command
        assert isinstance(command, click.Command)
        return command


@click.group("aiida-slhmc", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@options.PROFILE(type=types.ProfileParamType(load_profile=True), expose_value=False)
@click.version_option(aiida_slhmc.__version__, prog_name="aiida-slhmc")
def main() -> None:
    """Self-learning hybrid Monte Carlo with MACE and a density functional of your choice."""

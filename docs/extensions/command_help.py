"""The directive ``command-help``: what ``--help`` prints, for a click command and all that is below it.

    ```{command-help} aiida_slhmc.cli.root:main
    ```

sphinx-click takes help texts for reStructuredText, which these are not: they are written for the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

WIDTH = 100


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The path of each command, from the top, with its help."""
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from helps(found, child, context)


class CommandHelpDirective(SphinxDirective):
    """The directive; its argument is ``module:attribute`` of the command at the top."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A section for each command, with its help as it is on a terminal."""
        module, attribute = self.arguments[0].split(":")
        command = getattr(import_module(module), attribute)
        found: list[nodes.Node] = []
        for path, text in helps(command, command.name or attribute):
            section = nodes.section(ids=[nodes.make_id(path)], names=[path])
            section += nodes.title(text=path)
            section += nodes.literal_block(text, text, language="none")
            found.append(section)
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelpDirective)
    return {"parallel_read_safe": True}

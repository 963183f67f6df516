"""Docstrings and help texts of this package as Markdown."""

from __future__ import annotations

import inspect
import re

__all__ = ("as_markdown", "description")

# :class:`~package.module.Name` and its kind; the name after the tilde's last dot is what is shown
ROLE = re.compile(r":(?:py:)?[a-z]+:`(~?)([^`]+)`")
# where the fields of arguments, results and errors begin
FIELDS = re.compile(r"^:(param|returns?|raises)\b", re.MULTILINE)


def description(docstring: str | None) -> str:
    """A docstring up to its fields; empty where there is none."""
    return as_markdown(FIELDS.split(inspect.cleandoc(docstring or ""))[0].rstrip())


def as_markdown(text: str) -> str:
    """Roles become plain code; everything else that docstrings here use is the same in both languages."""
    return ROLE.sub(_code, text).replace("``", "`")


def _code(match: re.Match[str]) -> str:
    tilde, name = match.groups()
    return f"`{name.rsplit('.', 1)[-1] if tilde else name}`"

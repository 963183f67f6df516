"""The directive ``parameters``: a dataclass of options as a table of names, defaults and the comments behind them.

    ```{parameters} aiida_slhmc.worker.fine_tune_parameters.FineTuneParameters
    ```

The options of this package are frozen dataclasses, explained by comments at the end of their lines or by the docstring
of the class. autodoc reads neither, so that the tables would have to be kept up by hand.
"""

from __future__ import annotations

import inspect
import io
import json
import re
import tokenize
from dataclasses import MISSING, Field, fields
from importlib import import_module
from typing import Any, ClassVar

from docstrings import as_markdown, description
from docutils import nodes
from process_reference import parsed
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ENTRY = re.compile(r"\s*(\w+)\s*:")


def comments_of(cls: type) -> dict[str, str]:
    """The comment at the end of the line of each field, by the field's name; inherited fields included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if "__dataclass_fields__" in vars(base):
            found |= _comments_in(inspect.getsource(base))
    return found


def _comments_in(source: str) -> dict[str, str]:
    lines = source.splitlines()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    entries = {number: ENTRY.match(line) for number, line in enumerate(lines, start=1)}
    return {entry[1]: comments[number] for number, entry in entries.items() if entry and number in comments}


def default_of(field: Field[Any]) -> str:
    """The default as a user would write it in YAML; that of a group of options is left to the group's own table."""
    if field.default_factory is not MISSING:
        value = field.default_factory()
        return "see there" if hasattr(value, "__dataclass_fields__") else _yaml(value)
    return "required" if field.default is MISSING else _yaml(field.default)


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"`{json.dumps(value)}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def table_of(cls: type) -> str:
    """The dataclass as a Markdown table; without a column of comments where no field has one."""
    comments = comments_of(cls)
    rows = [
        (f"`{field.name}`", _type_of(field), default_of(field), comments.get(field.name, "")) for field in _own(cls)
    ]
    n_columns = 4 if any(row[3] for row in rows) else 3
    head = ("name", "type", "default", "meaning")[:n_columns]
    lines = [head, ("---",) * n_columns, *(row[:n_columns] for row in rows)]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _own(cls: type) -> list[Field[Any]]:
    return [field for field in fields(cls) if field.init]


def _type_of(field: Field[Any]) -> str:
    text = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    return f"`{text}`"


def _escaped(cell: str) -> str:
    return as_markdown(cell).replace("|", "\\|")


class ParametersDirective(SphinxDirective):
    """The directive; its argument is the import path of the dataclass."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """What the class says of itself, then the table."""
        module, name = self.arguments[0].rsplit(".", 1)
        cls = getattr(import_module(module), name)
        self.env.note_dependency(inspect.getsourcefile(cls) or "")
        return parsed(self, f"{description(cls.__doc__)}\n\n{table_of(cls)}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("parameters", ParametersDirective)
    return {"parallel_read_safe": True}

"""Settings that people write in YAML: read, checked with a hint at what was meant, and written with comments."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from aiida_slhmc.kernel.checks import hint_at

__all__ = (
    "Option",
    "Settings",
    "Values",
    "check_settings",
    "commented_yaml",
    "nested_model",
    "read_value",
    "read_yaml",
)

Values = dict[str, Any]
WIDTH = 100


class Settings(BaseModel):
    """Base of all settings: a key that nobody knows is an error."""

    model_config = ConfigDict(extra="forbid")


AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclass(frozen=True)
class Option:
    """Marks a field that is an option of the command line, too; its name is the field's, unless given.

    ``complete`` names the function of :mod:`aiida_slhmc.cli.completion` that offers values.
    """

    name: str | None = None
    complete: str | None = None

    def flag(self, field: str) -> str:
        """The option of this *field*, with its dashes."""
        return self.name or "--" + field.replace("_", "-")


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does, and not as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> Values:
    """The mapping in a YAML file.

    :raises ValueError: if it is no YAML, or no mapping.
    """
    content = read_value(path.read_text(), str(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a mapping of keys to values is needed, as `--dump` writes it")
    return content


def read_value(text: str, where: str) -> Any:
    """A value in YAML.

    :param where: what the text is, for the message.
    :raises ValueError: if it is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is no YAML: {error}") from error


def check_settings(kind: type[AnySettings], values: Values) -> AnySettings:
    """The settings.

    :raises ValueError: with a line for each key that is unknown, with the nearest one, missing or wrong.
    """
    try:
        return kind.model_validate(_without_empty(kind, values))
    except ValidationError as error:
        lines = dict.fromkeys(_sentence(kind, problem) for problem in error.errors())
        raise ValueError("\n".join(lines)) from None


def commented_yaml(kind: type[Settings], values: Mapping[str, Any]) -> str:
    """The *values* as YAML, with a comment for each key; keys without a value or default are commented out.

    A required key without a value is left empty, so that the text is a form to fill in.
    """
    return "\n".join(_lines(kind, values)) + "\n"


def nested_model(field: FieldInfo) -> type[Settings] | None:
    """The model of a field that has one."""
    return _as_model(field.annotation)


def _item_model(field: FieldInfo) -> type[Settings] | None:
    """The model of the entries of a field that is a list of them."""
    return _as_model(get_args(field.annotation)[0]) if get_origin(field.annotation) is list else None


def _as_model(kind: Any) -> type[Settings] | None:
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _without_empty(kind: type[Settings], values: Values) -> Values:
    """A mapping under which nothing is left but comments is empty, and a required key without a value is missing."""
    kept = {}
    for name, value in values.items():
        field = kind.model_fields.get(name)
        nested = nested_model(field) if field else None
        if nested is not None:
            kept[name] = _without_empty(nested, value) if isinstance(value, dict) else ({} if value is None else value)
        elif value is not None or field is None or not field.is_required():
            kept[name] = value
    return kept


def _sentence(kind: type[Settings], problem: Any) -> str:
    path = [part for part in problem["loc"] if not _is_branch(part)]
    name = ".".join(map(str, path))
    if problem["type"] == "extra_forbidden":
        return f"no key '{name}'; {hint_at(path[-1], _model_at(kind, path[:-1]).model_fields)}"
    if problem["type"] == "missing":
        return f"`{name}` is missing{_how_to_give(kind, path)}"
    return f"{name}: {problem['msg']}, not {problem['input']!r}"


def _how_to_give(kind: type[Settings], path: list[Any]) -> str:
    """Which option sets this field, if any does."""
    marks = [mark for mark in _model_at(kind, path[:-1]).model_fields[path[-1]].metadata if isinstance(mark, Option)]
    return f": give {marks[0].flag(path[-1])}, or the key in the file" if marks else ""


def _is_branch(part: Any) -> bool:
    """Whether it is the name of a type, which pydantic puts behind the name of a field of several types."""
    return part in ("int", "str", "float")


def _model_at(kind: type[Settings], path: list[Any]) -> type[Settings]:
    for name in path:
        if isinstance(name, int):  # an entry of a list
            continue
        field = kind.model_fields[name]
        nested = nested_model(field) or _item_model(field)
        assert nested is not None, "only a model refuses keys"
        kind = nested
    return kind


def _lines(kind: type[Settings], values: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, field in kind.model_fields.items():
        text = field.description or ""
        lines += textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
        lines += _entry(name, field, values)
    for name in values:
        if name not in kind.model_fields:
            lines += _yaml({name: values[name]})
    return lines


def _entry(name: str, field: FieldInfo, values: Mapping[str, Any]) -> list[str]:
    nested = nested_model(field)
    if nested is not None:
        # YAML reads a key with nothing but comments below it as null; we do not mind, see _without_empty
        return [f"{name}:", *("  " + line for line in _lines(nested, values.get(name) or {}))]
    item = _item_model(field)
    if item is not None and values.get(name):
        return [f"{name}:", *(line for entry in values[name] for line in _item_lines(item, entry))]
    if name in values:
        return _yaml({name: values[name]})
    if field.is_required():
        return [f"{name}:  # <- needed"]
    default = field.get_default(call_default_factory=True)
    return [f"# {name}:"] if default is None else _yaml({name: default})


def _item_lines(kind: type[Settings], values: Mapping[str, Any]) -> list[str]:
    return ["  -", *("    " + line for line in _lines(kind, values))]


def _yaml(values: Values) -> list[str]:
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=WIDTH).rstrip().splitlines()

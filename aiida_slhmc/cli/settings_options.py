"""Options of the command line from a model of settings, and back to its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from aiida_slhmc.cli.completion import COMPLETIONS
from aiida_slhmc.cli.settings import Option, Settings, Values, nested_model, read_value

__all__ = ("SET_OPTION", "collect_values", "put", "settings_options")

SET_OPTION = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other key of the file, nested ones with dots, the value as YAML: --set overrides.fine_tune.max_epochs=20",
)


def settings_options(kind: type[Settings]) -> Callable[[Any], Any]:
    """Decorator: an option for each field of *kind* that is marked with Option, also in nested models."""

    def decorate(function: Any) -> Any:
        for path, field, mark in reversed(list(_marked(kind))):
            about = _type_of(field) | ({"shell_complete": COMPLETIONS[mark.complete]} if mark.complete else {})
            flag, parameter = mark.flag(path[-1]), _parameter(path)
            function = click.option(flag, parameter, help=field.description, default=None, **about)(function)
        return function

    return decorate


def collect_values(kind: type[Settings], given: Values, assignments: tuple[str, ...], base: Values) -> Values:
    """The file's values, *base*, with those of the options and of ``--set`` on them.

    :param given: the command's arguments by their names; those of *kind* are taken out of it.
    :raises ValueError: for an assignment that is none.
    """
    values = dict(base)
    for path, _, _ in _marked(kind):
        value = given.pop(_parameter(path), None)
        if value is not None and value != ():
            put(values, path, list(value) if isinstance(value, tuple) else value)
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator or not name:
            raise ValueError(f"--set takes KEY=VALUE, not '{assignment}'")
        put(values, tuple(name.split(".")), read_value(text, f"--set {name}"))
    return values


def put(values: Values, path: tuple[str, ...], value: Any) -> None:
    """Set a nested key; mappings on the way are copied.

    :raises ValueError: where there is a value in the place of a mapping.
    """
    *parents, last = path
    for depth, name in enumerate(parents):
        inner = values.get(name)
        if inner is not None and not isinstance(inner, dict):
            raise ValueError(f"{'.'.join(parents[: depth + 1])} is {inner!r}, and has no keys below it")
        values[name] = dict(inner or {})
        values = values[name]
    values[last] = value


def _marked(kind: type[Settings], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo, Option]]:
    for name, field in kind.model_fields.items():
        nested = nested_model(field)
        if nested is not None:
            yield from _marked(nested, (*path, name))
        for mark in field.metadata:
            if isinstance(mark, Option):
                yield (*path, name), field, mark


def _parameter(path: tuple[str, ...]) -> str:
    """Name of the command's argument; parameters of click have no dots."""
    return "__".join(path)


def _type_of(field: FieldInfo) -> dict[str, Any]:
    """Click's type, for the types that marked fields have."""
    kind: Any = field.annotation
    if get_origin(kind) is list:
        return {"multiple": True}
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    choices = [part for part in parts if part is not NoneType]
    if len(choices) > 1:  # a reference to a node: a number or a text
        return {"type": str}
    if get_origin(choices[0]) is Literal:
        return {"type": click.Choice(get_args(choices[0]))}
    return {"type": {int: int, float: float, str: str}.get(_plain(choices[0]), str)}


def _plain(kind: Any) -> Any:
    """The type itself, of one that has annotations."""
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind

"""Port validators that several calculations and work chains need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aiida import orm

__all__ = ("check_options", "checked_by")

Validator = Callable[[Any, Any], str | None]


def checked_by(read: Callable[[dict[str, Any]], Any]) -> Validator:
    """A validator of a Dict: what *read* says of its content by raising ValueError, or TypeError for a wrong type."""

    def validate(node: orm.Dict, _: Any) -> str | None:
        try:
            read(node.get_dict())
        except (TypeError, ValueError) as error:
            return str(error)
        return None

    return validate


def check_options(process: Any, options: Mapping[str, Any]) -> str | None:
    """Why the calculation *process* would refuse these ``metadata.options``, or None."""
    port = process.spec().inputs["metadata"]["options"]
    error = port.validate(port.pre_process(dict(options)))
    return None if error is None else f"options: {error.message}"

"""What `aiida-slhmc launch slhmc --restart` takes beside the run: how much further, and where the jobs run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from aiida.engine import ProcessBuilder

from aiida_slhmc.cli.settings import Values

__all__ = ("restart_arguments", "restart_builder", "restart_settings")

# key of the file: argument of get_restart_builder
ALLOWED = {
    "overrides.label_budget": "label_budget",
    "python_code": "python_code",
    "python_options": "python_options",
    "target_options.code": "target_code",
    "target_options.options": "target_options",
}
# part of a run: option of its code
CODES = {"proposal": "--python-code", "fine_tune": "--python-code", "target": "--code"}
OPTIONS = ("python_options", "target_options.options")


def restart_settings(values: Values) -> Values:
    """The given *values* by the keys in :data:`ALLOWED`.

    :raises ValueError: for any other key, or options that are no mapping.
    """
    found = dict(_leaves(values))
    others = sorted(set(found) - set(ALLOWED))
    if others:
        raise ValueError(
            "--restart takes all settings from the run itself, except --label-budget, --python-code, --code and, by "
            f"--set, {' and '.join(OPTIONS)}: leave out {', '.join(others)}"
        )
    for name in OPTIONS:
        if not isinstance(found.get(name, {}), dict):
            raise ValueError(f"{name} is a mapping of options of jobs, not {found[name]!r}")
    return found


def restart_builder(pk: str, settings: Values) -> ProcessBuilder:
    """All inputs of the restart.

    :raises ValueError: where the run or a code is not there, or the run cannot be gone on with.
    """
    from aiida import orm

    from aiida_slhmc.cli.references import load_code, load_node
    from aiida_slhmc.workflows.restart import get_restart_builder

    given = {ALLOWED[key]: value for key, value in settings.items()}
    for name in ("python_code", "target_code"):
        if name in given:
            given[name] = load_code(given[name], name)
    builder: Any = get_restart_builder(load_node(pk, orm.WorkChainNode, "--restart"), **given)
    for part, option in CODES.items():
        if builder[part].get("code") is None:
            raise ValueError(f"run {pk} has no code for its {part}, as one that was imported: give {option}")
    return cast(ProcessBuilder, builder)


def restart_arguments(pk: str, settings: Values) -> list[str]:
    """The options of the command that say the same; JSON is YAML."""
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    return ["--restart", pk, *words]


def _leaves(values: Values, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots and their values; options of jobs are one value."""
    for name, value in values.items():
        key = prefix + name
        if isinstance(value, dict) and key not in OPTIONS:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value

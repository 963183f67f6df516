"""What the tab key offers: models, codes, runs and data sets of the profile, and the names that the package knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = ("COMPLETIONS", "codes", "data_sets", "files", "functionals", "models", "protocols", "runs", "targets")

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
# of the newest runs and models
LAST = 50


def _offering(find: Callable[[click.Context], Iterable[tuple[str, str]]]) -> Complete:
    """Completion with values and their descriptions; nothing is offered where the profile cannot be read."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = list(find(ctx))
        except Exception:  # whatever it is, an error would be written into the line that is typed
            return []
        return [CompletionItem(value, help=about) for value, about in found if value.startswith(incomplete)]

    return complete


def _models(_: click.Context) -> Iterable[tuple[str, str]]:
    """Labels; PKs where there is none."""
    orm = _orm()
    from aiida_slhmc.data.mace_model import MaceModelData

    query = orm.QueryBuilder().append(MaceModelData, tag="model", project=["id", "label"])
    rows = query.order_by({"model": {"id": "desc"}}).limit(LAST).all()
    return [(label or str(pk), f"model {pk}") for pk, label in rows]


def _codes(_: click.Context) -> Iterable[tuple[str, str]]:
    orm = _orm()
    query = orm.QueryBuilder().append(orm.Computer, tag="computer", project="label")
    query.append(orm.AbstractCode, with_computer="computer", project=["label", "attributes.input_plugin"])
    return sorted({(f"{code}@{computer}", str(plugin or "")) for computer, code, plugin in query.all()})


def _runs(_: click.Context) -> Iterable[tuple[str, str]]:
    _orm()
    from aiida_slhmc.report.process_state import find_launched, state_in_words

    return [(str(run.pk), f"{run.process_label} {state_in_words(run)}") for run in reversed(find_launched(LAST))]


def _data_sets(_: click.Context) -> Iterable[tuple[str, str]]:
    _orm()
    from aiida_slhmc.sharing.data_set import data_set_names

    return [(name, "") for name in data_set_names()]


def _protocols(_: click.Context) -> Iterable[tuple[str, str]]:
    from aiida_slhmc.workflows.inputs import protocol_names

    return [(name, "") for name in protocol_names()]


def _targets(_: click.Context) -> Iterable[tuple[str, str]]:
    from aiida_slhmc.targets.base import target_names

    return [(name, "") for name in target_names()]


def _functionals(ctx: click.Context) -> Iterable[tuple[str, str]]:
    """Those that the target knows by name; a target of another package has no list that could be read."""
    from aiida_slhmc.targets.options import read_settings

    target = ctx.params.get("target") or "vasp"
    return [(name, str(target)) for name in read_settings(target)["functionals"]]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell, which knows the files."""
    return [CompletionItem(incomplete, type="file")]


def _orm() -> Any:
    from aiida import orm

    from aiida_slhmc.cli.errors import load_database

    load_database()
    return orm


models, codes, runs, data_sets = (_offering(find) for find in (_models, _codes, _runs, _data_sets))
protocols, targets, functionals = (_offering(find) for find in (_protocols, _targets, _functionals))
COMPLETIONS: dict[str, Complete] = {
    "codes": codes,
    "data_sets": data_sets,
    "files": files,
    "functionals": functionals,
    "models": models,
    "protocols": protocols,
    "runs": runs,
    "targets": targets,
}

"""MACE imported without what a job never uses, which halves the time before the job begins.

At their top, MACE's and e3nn's modules import packages for plots, metrics, signals and compilation, together as large
as all the rest. While MACE is imported, :func:`import_mace` puts empty modules in their places; afterwards they can be
imported as ever. What stays without them in this process is MACE's own training and evaluation loop, its plots and its
compiled mode, so only the programs of jobs call this, and nothing that is imported as a library.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

__all__ = ("import_mace",)

# a class of theirs is a base class, or is named in a signature
REPLACED = ("torchmetrics", "mace.cli.visualise_train", "scipy.signal")
# MACE knows how to do without
REFUSED = ("torch._dynamo",)
IMPORTED = ("mace", "mace.data", "mace.modules", "mace.tools")


class _Empty(ModuleType):
    """A module in which every public name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def import_mace() -> None:
    """Import MACE and torch; does nothing where MACE is imported already.

    Where a version of them does need one of these packages, they are imported in full.
    """
    if "mace" in sys.modules:
        return
    import torch  # noqa: F401  in full, before anything is replaced

    placeholders: dict[str, ModuleType | None] = {name: _Empty(name) for name in REPLACED} | dict.fromkeys(REFUSED)
    placeholders = {name: module for name, module in placeholders.items() if name not in sys.modules}
    sys.modules.update(placeholders)  # type: ignore[arg-type]
    try:
        _import()
    except (ImportError, AttributeError, TypeError):
        _remove(placeholders)
        _import()
    finally:
        _remove(placeholders)


def _import() -> None:
    for name in IMPORTED:
        importlib.import_module(name)


def _remove(placeholders: dict[str, ModuleType | None]) -> None:
    for name, module in placeholders.items():
        if name in sys.modules and sys.modules[name] is module:
            del sys.modules[name]

"""What the adapters share in reading their settings and a user's target options."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import yaml
from aiida import orm

from aiida_slhmc.kernel.checks import check_names

__all__ = ("check_options", "make_mesh", "read_settings", "settings_of")


def read_settings(target: str) -> dict[str, Any]:
    """Content of the YAML file of this *target*."""
    return yaml.safe_load((files("aiida_slhmc.targets") / f"{target}.yaml").read_text())


def settings_of(settings: dict[str, Any], functional: str) -> dict[str, Any]:
    """The entry of *functional* in the settings.

    :raises ValueError: if there is none.
    """
    known = settings["functionals"]
    if functional not in known:
        raise ValueError(f"functional must be one of {', '.join(known)}, not '{functional}'")
    return dict(known[functional])


def check_options(
    options: dict[str, Any], known: Iterable[str], *, required: Iterable[str] = (), mappings: Iterable[str] = ()
) -> None:
    """Refuse target options that do not exist, the lack of those *required*, and *mappings* that are none.

    :raises ValueError: with the nearest name, or with what is missing or wrong.
    """
    check_names(options, known, "target option")
    missing = sorted(set(required) - set(options))
    if missing:
        raise ValueError(f"target_options lacks {', '.join(missing)}")
    for name in mappings:
        if not isinstance(options.get(name) or {}, dict):
            raise ValueError(f"target option {name} must be a dictionary, not {options[name]!r}")


def make_mesh(mesh: Any, offset: Any = None) -> orm.KpointsData:
    """A mesh of k-points.

    :param mesh: three whole numbers; *offset*: three of 0 or 0.5, in units of the mesh's spacing, by default 0.
    :raises ValueError: for anything else.
    """
    kpoints = orm.KpointsData()
    shift = [0.0, 0.0, 0.0] if offset is None else offset
    try:
        kpoints.set_kpoints_mesh(mesh, offset=shift)
        if set(shift) - {0.0, 0.5}:
            raise ValueError(f"the offset is {shift}")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"kpoints_mesh takes three whole numbers, kpoints_offset 0 or 0.5 in each direction: {error}"
        ) from error
    return kpoints

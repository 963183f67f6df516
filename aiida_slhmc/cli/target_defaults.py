"""The options of a target with what its YAML file decides written out, so that a dumped launch stays what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ase.io import read

from aiida_slhmc.cli.settings import Values
from aiida_slhmc.targets.options import read_settings, settings_of

__all__ = ("target_written_out",)

# what VASP's adapter derives from magnetic moments, DFT+U or spin-orbit coupling
SPIN_TAGS = ("ISPIN", "LDAU", "LSORBIT", "LNONCOLLINEAR")


def target_written_out(target: str, functional: str, options: Values, structure: int | str) -> Values:
    """The *options* of the adapter called *target*, which give the same inputs, with its file's settings among them.

    Those of an adapter from another package are returned as they are.

    :param structure: file or node; its elements are needed where there are settings for each.
    :raises ValueError: if the target has no such functional.
    """
    if target not in WRITERS or not all(isinstance(options.get(name) or {}, dict) for name in MAPPINGS):
        # the adapter says what is wrong
        return options
    settings = read_settings(target)
    found = options | WRITERS[target](settings, functional, options, structure)
    return found | {"options": settings["options"] | (options.get("options") or {})}


MAPPINGS = ("incar", "parameters", "potential_mapping", "kinds", "arguments", "options")


def _vasp(settings: Values, functional: str, options: Values, _: Any) -> Values:
    own = {str(tag).upper(): value for tag, value in (options.get("incar") or {}).items()}
    tags = settings["common"] | settings_of(settings, functional)
    if options.get("magnetic_moments"):
        tags.pop("ISPIN", None)
    has_spin = bool(options.get("magnetic_moments") or options.get("hubbard_u"))
    if "LWAVE" not in own and (has_spin or any(own.get(tag, tags.get(tag)) != tags.get(tag) for tag in SPIN_TAGS)):
        tags.pop("LWAVE", None)
    return {
        "incar": tags | own,
        "kpoints_mesh": options.get("kpoints_mesh") or [1, 1, 1],
        "potential_mapping": settings["potential_mapping"] | (options.get("potential_mapping") or {}),
    }


def _quantum_espresso(settings: Values, functional: str, options: Values, _: Any) -> Values:
    layers = (settings["common"], settings_of(settings, functional), options.get("parameters") or {})
    found: Values = {"parameters": _merged([_named(layer, str.lower) for layer in layers])}
    if options.get("kpoints_mesh") is None:
        found["kpoints_mesh"] = settings["kpoints_mesh"]
        offset = options.get("kpoints_offset")
        found["kpoints_offset"] = settings["kpoints_offset"] if offset is None else offset
    return found


def _cp2k(settings: Values, functional: str, options: Values, structure: int | str) -> Values:
    layers = (settings["common"], settings_of(settings, functional), options.get("parameters") or {})
    kinds = options.get("kinds") or {}
    return {
        "parameters": _merged([_named(layer, str.upper) for layer in layers]),
        "kinds": {name: settings["kind"] | (kinds.get(name) or {}) for name in _elements(structure)} | _rest(kinds),
    }


def _rest(kinds: Values) -> Values:
    """Kinds that are no mapping, for the adapter to refuse."""
    return {name: value for name, value in kinds.items() if not isinstance(value, dict)}


def _ase(settings: Values, functional: str, options: Values, _: Any) -> Values:
    preset = settings["functionals"].get(functional)
    if preset is None or options.get("calculator") not in (None, preset["calculator"]):
        return {}
    own = options.get("arguments") or {}
    return {"calculator": preset["calculator"], "arguments": preset["method"] | preset["settings"] | own}


WRITERS: dict[str, Callable[[Values, str, Values, int | str], Values]] = {
    "vasp": _vasp,
    "quantum_espresso": _quantum_espresso,
    "cp2k": _cp2k,
    "ase": _ase,
}


def _named(content: Any, inner: Callable[[str], str], depth: int = 0) -> Any:
    """Names as the plugin wants them: sections in capitals, what is in them by *inner*."""
    if not isinstance(content, Mapping):
        return content
    name = inner if depth else str.upper
    return {name(str(key)): _named(value, inner, depth + 1) for key, value in content.items()}


def _merged(layers: list[Values]) -> Values:
    """The layers on each other, key by key; None, which removes a key, is kept for the adapter."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            before = result.get(key)
            if isinstance(value, dict) and isinstance(before, dict):
                result[key] = _merged([before, value])
            else:
                result[key] = value
    return result


def _elements(structure: int | str) -> list[str]:
    """Elements of a file or a node, sorted."""
    if Path(str(structure)).is_file():
        atoms: Any = read(str(structure))
        return sorted(set(atoms.get_chemical_symbols()))
    from aiida_slhmc.cli.errors import load_database
    from aiida_slhmc.cli.references import load_structure

    load_database()
    return sorted(load_structure(structure).get_symbols_set())

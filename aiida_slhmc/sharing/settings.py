"""How a label was computed: the engine's settings, k-points and potentials, read off the calculation it came from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aiida import orm

from aiida_slhmc.audit.graph import inputs_of
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.sharing.readers import job_of
from aiida_slhmc.targets.vasp_policy import RECOVERABLE_TAGS

__all__ = ("Settings", "differences", "read_settings")

# keys: parameters or calculator, kpoints, potentials, version; what is there depends on the engine
Settings = dict[str, Any]

# INCAR tags of how the work is divided and what is written: no energy depends on them
WITHOUT_EFFECT = {"kpar", "ncore", "npar", "nsim", "lplane", "lwave", "lcharg", "nwrite", "lorbit", "lvtot", "lvhar"}
# namespaces of potentials, basis sets and files of the engines' calculations
POTENTIALS = ("potential", "pseudos", "basissets", "files", "file", "pseudo")
# attributes by which a potential is known, the first that it has; then those that tell it from another of its name
NAMES = ("title", "full_name", "filename", "name", "label")
DIGESTS = ("sha512", "md5", "sha256")
DIGITS_OF_DIGEST = 16


def read_settings(label: ConfigurationData) -> Settings | None:
    """The settings of the calculation that *label* came from, None where the calculation is not here.

    Left out is what moves no energy: the way to the ground state, which a recovery may change, and how the work was
    divided among processors.
    """
    job = job_of(label)
    if job is None:
        return None
    inputs = inputs_of(job)
    settings: Settings = {}
    for name in ("parameters", "calculator"):
        if isinstance(inputs.get(name), orm.Dict):
            settings[name] = _relevant(inputs[name].get_dict(), job)
    if isinstance(inputs.get("kpoints"), orm.KpointsData):
        settings["kpoints"] = _kpoints(inputs["kpoints"])
    potentials = {
        label.replace("__", "."): _identity(node)
        for label, node in inputs.items()
        if label.partition("__")[0] in POTENTIALS and isinstance(node, orm.Data)
    }
    if potentials:
        settings["potentials"] = {name.partition(".")[2] or name: text for name, text in sorted(potentials.items())}
    # as it comes back from a database or a file
    return dict(json.loads(json.dumps(settings, sort_keys=True, default=str)))


def differences(first: Settings | None, second: Settings | None) -> list[str]:
    """Where two labels' settings differ, such as ``parameters.encut: 520 or 400``."""
    if first is None or second is None:
        return [] if first == second else ["the settings of some are known, of others not"]
    left, right = dict(_flat(first)), dict(_flat(second))
    names = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
    return [f"{name}: {left.get(name, 'not set')} or {right.get(name, 'not set')}" for name in names]


def _relevant(parameters: dict[str, Any], job: orm.CalcJobNode) -> dict[str, Any]:
    """Settings without those that move no energy: INCAR tags by name, others by the policy of their engine."""
    kind = str(job.process_type).rpartition(":")[2]
    if kind.startswith("vasp."):
        left_out = RECOVERABLE_TAGS | WITHOUT_EFFECT
        tags = {str(key).lower(): value for key, value in parameters.items() if value is not None}
        return {key: value for key, value in sorted(tags.items()) if key not in left_out}
    if kind.startswith("quantumespresso."):
        from aiida_slhmc.targets.quantum_espresso_policy import RECOVERABLE_KEYS as ELECTRONS_KEYS

        return _drop(parameters, {("ELECTRONS", key) for key in ELECTRONS_KEYS})
    if kind == "cp2k":
        from aiida_slhmc.targets.cp2k_policy import RECOVERABLE_KEYS, SCF, merge_parameters

        return _drop(merge_parameters(parameters), {tuple(f"{SCF}/{key}".split("/")) for key in RECOVERABLE_KEYS})
    return parameters


def _drop(values: dict[str, Any], paths: Iterable[tuple[str, ...]], place: tuple[str, ...] = ()) -> dict[str, Any]:
    """Nested dictionaries without the entries at these *paths*."""
    known, kept = set(paths), {}
    for key, value in values.items():
        here = (*place, str(key))
        if here not in known:
            kept[key] = _drop(value, known, here) if isinstance(value, dict) else value
    return kept


def _kpoints(node: orm.KpointsData) -> dict[str, Any]:
    """A mesh with its offset, or the list of points."""
    if "mesh" in node.base.attributes.all:
        mesh, offset = node.get_kpoints_mesh()
        return {"mesh": [int(n) for n in mesh], "offset": [float(x) for x in offset]}
    return {"points": node.get_kpoints().tolist()}


def _identity(node: orm.Data) -> str:
    """The name of a potential and the first digits of its hash, never its content."""
    attributes = node.base.attributes.all
    name = next((str(attributes[key]) for key in NAMES if attributes.get(key)), type(node).__name__)
    digest = next((str(attributes[key]) for key in DIGESTS if attributes.get(key)), node.base.repository.hash())
    return f"{name} ({digest[:DIGITS_OF_DIGEST]})"


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value)

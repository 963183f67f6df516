"""Inputs of the self-learning run from a protocol."""

from __future__ import annotations

from dataclasses import fields
from importlib.resources import files
from typing import Any

import yaml
from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.adaptation import make_rule
from aiida_slhmc.kernel.checks import check_names
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.kernel.parameters import KernelParameters, Trajectory
from aiida_slhmc.targets.base import load_target
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

__all__ = ("dynamics_of", "get_protocol", "get_slhmc_builder", "merged", "protocol_names")


def get_slhmc_builder(
    work_chain: Any,
    *,
    structure: orm.StructureData,
    model: MaceModelData,
    python_code: orm.AbstractCode,
    functional: str,
    ensemble: str = "nvt",
    target: str = "vasp",
    target_options: dict[str, Any] | None = None,
    protocol: str | None = None,
    overrides: dict[str, Any] | None = None,
) -> ProcessBuilder:
    """A builder of SlhmcWorkChain.

    :param structure: where all walkers start; in NPT, strains are measured from its cell.
    :param model: the foundation model.
    :param python_code: a Python interpreter with mace-torch, for proposals and fine-tunings.
    :param functional: name of the target functional, for example ``pbe``, ``r2scan`` or ``hse06``.
    :param ensemble: ``nvt`` or ``npt``; for NPT give ``pressure`` (GPa) and ``cell_degrees_of_freedom`` in
        ``overrides={"kernel": {...}}`` if the defaults (one atmosphere, orthorhombic) are not what you want.
    :param target: name of the target's adapter; *target_options* are its own, see ``Target.get_inputs``.
    :param protocol: ``fast``, ``balanced`` (default), ``stringent`` or ``paper``.
    :param overrides: keys of the protocol to replace, nested as in ``protocols/slhmc.yaml``.
    :raises ValueError: for a protocol, key, functional or target that does not exist.

    Data that are trained on or evaluated beside the labels are nodes; put them into the builder:
    ``builder.fine_tune.replay = {"upstream": block}``, and likewise ``probes`` and ``force_constants``.
    """
    settings = get_protocol(protocol, overrides, ensemble=ensemble)
    adapter = load_target(target)
    target_inputs = adapter.get_inputs(structure=structure, functional=functional, **(target_options or {}))
    builder = work_chain.get_builder()
    builder.structure = structure
    builder.model = model
    builder.parameters = orm.Dict(settings["kernel"])
    builder.trajectory = orm.Dict(settings["trajectory"])
    builder.adaptation = orm.Dict(settings["adaptation"])
    builder.n_walkers = orm.Int(settings["n_walkers"])
    builder.n_cycles = orm.Int(settings["n_cycles"])
    builder.label_budget = orm.Int(settings["label_budget"])
    builder.committee_size = orm.Int(settings["committee_size"])
    if settings.get("convergence"):
        builder.convergence = orm.Dict(settings["convergence"])
    builder.proposal = {"code": python_code}
    builder.fine_tune = {"code": python_code, "parameters": orm.Dict(settings["fine_tune"])}
    builder.target = {"engine": orm.Str(target), **target_inputs}
    return builder


def protocol_names() -> list[str]:
    """Names of the protocols."""
    return list(_read()["protocols"])


def get_protocol(
    name: str | None = None, overrides: dict[str, Any] | None = None, *, ensemble: str = "nvt"
) -> dict[str, Any]:
    """The settings of a protocol: what all share, the ensemble's, the protocol's own, *overrides*, each on the former.

    :raises ValueError: for a name or a key that does not exist, or a value that is not allowed.
    """
    content = _read()
    if ensemble not in content["ensembles"]:
        raise ValueError(f"there is no ensemble '{ensemble}'; there are {', '.join(content['ensembles'])}")
    name = name or content["default_protocol"]
    if name not in content["protocols"]:
        raise ValueError(f"there is no protocol '{name}'; there are {', '.join(content['protocols'])}")
    asked = (overrides or {}).get("kernel", {}).get("ensemble", ensemble)
    if asked != ensemble:
        raise ValueError(
            f"overrides ask for the ensemble '{asked}': pass ensemble='{asked}', which sets the training, too"
        )
    settings = merged(merged(content["common"], content["ensembles"][ensemble]), content["protocols"][name])
    check_names(overrides or {}, {*settings, "convergence"}, "key of the protocol")
    settings = merged(settings, overrides or {})
    KernelParameters.from_dict(settings["kernel"])
    Trajectory.from_dict(settings["trajectory"])
    make_rule(settings["adaptation"])
    FineTuneParameters.from_dict(settings["fine_tune"])
    return settings


def _read() -> dict[str, Any]:
    return yaml.safe_load((files("aiida_slhmc.workflows") / "protocols" / "slhmc.yaml").read_text())


def dynamics_of(kernel: dict[str, Any]) -> dict[str, Any]:
    """What molecular dynamics in the ensemble of a kernel has in common with it: options of MdParameters."""
    known = {field.name for field in fields(MdParameters)}
    return {key: value for key, value in kernel.items() if key in known}


def merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """*base* with *top* on it, dictionaries merged key by key."""
    result = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result

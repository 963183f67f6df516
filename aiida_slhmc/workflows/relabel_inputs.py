"""Inputs of the relabelling control from a protocol."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml
from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_slhmc.analysis.frame_selection import FrameSelection
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.targets.base import load_target
from aiida_slhmc.workflows.inputs import dynamics_of, get_protocol

__all__ = ("get_relabel_builder", "get_relabel_protocol")

OWN_KEYS = ("selection", "md", "production")


def get_relabel_builder(
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
    """A builder of RelabelWorkChain; the arguments are those of the builder of the self-learning run.

    :param structure: where both dynamics start.
    :param python_code: a Python interpreter with mace-torch, for dynamics and fine-tuning.
    :param ensemble: ``nvt`` or ``npt``, of both dynamics; the production's is named after it.
    :param overrides: keys of the protocol to replace, nested as in ``protocols/slhmc.yaml`` and
        ``protocols/relabel.yaml``; for a hotter pool ``{"md": {"temperature": 600.0}}``.
    :raises ValueError: for a protocol, key, functional or target that does not exist, or a pool that is too small.
    """
    settings = get_relabel_protocol(protocol, overrides, ensemble=ensemble)
    target_inputs = load_target(target).get_inputs(structure=structure, functional=functional, **(target_options or {}))
    builder = work_chain.get_builder()
    builder.structure = structure
    builder.model = model
    builder.pool_md = {"code": python_code, "parameters": orm.Dict(settings["md"])}
    builder.selection = orm.Dict(settings["selection"])
    builder.target = {"engine": orm.Str(target), **target_inputs}
    builder.fine_tune = {"code": python_code, "parameters": orm.Dict(settings["fine_tune"])}
    if settings["production"] is not None:
        builder.production = {ensemble: {"code": python_code, "parameters": orm.Dict(settings["production"])}}
    return builder


def get_relabel_protocol(
    name: str | None = None, overrides: dict[str, Any] | None = None, *, ensemble: str = "nvt"
) -> dict[str, Any]:
    """``selection``, ``md``, ``production`` (None for none) and ``fine_tune`` of a protocol, *overrides* on them.

    :raises ValueError: for a name or a key that does not exist, or a value that is not allowed.
    """
    own = {key: value for key, value in (overrides or {}).items() if key in OWN_KEYS}
    others = {key: value for key, value in (overrides or {}).items() if key not in OWN_KEYS}
    shared = get_protocol(name, others, ensemble=ensemble)
    dynamics = dynamics_of(shared["kernel"])
    dynamics["timestep"] = shared["trajectory"]["timestep"]
    settings = _read(name)
    made: dict[str, Any] = {"fine_tune": shared["fine_tune"]}
    made["selection"] = {"n_frames": shared["label_budget"]} | settings["selection"] | own.get("selection", {})
    made["md"] = dynamics | settings["md"] | own.get("md", {})
    made["production"] = None
    if own.get("production", {}) is not None:
        made["production"] = dynamics | settings["production"] | own.get("production", {})
    _check(made)
    return made


def _read(name: str | None) -> dict[str, Any]:
    """The part of the protocol that only this work chain has."""
    content = yaml.safe_load((files("aiida_slhmc.workflows") / "protocols" / "relabel.yaml").read_text())
    return content["common"] | content["protocols"][name or content["default_protocol"]]


def _check(settings: dict[str, Any]) -> None:
    for key in ("md", "production"):
        if settings[key] is not None:
            MdParameters.from_dict(settings[key])
    pool = MdParameters.from_dict(settings["md"])
    shortage = FrameSelection.from_dict(settings["selection"]).shortage(pool.n_steps // pool.sampling_interval)
    if shortage:
        raise ValueError(f"selection: {shortage}: give more n_steps in `md`, or fewer n_frames in `selection`")

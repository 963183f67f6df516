"""Builders from the settings of `aiida-slhmc launch`, and the settings with every default written out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessBuilder

from aiida_slhmc.cli.launch_settings import (
    EpochSettings,
    ExtraSets,
    FineTuneSettings,
    MdSettings,
    RelabelSettings,
    RunSettings,
    SlhmcSettings,
)
from aiida_slhmc.cli.references import load_block, load_code, load_model, load_node, load_structure
from aiida_slhmc.cli.settings import Settings, Values
from aiida_slhmc.cli.target_defaults import target_written_out
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.force_constants import ForceConstantsData
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain
from aiida_slhmc.workflows.inputs import get_protocol
from aiida_slhmc.workflows.md import MdWorkChain
from aiida_slhmc.workflows.reference import reference_inputs
from aiida_slhmc.workflows.relabel import RelabelWorkChain
from aiida_slhmc.workflows.relabel_inputs import get_relabel_protocol
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

__all__ = ("get_builder", "written_out")

EXTRA_SETS: dict[str, Callable[[Any, str], Any]] = {
    "replay": load_block,
    "probes": load_block,
    "force_constants": lambda reference, what: load_node(reference, ForceConstantsData, what),
}


def get_builder(settings: Settings) -> ProcessBuilder:
    """All inputs of what *settings* describe.

    :raises ValueError: where a node, file or code is not there, or a work chain's own checks find an error.
    """
    if isinstance(settings, SlhmcSettings | RelabelSettings):
        return _run_builder(settings)
    if isinstance(settings, EpochSettings):
        return _epoch_builder(settings)
    if isinstance(settings, MdSettings):
        return _md_builder(settings)
    assert isinstance(settings, FineTuneSettings)
    return _fine_tune_builder(settings)


def written_out(settings: Settings) -> Values:
    """The settings' values with what protocol and target give, so that they mean the same whatever becomes of defaults.

    :raises ValueError: for a key or value that is not allowed.
    """
    values = settings.model_dump(exclude_unset=True)
    for name in ("structure", "reference_structure"):
        if isinstance(values.get(name), str) and Path(values[name]).is_file():
            values[name] = str(Path(values[name]).resolve())
    if isinstance(settings, SlhmcSettings | RelabelSettings):
        values["overrides"] = _whole_protocol(settings)
        options = settings.target_options.model_dump(exclude_unset=True)
        values["target_options"] = target_written_out(settings.target, settings.functional, options, settings.structure)
    if isinstance(settings, MdSettings):
        values["parameters"] = MdParameters.from_dict(_md_parameters(settings)).to_dict()
    if isinstance(settings, FineTuneSettings):
        values["parameters"] = FineTuneParameters.from_dict(settings.parameters).to_dict()
    return values


def _whole_protocol(settings: SlhmcSettings | RelabelSettings) -> Values:
    """The protocol with the overrides on it; as overrides of the same protocol it gives itself."""
    overrides = settings.overrides.model_dump(exclude_unset=True)
    if isinstance(settings, RelabelSettings):
        return get_relabel_protocol(settings.protocol, overrides, ensemble=settings.ensemble)
    whole = get_protocol(settings.protocol, overrides, ensemble=settings.ensemble)
    whole["kernel"] = {name: value for name, value in whole["kernel"].items() if name != "ensemble"}
    return {name: value for name, value in whole.items() if name != "description"}


def _run_builder(settings: SlhmcSettings | RelabelSettings) -> ProcessBuilder:
    chain: Any = SlhmcWorkChain if isinstance(settings, SlhmcSettings) else RelabelWorkChain
    builder = chain.get_builder_from_protocol(
        structure=load_structure(settings.structure),
        model=load_model(settings.model),
        python_code=load_code(settings.python_code, "python_code"),
        functional=settings.functional,
        ensemble=settings.ensemble,
        target=settings.target,
        target_options=_target_options(settings),
        protocol=settings.protocol,
        overrides=settings.overrides.model_dump(exclude_unset=True),
    )
    _add_extra_sets(builder.fine_tune, settings)
    if settings.python_options:
        parts = ("proposal", "fine_tune") if isinstance(settings, SlhmcSettings) else ("pool_md", "fine_tune")
        for name in parts:
            builder[name].options = orm.Dict(settings.python_options)
        for inputs in dict(builder.get("production") or {}).values():
            inputs["options"] = orm.Dict(settings.python_options)
    return builder


def _target_options(settings: RunSettings) -> Values:
    """The adapter's options, with nodes in the place of their names."""
    options = settings.target_options.model_dump(exclude_unset=True)
    if options.get("code"):
        options["code"] = load_code(options["code"], "target_options.code")
    if isinstance(options.get("files"), dict):
        files = options["files"].items()
        options["files"] = {name: load_node(value, orm.Data, f"target_options.files.{name}") for name, value in files}
    return options


def _epoch_builder(settings: EpochSettings) -> ProcessBuilder:
    run = load_node(settings.run, orm.WorkChainNode, "run")
    if run.process_class is not SlhmcWorkChain or not run.is_finished_ok:
        raise ValueError(f"run: {run.process_label}<{run.pk}> is no self-learning run that has finished well")
    reference = AttributeDict({"n_cycles": orm.Int(settings.n_cycles)})
    if settings.seed is not None:
        reference.parameters = orm.Dict(run.inputs.parameters.get_dict() | {"seed": settings.seed})
    builder = EpochWorkChain.get_builder()
    for name, value in reference_inputs(run, reference).items():
        setattr(builder, name, value)
    return builder


def _md_builder(settings: MdSettings) -> ProcessBuilder:
    builder: Any = MdWorkChain.get_builder()
    builder.code = load_code(settings.python_code, "python_code")
    builder.model = load_model(settings.model)
    builder.parameters = orm.Dict(_md_parameters(settings))
    for name in ("structure", "reference_structure"):
        reference = getattr(settings, name)
        if reference is not None:
            builder[name] = _structure_or_configuration(reference, name)
    if settings.state is not None:
        builder.state = load_node(settings.state, orm.ArrayData, "state")
    if settings.role is not None:
        builder.role = orm.Str(settings.role)
    if settings.python_options:
        builder.options = orm.Dict(settings.python_options)
    return builder


def _md_parameters(settings: MdSettings) -> Values:
    return settings.parameters.model_dump(exclude_none=True)


def _structure_or_configuration(reference: int | str, what: str) -> orm.Data:
    """A structure, or a configuration that a run has sampled."""
    if not Path(str(reference)).is_file():
        node = load_node(reference, orm.Data, what)
        if isinstance(node, ConfigurationData):
            return node
    return load_structure(reference, what)


def _fine_tune_builder(settings: FineTuneSettings) -> ProcessBuilder:
    builder: Any = FineTuneWorkChain.get_builder()
    builder.code = load_code(settings.python_code, "python_code")
    builder.model = load_model(settings.model)
    blocks = [load_block(reference, "datasets") for reference in settings.datasets]
    builder.datasets = {f"block_{i:04d}": block for i, block in enumerate(blocks)}
    builder.parameters = orm.Dict(FineTuneParameters.from_dict(settings.parameters).to_dict())
    _add_extra_sets(builder, settings)
    if settings.python_options:
        builder.options = orm.Dict(settings.python_options)
    return builder


def _add_extra_sets(builder: Any, settings: ExtraSets) -> None:
    """Put the data that are trained on or evaluated beside the labels into the builder of a fine-tuning."""
    for name, load in EXTRA_SETS.items():
        nodes = {key: load(value, f"{name}.{key}") for key, value in getattr(settings, name).items()}
        if nodes:
            builder[name] = nodes

"""Inputs of the study from a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml
from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.checks import check_names
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.workflows.inputs import dynamics_of, merged
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

__all__ = ("get_study_builder", "get_study_protocol", "study_protocol_names")

# molecular dynamics that is compared has initial momenta of its own: with the same ones both would deviate alike. They
# are counted from the run's seed, which each functional has of its own
FOUNDATION_SEED, POOL_SEED, CONTROL_SEED = 1000, 2000, 3000


def get_study_builder(
    work_chain: Any,
    *,
    structure: orm.StructureData | Mapping[str, orm.StructureData],
    model: MaceModelData,
    python_code: orm.AbstractCode,
    functionals: list[str],
    analysis: dict[str, Any],
    target: str = "vasp",
    target_options: dict[str, Any] | None = None,
    experiment: dict[str, Any] | None = None,
    protocol: str | None = None,
    overrides: dict[str, Any] | None = None,
) -> ProcessBuilder:
    """A builder of StudyWorkChain.

    :param structure: where everything starts; its cell is the fixed one of NVT, and strains are measured from it. Or
        one for each ensemble, ``{"nvt": …, "npt": …}``, for example with another cell or of another size.
    :param model: the foundation model.
    :param python_code: a Python interpreter with mace-torch.
    :param functionals: names of the target functionals, for example ``["pbe", "r2scan", "hse06"]``.
    :param analysis: species, windows and bins, see
        :class:`~aiida_slhmc.analysis.structure_parameters.StructureParameters`.
    :param target: name of the target's adapter; *target_options* are its own, the same for all functionals.
    :param experiment: values for the tables and figures, in Å and Å³ per formula unit: any of ``a``, ``b``, ``c``,
        ``volume``, ``short``, ``long``, ``mean``, and their ``source``.
    :param protocol: ``paper`` (default) or ``miniature``.
    :param overrides: keys of the protocol to replace, nested as in ``protocols/study.yaml``.
    :raises ValueError: for a protocol, key, functional or target that does not exist, or an ensemble that has no
        structure.
    """
    settings = get_study_protocol(protocol, overrides)
    structures = _structures(structure, _ensembles(settings))
    options = {"model": model, "python_code": python_code, "target": target, "target_options": target_options}
    builder = work_chain.get_builder()
    runs = {
        functional: {
            ensemble: _slhmc_inputs(settings, ensemble, number, functional=functional, structure=start, **options)
            for ensemble, start in structures.items()
        }
        for number, functional in enumerate(functionals)
    }
    if not runs:
        raise ValueError("give at least one functional")
    some = next(iter(runs.values()))
    foundation = {
        ensemble: _md_inputs(settings, ensemble, some, python_code, FOUNDATION_SEED) | {"structure": start}
        for ensemble, start in structures.items()
    }
    if settings["control"]:
        start = structures[settings["control"]["production"]]
        foundation["pool"] = _pool_inputs(settings, some, python_code) | {"structure": start}
    for name, inputs in foundation.items():
        setattr(builder.foundation, name, inputs | {"model": model})
    builder.functionals = {name: _transfer_inputs(settings, name, run, python_code) for name, run in runs.items()}
    builder.analysis = orm.Dict(analysis)
    if experiment:
        builder.experiment = orm.Dict(experiment)
    return builder


def study_protocol_names() -> list[str]:
    """Names of the protocols."""
    return list(_read()["protocols"])


def get_study_protocol(name: str | None = None, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a protocol of the study, with *overrides* on them.

    :raises ValueError: for a name or a key that does not exist.
    """
    content = _read()
    name = name or content["default_protocol"]
    if name not in content["protocols"]:
        raise ValueError(f"there is no protocol '{name}' of the study; there are {', '.join(content['protocols'])}")
    settings = content["protocols"][name]
    check_names(overrides or {}, set(settings), "key of the study's protocol")
    settings = merged(settings, overrides or {})
    if not _ensembles(settings):
        raise ValueError("give at least one of the ensembles nvt and npt")
    control = settings["control"]
    if control and control["production"] not in _ensembles(settings):
        raise ValueError(f"the control's production is in {control['production']}, and there is no such ensemble here")
    return settings


def _read() -> dict[str, Any]:
    return yaml.safe_load((files("aiida_slhmc.workflows") / "protocols" / "study.yaml").read_text())


def _ensembles(settings: dict[str, Any]) -> list[str]:
    return [name for name, content in settings["ensembles"].items() if content]


def _structures(
    structure: orm.StructureData | Mapping[str, orm.StructureData], ensembles: list[str]
) -> dict[str, orm.StructureData]:
    if isinstance(structure, orm.StructureData):
        return dict.fromkeys(ensembles, structure)
    if missing := [name for name in ensembles if name not in structure]:
        raise ValueError(f"there is no structure for {' and '.join(missing)}")
    return {name: structure[name] for name in ensembles}


def _slhmc_inputs(settings: dict[str, Any], ensemble: str, number: int, **options: Any) -> dict[str, Any]:
    """Each functional has a seed of its own: with the same random numbers their references would deviate alike."""
    builder = SlhmcWorkChain.get_builder_from_protocol(
        ensemble=ensemble,
        protocol=settings["slhmc_protocol"],
        overrides=settings["ensembles"][ensemble]["slhmc"],
        **options,
    )
    kernel = builder.parameters.get_dict()
    builder.parameters = orm.Dict(kernel | {"seed": kernel["seed"] + number})
    return dict(builder._inputs(prune=True))


def _md_inputs(
    settings: dict[str, Any], ensemble: str, runs: dict[str, Any], python_code: orm.AbstractCode, seed: int = 0
) -> dict[str, Any]:
    """Molecular dynamics in an ensemble of these runs; *seed* is counted from theirs."""
    own = settings["ensembles"][ensemble]["md"]
    return {"code": python_code, "parameters": _md_parameters(own, settings, runs[ensemble], seed)}


def _pool_inputs(settings: dict[str, Any], runs: dict[str, Any], python_code: orm.AbstractCode) -> dict[str, Any]:
    control = settings["control"]
    parameters = _md_parameters(control["pool"], settings, runs[control["production"]], POOL_SEED)
    return {"code": python_code, "parameters": parameters}


def _md_parameters(own: dict[str, Any], settings: dict[str, Any], run: dict[str, Any], seed: int) -> orm.Dict:
    """The kernel's ensemble at the temperature of the evaluation, and what the protocol says."""
    kernel = dynamics_of(run["parameters"].get_dict())
    parameters = kernel | {"temperature": settings["temperature"], "seed": kernel["seed"] + seed} | own
    MdParameters.from_dict(parameters)
    return orm.Dict(parameters)


def _transfer_inputs(
    settings: dict[str, Any],
    functional: str,
    runs: dict[str, dict[str, Any]],
    python_code: orm.AbstractCode,
) -> dict[str, Any]:
    inputs: dict[str, Any] = {"functional": orm.Str(functional)}
    for ensemble, run in runs.items():
        reference = settings["ensembles"][ensemble]["reference"]
        parameters = run["parameters"].get_dict() | {"temperature": settings["temperature"]}
        inputs[ensemble] = {
            "slhmc": run,
            "md": _md_inputs(settings, ensemble, runs, python_code),
            "reference": {key: orm.Int(value) for key, value in reference.items()}
            | {"parameters": orm.Dict(parameters)},
            "evolution_stride": orm.Int(settings["ensembles"][ensemble]["evolution_stride"]),
        }
    if settings["control"]:
        inputs["relabel"] = _relabel_inputs(settings, runs, python_code)
    return inputs


def _relabel_inputs(
    settings: dict[str, Any], runs: dict[str, dict[str, Any]], python_code: orm.AbstractCode
) -> dict[str, Any]:
    """The control has the target and the training of the run that it is compared with."""
    control, production = settings["control"], settings["control"]["production"]
    run = runs[production]
    training = run["fine_tune"]["parameters"].get_dict() | control["fine_tune"]
    return {
        "structure": run["structure"],
        "model": run["model"],
        "pool_md": _pool_inputs(settings, runs, python_code),
        "selection": orm.Dict({"n_frames": run["label_budget"].value} | control["selection"]),
        "target": run["target"],
        "fine_tune": dict(run["fine_tune"]) | {"parameters": orm.Dict(training)},
        "production": {production: _md_inputs(settings, production, runs, python_code, CONTROL_SEED)},
    }

"""Which versions of which software took part, as the nodes say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import aiida
from aiida import orm
from aiida.plugins.entry_point import get_entry_point_from_string

import aiida_slhmc
from aiida_slhmc.report.html.contents import Checkpoint, Version
from aiida_slhmc.report.html.processes import Process

__all__ = ("read_versions",)

OURS = "aiida-slhmc"
OF_RUN, OF_REPORT = "processes of the run", "this report"
OF_LABELS = "calculations of the labels"
# output of an engine's job, key in it: the engine
ENGINES = {
    ("misc", "version"): "VASP",
    ("output_parameters", "creator_version"): "Quantum ESPRESSO",
    ("output_parameters", "cp2k_version"): "CP2K",
}
# how many jobs a query asks for
CHUNK = 500


def read_versions(processes: Sequence[Process], checkpoints: Iterable[Checkpoint]) -> list[Version]:
    """What ran the processes, what trained and held the models, and what made this page."""
    found: dict[tuple[str, str], set[str]] = {}

    def add(name: str, number: Any, of: str) -> None:
        if number:
            found.setdefault((name, of), set()).add(str(number))

    for process in processes:
        stated = process.version or {}
        add("aiida-core", stated.get("core"), OF_RUN)
        # AiiDA itself owns what has no entry point of a plugin
        name = _package(process.process_type)
        if name != "aiida-core":
            add(name, stated.get("plugin"), OF_RUN)
    for name, number in _of_engines(processes):
        add(name, number, OF_LABELS)
    for name, number, of in _of_models(checkpoints):
        add(name, number, of)
    for package in (OURS, "plotly"):
        add(package, _installed(package), OF_REPORT)
    add("aiida-core", aiida.__version__, OF_REPORT)
    return [Version(name=name, versions=", ".join(sorted(numbers)), of=of) for (name, of), numbers in found.items()]


def _of_engines(processes: Sequence[Process]) -> Iterable[tuple[str, Any]]:
    """What the engines of the labels said of themselves, where their parsers kept it."""
    jobs = [process.pk for process in processes if process.kind == "job"]
    for start in range(0, len(jobs), CHUNK):
        query = orm.QueryBuilder().distinct()
        query.append(orm.CalcJobNode, filters={"id": {"in": jobs[start : start + CHUNK]}}, tag="job")
        query.append(
            orm.Dict,
            with_incoming="job",
            edge_filters={"label": {"in": sorted({output for output, _ in ENGINES})}},
            edge_project="label",
            project=[f"attributes.{key}" for _, key in ENGINES],
        )
        for *values, label in query.all():
            for (output, _), name, value in zip(ENGINES, ENGINES.values(), values, strict=True):
                if value and output == label:
                    yield name, value


def _of_models(checkpoints: Iterable[Checkpoint]) -> Iterable[tuple[str, Any, str]]:
    """MACE's version by checkpoint, and what the trainings' workers said of themselves."""
    for checkpoint in checkpoints:
        if checkpoint.model is None:
            continue
        model = orm.load_node(checkpoint.model.pk)
        yield "mace-torch", model.base.attributes.get("mace_version", None), "checkpoints"
        creator = model.creator
        metrics = creator.outputs.metrics.get_dict() if creator is not None and "metrics" in creator.outputs else {}
        for name, number in (metrics.get("versions") or {}).items():
            yield {"mace": "mace-torch"}.get(name, name), number, "fine-tunings"
        if metrics.get("device"):
            yield "device", metrics["device"], "fine-tunings"


def _package(process_type: str | None) -> str:
    """The package that a process's entry point, or its module, belongs to."""
    text = process_type or ""
    if text.startswith("aiida_slhmc."):
        return OURS
    try:
        entry_point = get_entry_point_from_string(text)
    except Exception:  # one that is not installed here, or no entry point at all
        return text.rpartition(":")[2].partition(".")[0].replace("_", "-") or "aiida-core"
    return str(getattr(entry_point.dist, "name", None) or entry_point.value.partition(".")[0])


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its folder
        return aiida_slhmc.__version__ if package == OURS else ""

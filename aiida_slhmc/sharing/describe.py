"""What a data set is, as lines of names and values for a table."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from aiida import orm

from aiida_slhmc.audit.graph import creator_of, inputs_of
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.sharing.data_set import DataSet

__all__ = ("describe", "origins")

# what one goes on with; studies call many of them
RUNS = ("SlhmcWorkChain", "RelabelWorkChain")


def describe(data_set: DataSet) -> list[tuple[str, str]]:
    """Rows of name and value: what it is of, its settings, its size and energies, where it is from."""
    block = data_set.block
    about = block.base.attributes.all
    low, high = about["energy_per_atom_range"]
    forces = max(float(label.base.attributes.get("max_force")) for label in data_set.labels)
    formulas = Counter(str(label.base.attributes.get("formula")) for label in data_set.labels)
    rows = [
        ("functional", str(about["functional"])),
        ("engine", str(about["engine"])),
        ("stand-in", "yes: this is not DFT" if about["stand_in"] else "no"),
        ("labels", str(len(data_set.labels))),
        ("formulas", ", ".join(f"{formula} ({count})" for formula, count in sorted(formulas.items()))),
        ("energy", f"{low:.6f} to {high:.6f} eV/atom"),
        ("largest force", f"{forces:.4f} eV/Å"),
        ("stress", _stress(data_set)),
    ]
    rows += _settings(block.settings)
    rows += [("from", text) for text in origins(data_set)]
    return [*rows, ("block for training", f"DatasetData {block.pk} ({block.uuid})")]


def origins(data_set: DataSet) -> list[str]:
    """Where the labels are from: runs, files or nothing that is here, with their numbers."""
    counts = Counter(_origin(label) for label in data_set.labels)
    return [f"{origin}: {count}" for origin, count in sorted(counts.items())]


def _origin(label: ConfigurationData) -> str:
    maker: Any = creator_of(label)
    if maker is None:
        return "not known, their calculations are not here"
    file = inputs_of(maker).get("file")
    if isinstance(file, orm.SinglefileData):
        return f"the file {file.filename}, WITHOUT PROVENANCE"
    callers = [maker]
    while callers[-1].caller is not None:
        callers.append(callers[-1].caller)
    top = callers[-1]
    run = next((node for node in callers if node.process_label in RUNS), top)
    part_of = "" if run.uuid == top.uuid else f" of {top.process_label} {top.pk}"
    return f"{run.process_label} {run.pk} ({run.uuid}){part_of}"


def _stress(data_set: DataSet) -> str:
    count = sum("stress" in label.arrays() for label in data_set.labels)
    return "of all labels" if count == len(data_set.labels) else f"of {count} labels"


def _settings(settings: dict[str, Any] | None) -> list[tuple[str, str]]:
    if settings is None:
        return [("settings", "not known")]
    rows = []
    for part, values in settings.items():
        text = ", ".join(f"{key} {_short(value)}" for key, value in values.items())
        rows.append((part, text or "none"))
    return rows


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

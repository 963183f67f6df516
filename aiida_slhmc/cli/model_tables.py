"""What `aiida-slhmc model` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiida import orm
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aiida_slhmc.cli.output import make_table, number
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.report.lineage import Origin, lineage_of, origin_of

__all__ = ("about_model", "comparison_table", "errors_table", "list_table")

FORCE, ENERGY, STRESS = "force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom", "stress_rmse_gpa"
OFFSET_REMOVED = "energy_offset_removed_rmse_mev_per_atom"
ERRORS = {
    FORCE: ("force RMSE (meV/Å)", ".1f"),
    ENERGY: ("energy RMSE (meV/atom)", ".2f"),
    OFFSET_REMOVED: ("energy RMSE, offset removed (meV/atom)", ".2f"),
    STRESS: ("stress RMSE (GPa)", ".3f"),
}


def list_table(last: int) -> Table | None:
    """The newest *last* models, the newest last; None where there are none."""
    query = orm.QueryBuilder().append(MaceModelData, tag="model").order_by({"model": {"id": "desc"}}).limit(last)
    models = query.all(flat=True)[::-1]
    if not models:
        return None
    headers = (
        "PK",
        "label",
        "elements",
        "made from",
        "labels",
        "functional",
        "force RMSE\nmeV/Å",
        "energy RMSE\nmeV/atom",
    )
    return make_table("Models; the errors are those on labels that validated", headers, map(_list_row, models), left=4)


def _list_row(model: MaceModelData) -> tuple[Any, ...]:
    origin = origin_of(model)
    return (
        model.pk,
        model.label or None,
        " ".join(model.elements),
        _source(origin),
        origin.n_labels or None,
        origin.functional,
        number(origin.validation.get(FORCE), ".1f"),
        number(origin.validation.get(ENERGY), ".2f"),
    )


def _source(origin: Origin) -> str | None:
    """The parent's PK, or the file that a foundation was imported from."""
    if origin.parent is not None:
        return f"{origin.parent.pk} {origin.parent.label}".strip()
    return origin.model.base.attributes.get("source", None)


def about_model(model: MaceModelData) -> RenderableType:
    """Everything about one model."""
    facts = make_table(f"Model {model.pk} {model.label}", ("", ""), _facts(model), left=2)
    facts.show_header = False
    parts: list[RenderableType] = [facts]
    errors = dict(model.errors or {})
    sets = {"validation": errors.get("validation"), **dict(errors.get("probes") or {})}
    rows = [(name, *_errors(values)) for name, values in sets.items() if values]
    if rows:
        parts.append(make_table("Errors", ("set", *(title for title, _ in ERRORS.values())), rows, left=1))
    parts.append(_references(model))
    parts.append(_lineage(model))
    return Group(*parts)


def _facts(model: MaceModelData) -> list[tuple[str, Any]]:
    attributes = model.base.attributes
    names = {
        "cutoff": "cutoff (Å)",
        "dtype": "precision",
        "n_parameters": "parameters",
        "heads": "heads",
        "mace_version": "MACE",
        "references_of": "references of",
        "source": "imported from",
        "source_sha256": "its sha256",
        "sha256": "sha256",
    }
    facts = [("UUID", model.uuid), ("elements", " ".join(model.elements))]
    for key, name in names.items():
        value = attributes.get(key, None)
        if value is not None:
            facts.append((name, " ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return facts


def _references(model: MaceModelData) -> Table:
    """Energies of the single atoms, beside those of the foundation where they are known."""
    own, foundation = model.base.attributes.get("atomic_energies"), model.foundation_references or {}
    rows = [(symbol, number(value, ".4f"), number(foundation.get(symbol), ".4f")) for symbol, value in own.items()]
    return make_table("Energy references (eV)", ("element", "this model", "foundation"), rows, left=1)


def _lineage(model: MaceModelData) -> RenderableType:
    """The parents, up to the foundation."""
    chain = lineage_of(model)
    if len(chain) == 1:
        return Text("Nothing in this database made it: it was imported.")
    headers = ("PK", "label", "training", "labels", "functional", "force RMSE (meV/Å)")
    rows = [
        (
            origin.model.pk,
            origin.model.label or None,
            origin.training.pk if origin.training is not None else "imported",
            origin.n_labels or None,
            origin.functional,
            number(origin.validation.get(FORCE), ".1f"),
        )
        for origin in chain
    ]
    return make_table("Lineage, back to the foundation", headers, rows, left=3)


def comparison_table(models: Sequence[MaceModelData]) -> Table:
    """What the nodes say, one column for each model."""
    origins = [origin_of(model) for model in models]
    symbols = sorted({symbol for model in models for symbol in model.elements})
    rows: list[tuple[Any, ...]] = [
        ("label", *(model.label or None for model in models)),
        ("made from", *(_source(origin) for origin in origins)),
        ("labels in its training", *(origin.n_labels or None for origin in origins)),
        ("functional", *(origin.functional for origin in origins)),
        *((name, *(model.base.attributes.get(key, None) for model in models)) for key, name in ATTRIBUTES.items()),
        *((f"reference of {symbol} (eV)", *(_reference(model, symbol) for model in models)) for symbol in symbols),
    ]
    for key, (title, form) in ERRORS.items():
        errors = [number(origin.validation.get(key), form) for origin in origins]
        if any(errors):
            rows.append((f"{title}, own validation", *errors))
    rows.append(("weights", *(model.base.attributes.get("sha256")[:12] for model in models)))
    return make_table("Models", ("", *(str(model.pk) for model in models)), rows, left=1)


ATTRIBUTES = {"n_parameters": "parameters", "cutoff": "cutoff (Å)", "mace_version": "MACE"}


def _reference(model: MaceModelData, symbol: str) -> str | None:
    return number(model.base.attributes.get("atomic_energies").get(symbol), ".4f")


def errors_table(models: Sequence[MaceModelData], blocks: Sequence[DatasetData], errors: list[dict[str, Any]]) -> Table:
    """Errors of each model on the same labels, and whether it has seen them."""
    trained_on = [{block.uuid for origin in lineage_of(model) for block in origin.datasets} for model in models]
    uuids = {block.uuid for block in blocks}
    rows = [
        (model.pk, model.label or None, _overlap(uuids, seen), *_errors(values))
        for model, seen, values in zip(models, trained_on, errors, strict=True)
    ]
    title = f"Errors on {errors[0]['n_frames']} labels ({', '.join(str(block.pk) for block in blocks)})"
    return make_table(title, ("PK", "label", "trained on them", *(title for title, _ in ERRORS.values())), rows, left=3)


def _overlap(blocks: set[str], seen: set[str]) -> str:
    """Whether errors on these blocks are those of a training."""
    if not blocks & seen:
        return "no"
    return "yes" if blocks <= seen else "on some"


def _errors(values: dict[str, Any]) -> list[str | None]:
    return [number(values.get(key), form) for key, (_, form) in ERRORS.items()]

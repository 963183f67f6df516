"""Nodes by what people call them: PK, UUID, label, or the file that they are to be made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from aiida import orm
from aiida.common.exceptions import AiidaException, MultipleObjectsError, NotExistent
from ase.io import read

from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.sharing.data_set import PREFIX, data_set_names, load_data_set

__all__ = ("load_block", "load_code", "load_model", "load_node", "load_structure")

AnyNode = TypeVar("AnyNode", bound=orm.Node)


def load_node(reference: int | str, kind: type[AnyNode], what: str) -> AnyNode:
    """The node with this PK, label or UUID (its beginning is enough).

    :param what: what is looked for, for the message.
    :raises ValueError: where there is none, or it is no *kind*.
    """
    try:
        node = orm.load_node(reference)
    except (NotExistent, ValueError) as error:
        raise ValueError(f"{what}: there is no node '{reference}'") from error
    except MultipleObjectsError as error:
        raise ValueError(f"{what}: '{reference}' means several nodes; give the PK of one") from error
    if not isinstance(node, kind):
        label = getattr(node, "process_label", None) or type(node).__name__
        raise ValueError(f"{what}: node {node.pk} is a {label}, not a {kind.__name__}")
    return node


def load_model(reference: int | str, what: str = "model") -> MaceModelData:
    """The model with this label, PK or UUID.

    :raises ValueError: where there is none, or several have the label.
    """
    query = orm.QueryBuilder().append(MaceModelData, filters={"label": str(reference)}, tag="model")
    found = query.order_by({"model": "id"}).all(flat=True)
    if len(found) > 1:
        raise ValueError(
            f"{what}: {len(found)} models are labelled '{reference}': give one's PK: "
            f"{', '.join(str(node.pk) for node in found)}"
        )
    if found:
        return found[0]
    try:
        return load_node(reference, MaceModelData, what)
    except ValueError as error:
        raise ValueError(f"{error}; `aiida-slhmc model list` shows the models, `model import` makes one") from error


def load_block(reference: int | str, what: str = "dataset") -> DatasetData:
    """The block of labels of the data set with this name, or with this PK or UUID.

    A number is a PK.

    :raises ValueError: where there is none.
    """
    name = str(reference)
    if not name.isdigit() and name.removeprefix(PREFIX) in data_set_names():
        return load_data_set(name).block
    try:
        return load_node(reference, DatasetData, what)
    except ValueError as error:
        known = ", ".join(data_set_names()) or "none"
        raise ValueError(f"{error}; data sets that can be given by their names: {known}") from error


def load_structure(reference: int | str, what: str = "structure") -> orm.StructureData:
    """A structure of the database, or an unstored one of a file that ASE reads.

    :raises ValueError: where there is neither, or ASE cannot read the file.
    """
    path = Path(str(reference))
    if isinstance(reference, int) or not path.is_file():
        try:
            return load_node(reference, orm.StructureData, what)
        except ValueError as error:
            raise ValueError(f"{error}, and there is no file of this name") from error
    try:
        atoms: Any = read(path)
        return orm.StructureData(ase=atoms)
    except Exception as error:  # ASE's readers raise anything on a file that is not what they take it for
        raise ValueError(f"{what}: ASE cannot read {path}: {error or type(error).__name__}") from error


def load_code(label: str, what: str = "code") -> orm.AbstractCode:
    """The code with this label.

    :raises ValueError: where there is none.
    """
    try:
        return orm.load_code(label)
    except (AiidaException, ValueError) as error:
        query = orm.QueryBuilder().append(orm.InstalledCode)
        known = ", ".join(sorted(code.full_label for code in query.all(flat=True))) or "none"
        raise ValueError(
            f"{what}: there is no code '{label}'; there are: {known}. `aiida-slhmc setup` makes codes"
        ) from error

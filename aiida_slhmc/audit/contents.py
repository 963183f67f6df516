"""Whether what a node says of itself to queries is what its file holds; for nodes that no calculation function made."""

from __future__ import annotations

import io

from aiida import orm

from aiida_slhmc.audit.comparison import compare_nodes
from aiida_slhmc.audit.graph import Problems
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.mace_model import MaceModelData

__all__ = ("check_configuration", "check_model")

LABEL_KEYS = ("functional", "engine", "stand_in", "recovery", "scf_iterations")


def check_configuration(node: ConfigurationData) -> Problems:
    """Energy, largest force, volume and formula are those of the arrays."""
    arrays, attributes = node.arrays(), node.base.attributes.all
    label = None
    if node.is_labelled:
        label = {key: arrays.get(key) for key in ("energy", "forces", "stress")}
        label |= {key: attributes.get(key) for key in LABEL_KEYS}
    again = ConfigurationData(
        numbers=arrays["numbers"],
        positions=arrays["positions"],
        cell=arrays["cell"],
        label=label,
        tags=attributes,
        unlabelled_reason=attributes.get("unlabelled_reason"),
    )
    yield from _compare(node, again)


def check_model(node: MaceModelData) -> Problems:
    """Elements, references, errors and sha256 are those in the checkpoint's header."""
    content = node.base.repository.get_object_content(node.FILENAME, mode="rb")
    yield from _compare(node, MaceModelData(checkpoint=io.BytesIO(content)))


def _compare(node: orm.Data, again: orm.Data) -> Problems:
    differences = compare_nodes(node, again).differences
    yield f"its attributes are not those of its file: {'; '.join(differences)}" if differences else None

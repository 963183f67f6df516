"""From runs, blocks and single labels to one data set of one functional, engine and choice of settings."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

from aiida import orm
from aiida.engine import calcfunction
from aiida.manage.caching import disable_caching

from aiida_slhmc.audit.graph import creator_of, inputs_of
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.sharing.data_set import DataSet, check_name, store_data_set
from aiida_slhmc.sharing.readers import is_from_outside, labels_read_by
from aiida_slhmc.sharing.settings import Settings, differences, read_settings

__all__ = ("collect_data_set", "create_data_set", "labels_of")

SOURCE = ("functional", "engine", "stand_in")
# so many differences between settings are spelt out
SHOWN = 5


@calcfunction
def collect_data_set(about: orm.Dict, **labels: ConfigurationData) -> DatasetData:
    """One block of all *labels*, in the order of their names.

    :param about: ``settings``, how all of them were computed, None where that is not known; ``without_provenance``.
    """
    return DatasetData(configurations=[labels[name] for name in sorted(labels)], about=about.get_dict())


def create_data_set(name: str, nodes: Iterable[orm.Node]) -> DataSet:
    """Make the data set *name* of all labels in *nodes*: runs, blocks and labels.

    A label that is there twice, such as one that a restart took from AiiDA's cache, is taken once.

    :raises ValueError: if the name is taken, there is no label, or functionals, engines or settings differ.
    """
    check_name(name)
    labels = _once([label for node in nodes for label in labels_of(node)])
    if not labels:
        raise ValueError("there is no label in what was given: give runs, blocks (DatasetData) or labels")
    about = {"settings": _common_settings(labels), "without_provenance": all(map(is_from_outside, labels))}
    names = {f"label_{number:06d}": label for number, label in enumerate(labels)}
    # a block from the cache would have the uuids of equal labels, not of these
    with disable_caching():
        block, node = collect_data_set.run_get_node(about=orm.Dict(about), **names)
    if not node.is_finished_ok:
        raise ValueError(f"the block could not be made: {node.exit_message}")
    return store_data_set(name, cast(DatasetData, block), labels)


def labels_of(node: orm.Node) -> list[ConfigurationData]:
    """The labels that *node* is, holds or, where it is a process, has had computed, in the order of their making.

    :raises ValueError: if it is of another kind, or a block's labels are not in this profile.
    """
    if isinstance(node, ConfigurationData):
        return [node] if node.is_labelled else []
    if isinstance(node, DatasetData):
        return _of_block(node)
    if isinstance(node, orm.ProcessNode):
        return _of_process(node)
    raise ValueError(f"{type(node).__name__}<{node.pk}> is no run, no block of labels and no label")


def _of_block(block: DatasetData) -> list[ConfigurationData]:
    """Of a block from AiiDA's cache it is the inputs that belong to its run; its file names those of another."""
    maker = creator_of(block)
    if maker is not None:
        given = {name: node for name, node in inputs_of(maker).items() if isinstance(node, ConfigurationData)}
        if given:
            return [node for _, node in sorted(given.items()) if node.is_labelled]
    uuids = block.get_uuids()
    query = orm.QueryBuilder().append(ConfigurationData, filters={"uuid": {"in": uuids}})
    found = {node.uuid: node for node in query.all(flat=True)}
    missing = len(set(uuids) - set(found))
    if missing:
        raise ValueError(f"{missing} labels of the block {block.pk} are not in this profile: import them, too")
    return [found[uuid] for uuid in uuids]


def _of_process(process: orm.ProcessNode) -> list[ConfigurationData]:
    nodes = sorted((process, *process.called_descendants), key=lambda node: (node.ctime, node.pk))
    return [label for node in nodes for label in labels_read_by(node)]


def _once(labels: Sequence[ConfigurationData]) -> list[ConfigurationData]:
    """Each label once: those of equal arrays are one."""
    kept: dict[str, ConfigurationData] = {}
    for label in labels:
        digest = hashlib.sha256()
        for name, values in sorted(label.arrays().items()):
            digest.update(name.encode() + values.tobytes())
        kept.setdefault(digest.hexdigest(), label)
    return list(kept.values())


def _common_settings(labels: Sequence[ConfigurationData]) -> Settings | None:
    """What all labels were computed with.

    :raises ValueError: if functional, engine or settings differ, saying how.
    """
    sources = Counter(tuple(label.base.attributes.get(key) for key in SOURCE) for label in labels)
    if len(sources) > 1:
        counts = ", ".join(
            f"{count} of {functional} by {engine}"
            for (functional, engine, _), count in sorted(sources.items(), key=str)
        )
        raise ValueError(
            f"a data set is of one functional and engine, these labels are: {counts}. Make one data set of each; a"
            " training takes several"
        )
    settings: dict[str, Settings | None] = {}
    for label in labels:
        found = read_settings(label)
        settings.setdefault(json.dumps(found, sort_keys=True), found)
    if len(settings) > 1:
        first, *others = settings.values()
        texts = dict.fromkeys(text for other in others for text in differences(first, other))
        text = "; ".join(list(texts)[:SHOWN])
        raise ValueError(f"the labels were computed with different settings, and do not belong together: {text}")
    return next(iter(settings.values()))

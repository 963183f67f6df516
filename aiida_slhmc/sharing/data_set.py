"""A data set: a named group of labels with one block of them, which trainings take as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData

__all__ = ("PREFIX", "DataSet", "check_name", "data_set_names", "load_data_set", "store_data_set")

# of the groups' labels; a group needs no class of its own, and so can be imported where this package is not installed
PREFIX = "slhmc/dataset/"


class DataSet:
    """The labels of a group, in the order of its block."""

    def __init__(self, group: orm.Group) -> None:
        """The data set of this *group*.

        :raises ValueError: if it has not one block whose labels are all in the group.
        """
        self.group = group
        nodes = list(group.nodes)
        blocks = [node for node in nodes if isinstance(node, DatasetData)]
        labels = {node.uuid: node for node in nodes if isinstance(node, ConfigurationData)}
        if len(blocks) != 1:
            raise ValueError(f"the group {group.label} has {len(blocks)} blocks of labels; a data set has one")
        self.block = blocks[0]
        uuids = self.block.get_uuids()
        missing = [uuid for uuid in uuids if uuid not in labels]
        if missing:
            raise ValueError(f"the group {group.label} lacks {len(missing)} labels of its block, such as {missing[0]}")
        self.labels = [labels[uuid] for uuid in uuids]

    @property
    def name(self) -> str:
        """Name without the prefix of the group."""
        return str(self.group.label).removeprefix(PREFIX)


def check_name(name: str) -> None:
    """Refuse a name that is no name, or taken.

    :raises ValueError: with a sentence.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"'{name}' is no name for a data set: letters, digits, dots, hyphens and underscores only")
    if name in data_set_names():
        raise ValueError(
            f"there is a data set '{name}'; choose another name, or delete it with `verdi group delete {PREFIX}{name}`"
            " (the labels stay)"
        )


def store_data_set(name: str, block: DatasetData, labels: Sequence[ConfigurationData]) -> DataSet:
    """Group a stored *block* and its *labels* as data set *name*.

    :raises ValueError: if the name is taken.
    """
    check_name(name)
    group = orm.Group(label=PREFIX + name).store()
    group.add_nodes([block, *labels])
    return DataSet(group)


def data_set_names() -> list[str]:
    """Names of the profile's data sets, sorted."""
    query = orm.QueryBuilder().append(orm.Group, filters={"label": {"like": f"{PREFIX}%"}}, project="label")
    return sorted(str(label).removeprefix(PREFIX) for label in query.all(flat=True))


def load_data_set(name: str) -> DataSet:
    """The data set called *name*, with or without the prefix of its group.

    :raises ValueError: if there is none, with the names that there are.
    """
    label = PREFIX + name.removeprefix(PREFIX)
    try:
        group = orm.load_group(label=label)
    except NotExistent as error:
        known = ", ".join(data_set_names()) or "none; make one with `aiida-slhmc dataset create`"
        raise ValueError(f"there is no data set '{name}'; there are: {known}") from error
    return DataSet(group)

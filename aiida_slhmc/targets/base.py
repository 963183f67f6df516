"""What an engine has to bring to be a target, and how targets are found by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import entry_points
from typing import Any, ClassVar

from aiida import orm
from aiida.engine import WorkChain

__all__ = ("ENTRY_POINT_GROUP", "Target", "load_target", "target_names")

ENTRY_POINT_GROUP = "aiida_slhmc.targets"


class Target(ABC):
    """An adapter: which work chain labels a structure, and how its inputs are made from a protocol.

    The work chain takes ``structure`` and the nodes that :meth:`get_inputs` returns, and has an output ``label``, a
    labelled ConfigurationData. Where it ends with an exit code instead, the configuration has no label. If it has an
    input ``restart_folder``, it gets there the output ``remote_folder`` of the label that the configuration comes from.
    ``LabelWorkChain`` is a base class with all of that. Register the class in the entry-point group
    ``aiida_slhmc.targets``.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def get_work_chain(cls) -> type[WorkChain]:
        """The work chain class that labels one structure."""

    @classmethod
    @abstractmethod
    def get_inputs(cls, *, structure: orm.StructureData, functional: str, **options: Any) -> dict[str, Any]:
        """Inputs of the work chain but for ``structure``: nodes and nested dictionaries of nodes.

        :param structure: the starting structure; only its elements matter.
        :param functional: name of the functional, for example ``pbe``.
        :raises ValueError: if the engine does not know the functional or an option is wrong.
        """

    @classmethod
    def check_elements(cls, elements: set[str], inputs: Any) -> str | None:
        """Why *inputs* (as of :meth:`get_inputs`) cannot label a structure of these elements, or None."""
        return None


def target_names() -> list[str]:
    """Names of the installed targets."""
    return sorted(entry_points(group=ENTRY_POINT_GROUP).names)


def load_target(name: str) -> type[Target]:
    """The adapter called *name*.

    :raises ValueError: if no installed package provides it, or a package that it needs is not installed.
    """
    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if not found:
        raise ValueError(f"there is no target '{name}'; installed: {', '.join(target_names())}")
    try:
        return next(iter(found)).load()
    except ModuleNotFoundError as error:
        extra = name.replace("_", "-")
        raise ValueError(
            f"the target '{name}' needs the package '{error.name}': pip install 'aiida-slhmc[{extra}]'"
        ) from error

"""The checks of what no calculation function covers, and which nodes each is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aiida import orm
from aiida.orm.implementation import StorageBackend

from aiida_slhmc.audit.archive import READ_ERRORS, nodes_of
from aiida_slhmc.audit.chains import check_epoch, check_relabelling, check_run
from aiida_slhmc.audit.contents import check_configuration, check_model
from aiida_slhmc.audit.functions import PACKAGE, function_name
from aiida_slhmc.audit.graph import Problems, creator_of, name_of
from aiida_slhmc.audit.labels import READERS, check_label
from aiida_slhmc.audit.proposals import check_decision, check_proposals
from aiida_slhmc.audit.transfers import check_study, check_transfer
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.mace_model import MaceModelData

__all__ = ("Link", "check_links", "count_links")

# what a damaged or altered graph may do to a check that takes a sound one for granted
BROKEN = (*READ_ERRORS, AttributeError, AssertionError, TypeError, IndexError)

FUNCTION_CHECKS: dict[str, Callable[[Any], Problems]] = {
    "metropolis": check_decision,
    **dict.fromkeys(READERS, check_label),
}
PROCESS_CHECKS: dict[str, Callable[[Any], Problems]] = {
    "aiida.calculations:slhmc.mace_proposal": check_proposals,
    "aiida.workflows:slhmc.epoch": check_epoch,
    "aiida.workflows:slhmc.relabel": check_relabelling,
    "aiida.workflows:slhmc.slhmc": check_run,
    "aiida.workflows:slhmc.study": check_study,
    "aiida.workflows:slhmc.transfer": check_transfer,
}
DATA_CHECKS: dict[type[orm.Data], Callable[[Any], Problems]] = {
    ConfigurationData: check_configuration,
    MaceModelData: check_model,
}
CLASSES: tuple[type[orm.Node], ...] = (orm.CalcFunctionNode, orm.CalcJobNode, orm.WorkChainNode, *DATA_CHECKS)


class Link(NamedTuple):
    """One thing that was checked, and what is wrong with it, None for nothing.

    ``is_given`` says of a node of data that nothing in the archive made it.
    """

    kind: str
    problem: str | None
    is_given: bool = False


def count_links(storage: StorageBackend) -> int:
    """How many nodes :func:`check_links` looks at."""
    return sum(orm.QueryBuilder(backend=storage).append(kind).count() for kind in CLASSES)


def check_links(storage: StorageBackend) -> Iterator[list[Link]]:
    """What was checked of each node, one list for a node."""
    for kind in CLASSES:
        for node in nodes_of(storage, kind):
            yield _links_of(node)


def _links_of(node: Any) -> list[Link]:
    check, is_given = _check_of(node), isinstance(node, orm.Data) and creator_of(node) is None
    kind = type(node).__name__ if isinstance(node, orm.Data) else str(node.process_label)
    if check is None:
        return []
    links = []
    try:
        for problem in check(node):
            links.append(Link(kind, f"{name_of(node)}: {problem}" if problem else None, is_given))
    except BROKEN as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        links.append(Link(kind, f"{name_of(node)}: it is not whole, and cannot be checked ({what})", is_given))
    return links


def _check_of(node: Any) -> Callable[[Any], Problems] | None:
    """What to check of this node, by what made it and not by what it is called; None for nothing."""
    if isinstance(node, orm.Data):
        return next((check for kind, check in DATA_CHECKS.items() if isinstance(node, kind)), None)
    if isinstance(node, orm.CalcFunctionNode):
        is_own = (node.process_type or "").startswith(f"{PACKAGE}.") and node.is_finished_ok
        return FUNCTION_CHECKS.get(function_name(node)) if is_own else None
    return PROCESS_CHECKS.get(node.process_type or "")

"""Executing the archive's calculation functions again, with the functions of the installed package and no others."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode

import aiida_slhmc
from aiida_slhmc.audit.comparison import Comparison, compare_nodes

__all__ = (
    "PACKAGE",
    "Execution",
    "execute_again",
    "find_function",
    "function_name",
    "module_names",
    "not_to_be_skipped",
)

PACKAGE = aiida_slhmc.__name__
# where calculation functions are
PARTS = ("calculations", "sharing", "targets")
OWN_WORK_CHAINS = "aiida.workflows:slhmc."
SEPARATOR = "__"  # AiiDA's, of namespaces in the labels of links
RESULT = "result"  # AiiDA's, of a single output

Outputs = dict[str, Any]


@dataclass
class Execution:
    """A calculation function's call, made again: its ``outputs``, unstored, and how they compare with the stored ones.

    ``is_done`` is False where it could not be made; the reason is among the differences.
    """

    outputs: Outputs = field(default_factory=dict)
    n_equal: int = 0
    comparison: Comparison = field(default_factory=Comparison)
    is_done: bool = False

    def fail(self, reason: str) -> Execution:
        """Put it on record that nothing can be compared."""
        self.comparison.differences.append(reason)
        return self


@cache
def module_names() -> frozenset[str]:
    """Modules of this package in which calculation functions may be, found without importing them."""
    names = set()
    for part in PARTS:
        path = [f"{folder}/{part}" for folder in aiida_slhmc.__path__]
        prefix = f"{PACKAGE}.{part}."
        names |= {module.name for module in pkgutil.iter_modules(path, prefix)}
    return frozenset(names)


def find_function(process_type: str | None) -> Callable[..., Any] | None:
    """The plain function that AiiDA's record of a call names, or None where this package has no such function.

    An archive may come from anyone: what it names is looked up among this package's own modules, and nothing else is
    imported.

    :raises ImportError: if the module needs a package that is not installed.
    """
    module_name, _, name = (process_type or "").rpartition(".")
    if module_name not in module_names():
        return None
    function = getattr(importlib.import_module(module_name), name, None)
    is_own = getattr(function, "is_process_function", False) and getattr(function, "__module__", "") == module_name
    return inspect.unwrap(function) if is_own and callable(function) else None


def function_name(node: orm.CalcFunctionNode) -> str:
    """Name of the function that AiiDA's record names, without its module."""
    return (node.process_type or "").rpartition(".")[2]


def not_to_be_skipped(node: orm.CalcFunctionNode) -> str | None:
    """Why a call that cannot be executed again is a finding, or None where it may be passed over, or can be executed.

    What a user did before a run, or another package's work chain in it, is not this package's. But its own work chains
    call its own functions, and what did not finish has no outputs that anything could be made of.
    """
    if not (node.process_type or "").startswith(f"{PACKAGE}."):
        callers = node.base.links.get_incoming(link_type=LinkType.CALL_CALC).all_nodes()
        own = [
            str(caller.process_label) for caller in callers if (caller.process_type or "").startswith(OWN_WORK_CHAINS)
        ]
        return (
            f"called by {own[0]}, it is said to be {node.process_type}, and cannot be executed again" if own else None
        )
    if not node.is_finished and _stored_outputs(node):
        return "it did not finish, and has outputs: it cannot be executed again"
    return None


def execute_again(node: orm.CalcFunctionNode, function: Callable[..., Any]) -> Execution:
    """Call *function* with the inputs of *node*, and compare what comes out with its outputs, or its exit code."""
    execution = Execution()
    try:
        result = function(**_inputs(node))
        execution.outputs = {} if isinstance(result, ExitCode) else _flat(result)
    # whatever a function raises on altered inputs is a finding, not the end of the check
    except Exception as error:
        return execution.fail(f"it raises {type(error).__name__}: {_first_line(error)}")
    execution.is_done = True
    found = execution.comparison
    status = result.status if isinstance(result, ExitCode) else 0
    if status != (node.exit_status or 0):
        found.differ("exit code", node.exit_status, f"{status} {getattr(result, 'message', '')}".strip())
        return execution
    stored = _stored_outputs(node)
    is_from_cache = node.base.caching.is_created_from_cache
    for name in sorted(set(stored) ^ set(execution.outputs)):
        found.differ(f"output {name}", *("there" if name in side else "absent" for side in (stored, execution.outputs)))
    for name in sorted(set(stored) & set(execution.outputs)):
        compared = compare_nodes(stored[name], execution.outputs[name], is_from_cache=is_from_cache)
        execution.n_equal += not compared.differences
        what = f"{type(stored[name]).__name__} {stored[name].uuid} ({name})"
        compared.differences = [f"{what}: {text}" for text in compared.differences]
        found.merge(compared)
    return execution


def _stored_outputs(node: orm.CalcFunctionNode) -> Outputs:
    """Outputs by the labels of their links."""
    links = node.base.links.get_outgoing(link_type=LinkType.CREATE).all()
    return {link.link_label: link.node for link in links}


def _inputs(node: orm.CalcFunctionNode) -> dict[str, Any]:
    """Arguments, those of a namespace as a dictionary."""
    arguments: dict[str, Any] = {}
    for link in node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all():
        *spaces, name = link.link_label.split(SEPARATOR)
        place = arguments
        for space in spaces:
            place = place.setdefault(space, {})
        place[name] = link.node
    return arguments


def _flat(result: Any, prefix: str = "") -> Outputs:
    """Outputs by the labels that their links get.

    :raises TypeError: if something else than data was returned.
    """
    if isinstance(result, orm.Data):
        return {prefix or RESULT: result}
    if not isinstance(result, Mapping):
        raise TypeError(f"a calculation function returned {type(result).__name__}")
    outputs: Outputs = {}
    for name, value in result.items():
        # AiiDA takes a dot, as in ``structures.frame_1``, for a namespace, too
        label = str(name).replace(".", SEPARATOR)
        outputs |= _flat(value, f"{prefix}{SEPARATOR}{label}" if prefix else label)
    return outputs


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]

"""Starting a work chain from a script: here and now, or by the daemon."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node, submit
from aiida.manage.caching import enable_caching, get_use_cache

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.targets.base import load_target

__all__ = ("cached_calculations", "launch")


def cached_calculations(builder: Any) -> list[str]:
    """Names, as AiiDA's caching takes them, of the calculations that make this run's proposals and labels."""
    chain = load_target(builder.target["engine"].value).get_work_chain()
    # a target's work chain need not be of our base class, and may call more than one calculation
    label = getattr(chain, "_process_class", None)
    return [process.build_process_type() for process in (MaceProposalCalculation, label) if process is not None]


def launch(builder: ProcessBuilder, *, to_daemon: bool = False, take_over: bool = False) -> orm.ProcessNode:
    """Run *builder* in this process and wait, or submit it to the daemon.

    :param take_over: take stored proposals and labels of an interrupted epoch over instead of computing them again
        (AiiDA's caching), as a restart wants it.
    :raises ValueError: if the daemon shall take over, but its profile has caching switched off for these calculations.
    """
    if not to_daemon:
        if not take_over:
            return run_get_node(builder)[1]
        with enable_caching():
            return run_get_node(builder)[1]
    cached = cached_calculations(builder) if take_over else []
    if not all(get_use_cache(identifier=name) for name in cached):
        raise ValueError(
            "the daemon would compute the interrupted epoch's stored labels again. Switch AiiDA's caching on first: "
            f"`verdi config set caching.enabled_for {' '.join(cached)}` and `verdi daemon restart`"
        )
    return submit(builder)

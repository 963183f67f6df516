"""Starting a work chain from a script: here and now, or by the daemon."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node, submit
from aiida.manage.caching import enable_caching, get_use_cache

__all__ = ("launch",)

CACHED = ("aiida.calculations:slhmc.mace_proposal", "aiida.calculations:vasp.vasp")


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
    missing = [name for name in CACHED if take_over and not get_use_cache(identifier=name)]
    if missing:
        raise ValueError(
            "the daemon would compute the interrupted epoch's stored labels again. Switch AiiDA's caching on first: "
            f"`verdi config set caching.enabled_for {' '.join(CACHED)}` and `verdi daemon restart`"
        )
    return submit(builder)

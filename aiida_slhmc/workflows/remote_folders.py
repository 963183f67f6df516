"""Folders on the computer: which ones the walkers' next labels start from, and the removal of those left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from aiida import orm
from aiida.engine import Process

__all__ = (
    "check_restart_folders",
    "clean",
    "folders_of",
    "left_behind",
    "restart_folder_of",
    "start_from",
    "superseded",
)


def restart_folder_of(label: orm.ProcessNode) -> str | None:
    """Uuid of the folder with the density that a label work chain has left, or None where it leaves none."""
    return label.outputs.remote_folder.uuid if "remote_folder" in label.outputs else None


def start_from(process: type[Process], uuid: str | None) -> dict[str, orm.RemoteData]:
    """Inputs that let a label work chain start from the density in this folder, if it can and there is one."""
    if uuid is None or "restart_folder" not in process.spec().inputs:
        return {}
    return {"restart_folder": cast(orm.RemoteData, orm.load_node(uuid))}


def folders_of(process: orm.ProcessNode) -> list[orm.RemoteData]:
    """Work folders of a calculation job, or of all jobs that a work chain called directly."""
    jobs = [process] if isinstance(process, orm.CalcJobNode) else process.called
    return [job.outputs.remote_folder for job in jobs if "remote_folder" in job.outputs]


def superseded(processes: Iterable[orm.ProcessNode], kept: Sequence[str | None]) -> list[orm.RemoteData]:
    """Work folders of those *processes* that ended well, but for the *kept* ones (uuids).

    Those of a process that failed stay for whoever looks for the reason.
    """
    folders = [folder for process in processes if process.is_finished_ok for folder in folders_of(process)]
    return [folder for folder in folders if folder.uuid not in kept]


def left_behind(
    before: Iterable[str | None], after: Iterable[str | None], given: Mapping[str, orm.RemoteData]
) -> list[orm.RemoteData]:
    """Folders (by uuid) that walkers started from *before* and not *after*, but for the *given*, another process's."""
    left = set(before) - set(after) - {folder.uuid for folder in given.values()} - {None}
    return [cast(orm.RemoteData, orm.load_node(uuid)) for uuid in left]


def clean(folders: Iterable[orm.RemoteData]) -> str | None:
    """Remove the contents of *folders* on their computers, over one connection for each computer.

    Those of jobs taken from AiiDA's cache are another run's, and stay. A folder that cannot be removed is no reason to
    lose a run.

    :returns: why folders are left, or None.
    """
    problems = []
    by_computer: dict[str, list[orm.RemoteData]] = {}
    for folder in folders:
        shared = folder.creator is not None and folder.creator.base.caching.is_created_from_cache
        if folder.computer is not None and not shared and not folder.is_cleaned:
            by_computer.setdefault(folder.computer.label, []).append(folder)
    for label, group in by_computer.items():
        try:
            with group[0].get_authinfo().get_transport() as transport:
                for folder in group:
                    folder._clean(transport=transport)
        # whatever a transport plugin raises
        except Exception as error:
            problems.append(f"{label}: {error!r}")
    return f"work folders were left behind on {'; '.join(problems)}" if problems else None


def check_restart_folders(inputs: Any, n_walkers: int) -> str | None:
    """Why these ``restart_folders`` cannot be those of the walkers, or None."""
    folders = inputs.get("restart_folders") or {}
    names = {f"walker_{k}" for k in range(n_walkers)}
    unknown = sorted(set(folders) - names)
    if unknown:
        return f"restart_folders.{unknown[0]} belongs to no walker; there are {', '.join(sorted(names))}"
    computer = getattr(inputs["target"].get("code"), "computer", None)
    for name, folder in folders.items():
        if computer is not None and folder.computer.uuid != computer.uuid:
            return (
                f"restart_folders.{name} is on the computer '{folder.computer.label}', but the target's code on "
                f"'{computer.label}': leave restart_folders out, and the densities start from the atoms'"
            )
    return None

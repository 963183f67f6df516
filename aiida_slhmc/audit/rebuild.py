"""Every number of an archive made anew from the archive alone, and the verdict."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aiida import orm
from aiida.orm.implementation import StorageBackend

from aiida_slhmc.audit.archive import READ_ERRORS, damaged_files, nodes_of, open_archive
from aiida_slhmc.audit.comparison import TOLERANCE, node_files
from aiida_slhmc.audit.functions import PACKAGE, Outputs, execute_again, find_function, function_name, not_to_be_skipped
from aiida_slhmc.audit.graph import name_of
from aiida_slhmc.audit.links import check_links, count_links

__all__ = ("Progress", "Verdict", "rebuild")

# the function whose files are the study's tables and pictures
REPORT = "report_study"
VERDICT_FILE = "verdict.json"

# called with what is done, how much of it, and how much there is
Progress = Callable[[str, int, int], None]


@dataclass
class Verdict:
    """What came of it.

    ``executed`` counts calls by function, and ``links`` what was checked beside them by kind of node; ``given`` counts
    the nodes of data that nothing in the archive made, whose numbers have to be believed, and ``skipped`` the calls
    that were not made again. ``largest`` is the largest relative difference between numbers; each of the
    ``differences`` is a sentence, and so are the ``notes``, which are none. ``written`` are paths.
    """

    executed: Counter[str] = field(default_factory=Counter)
    outputs_equal: int = 0
    largest: float = 0.0
    tolerance: float = TOLERANCE
    links: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether something was made anew, and nothing differs."""
        return bool(self.executed) and not self.differences


def rebuild(path: Path, folder: Path, progress: Progress = lambda *_: None) -> Verdict:
    """Check the archive, and write the study's tables as they were rebuilt, and ``verdict.json``, into *folder*.

    No profile, daemon, engine or potential is needed; nothing that is in the archive is run or imported.

    :raises aiida_slhmc.audit.archive.ArchiveError: if the file is no archive.
    """
    verdict = Verdict()
    with open_archive(path) as storage:
        _check_files(storage, verdict, progress)
        _execute(storage, folder, verdict, progress)
        _check_links(storage, verdict, progress)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"archive": path.name, "is_good": verdict.is_good} | vars(verdict)
    # JSON has no infinity, which is the difference to NaN
    content["largest"] = verdict.largest if math.isfinite(verdict.largest) else None
    (folder / VERDICT_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return verdict


def _check_files(storage: StorageBackend, verdict: Verdict, progress: Progress) -> None:
    """Each file is the one that its sha256 says, by which the nodes name it."""
    total = sum(1 for _ in storage.get_repository().list_objects())
    for done, (key, problem) in enumerate(damaged_files(storage), start=1):
        progress("files", done, total)
        verdict.links["file"] += 1
        if problem:
            verdict.differences.append(f"file {key}: {problem}")


def _execute(storage: StorageBackend, folder: Path, verdict: Verdict, progress: Progress) -> None:
    """Call every calculation function of this package again."""
    total = orm.QueryBuilder(backend=storage).append(orm.CalcFunctionNode).count()
    for done, node in enumerate(nodes_of(storage, orm.CalcFunctionNode), start=1):
        progress("calculation functions", done, total)
        problem = not_to_be_skipped(node)
        if problem:
            verdict.differences.append(f"{name_of(node)}: {problem}")
        if not (node.process_type or "").startswith(f"{PACKAGE}."):
            verdict.skipped[f"of another package: {node.process_type}"] += 1
        elif not node.is_finished:
            verdict.skipped[f"did not finish: {function_name(node)}"] += 1
        else:
            _execute_one(node, folder, verdict)


def _execute_one(node: orm.CalcFunctionNode, folder: Path, verdict: Verdict) -> None:
    name = function_name(node)
    try:
        function = find_function(node.process_type)
        if function is None:
            made_by = node.base.attributes.get("version", {}).get("plugin")
            raise ImportError(f"{PACKAGE} {made_by} made it, and this version has no {node.process_type}")
        execution = execute_again(node, function)
    except ImportError as error:
        verdict.differences.append(f"{name_of(node)} cannot be executed here: {error}")
        return
    except READ_ERRORS as error:
        verdict.differences.append(f"{name_of(node)} cannot be compared, its nodes are not whole: {error}")
        return
    verdict.executed[name] += int(execution.is_done)
    verdict.outputs_equal += execution.n_equal
    verdict.largest = max(verdict.largest, execution.comparison.largest)
    verdict.differences += [f"{name_of(node)}: {text}" for text in execution.comparison.differences]
    verdict.notes += [f"{name_of(node)}: {text}" for text in execution.comparison.notes]
    if name == REPORT:
        # the first where it is looked for, further ones in folders of their own
        place = folder / node.uuid if verdict.executed[name] > 1 else folder
        try:
            verdict.written += _write(execution.outputs, place)
        except ValueError as error:
            verdict.differences.append(f"{name_of(node)}: {error}")


def _write(outputs: Outputs, folder: Path) -> list[str]:
    """Put the files of rebuilt FolderData into *folder*; returns their paths.

    :raises ValueError: for a name that leads out of the folder.
    """
    written = []
    for node in outputs.values():
        for name in node_files(node) if isinstance(node, orm.FolderData) else []:
            parts = PurePosixPath(name).parts
            if ".." in parts or PurePosixPath(name).is_absolute():
                raise ValueError(f"a file of the report would be written outside the folder: {name}")
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(node.base.repository.get_object_content(name, mode="rb"))
            written.append(str(path))
    return written


def _check_links(storage: StorageBackend, verdict: Verdict, progress: Progress) -> None:
    """What no calculation function covers."""
    total = count_links(storage)
    for done, links in enumerate(check_links(storage), start=1):
        progress("links", done, total)
        verdict.links.update(link.kind for link in links)
        verdict.given.update({link.kind for link in links if link.is_given})
        verdict.differences += [link.problem for link in links if link.problem]

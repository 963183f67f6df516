"""Takes out of an archive what must not be passed on, and leaves the rest as it was.

Data nodes are never changed, or their content would not be that of their hashes: one with something private in it is
left out whole. Of process nodes only records of where and how a job ran are removed: AiiDA's hashes do not cover them,
but for a few options of jobs, without which the node is no longer the source of a cached one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiida_slhmc.sharing.leaks import without_own_fields
from aiida_slhmc.sharing.search import REMOVED_DOMAIN, Search
from aiida_slhmc.sharing.unpacked import Row, Unpacked, entries

__all__ = ("ALLOW", "LeftOut", "SharingError", "sanitise")

# nodes that hold licensed text or access to computers, whatever is in them; POTCARs are named by sha512 in PotcarData
NEVER = ("data.vasp.potcar_file.", "data.core.remote.", "data.core.code.")
DICT = "data.core.dict."
# what a data set consists of
ESSENTIAL = ("data.slhmc.configuration.", "data.slhmc.dataset.")

# where, when and for whom a job ran, and what only that computer's scheduler and shell understand
JOB_ATTRIBUTES = (
    *("remote_workdir", "job_id", "last_job_info", "detailed_job_info", "scheduler_lastchecktime", "exception"),
    *("account", "queue_name", "qos", "priority", "prepend_text", "append_text", "custom_scheduler_commands"),
    *("environment_variables", "mpirun_extra_params", "scheduler_stderr", "scheduler_stdout", "stash", "computer"),
)
# among them those that are options, for one computer's scheduler and shell only: a Dict with any of them is left out
OPTIONS = JOB_ATTRIBUTES[JOB_ATTRIBUTES.index("account") : JOB_ATTRIBUTES.index("mpirun_extra_params") + 1]
# replaced where something private is in them: sentences for people, which no hash covers
SENTENCES = ("exit_message", "process_status")
# the job's script and AiiDA's own notes on what to copy where
JOB_FILES = ("_aiidasubmit.sh", ".aiida/")
# says which node a cached one was copied from; the referee's check uses it
KEPT_EXTRAS = ("_aiida_cached_from", "_aiida_hash")
TEXT = "removed before this was shared"
# the end of messages that name what was found
ALLOW = ". A word in quotes that is no secret of yours can stay: `--allow WORD`"


class SharingError(ValueError):
    """A data set that cannot be passed on as it is; the message says what to do."""


@dataclass
class LeftOut:
    """What is not in the archive any more: number of nodes by kind, of files by name, and why data were left out.

    ``found`` counts nodes and files of processes by what was found in them; ``incomplete`` counts calls of calculation
    functions by name that cannot be executed again, because an input is among what was left out.
    """

    nodes: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    incomplete: Counter[str] = field(default_factory=Counter)


def sanitise(archive: Unpacked, search: Search) -> LeftOut:
    """Remove users, hosts, folders, job scripts, codes, POTCARs, comments, logs and whatever *search* finds.

    :raises SharingError: if something private is where it cannot be removed: in a label, a block or a process's inputs.
    """
    left_out = LeftOut()
    _sanitise_tables(archive, search)
    cached: dict[str, list[str]] = {}

    def found_in(key: str) -> list[str]:
        if key not in cached:
            cached[key] = search.content(archive.content(key))
        return cached[key]

    removed = []
    for row in archive.rows():
        if row.node_type.startswith(NEVER):
            removed.append(row.id)
            left_out.nodes[row.name.split()[0]] += 1
        elif row.is_process:
            _sanitise_process(archive, row, search, found_in, left_out)
        elif _sanitise_data(archive, row, search, found_in, left_out):
            removed.append(row.id)
    left_out.incomplete = _incomplete(archive, removed)
    archive.remove(removed)
    return left_out


def _incomplete(archive: Unpacked, removed: list[int]) -> Counter[str]:
    """Calls of calculation functions that have one of the *removed* nodes as an input, by name."""
    query = """SELECT DISTINCT node.id, json_extract(node.attributes, '$.process_label') FROM db_dbnode AS node
        JOIN db_dblink AS link ON link.output_id = node.id
        WHERE node.node_type LIKE 'process.calculation.calcfunction.%' AND link.input_id = ?"""
    calls = {row for number in removed for row in archive.database.execute(query, (number,))}
    return Counter(str(name) for _, name in calls)


def _sanitise_tables(archive: Unpacked, search: Search) -> None:
    """Everything but nodes."""
    for table in ("db_dblog", "db_dbcomment", "db_dbauthinfo"):
        archive.execute(f"DELETE FROM {table}")
    archive.execute(
        "UPDATE db_dbuser SET first_name = '', last_name = '', institution = '', email = 'user-' || id || ?",
        f"@{REMOVED_DOMAIN}",
    )
    archive.execute(
        "UPDATE db_dbcomputer SET hostname = ?, description = '', metadata = '{}', label = 'computer-' || id",
        REMOVED_DOMAIN,
    )
    archive.execute("UPDATE db_dbgroup SET extras = '{}'")
    groups = archive.database.execute("SELECT label, description FROM db_dbgroup").fetchall()
    found = [what for texts in groups for text in texts for what in search.text(text or "")]
    if found:
        raise SharingError(
            f"the name or the description of the data set has {', '.join(found)} in it: choose others with"
            f" `verdi group relabel` and `verdi group description`{ALLOW}"
        )


def _sanitise_process(archive: Unpacked, row: Row, search: Search, found_in: Any, left_out: LeftOut) -> None:
    """Remove the records of where and how a process ran."""
    attributes = _without(row.attributes, JOB_ATTRIBUTES)
    for name in SENTENCES:
        if attributes.get(name) and search.json(attributes[name]):
            attributes[name] = TEXT
    found = search.json(without_own_fields(attributes))
    if found:
        raise SharingError(
            f"{row.name} has {', '.join(found)} in its attributes, from where it cannot be removed{ALLOW}"
        )
    script = str(row.attributes.get("submit_script_filename") or JOB_FILES[0])
    scripts = {path for path in row.files if path == script or path.startswith(JOB_FILES)}
    others = {path: [*search.text(path), *found_in(key)] for path, key in row.files.items() if path not in scripts}
    private = scripts | {path for path, what in others.items() if what}
    left_out.found.update(what for path in others for what in dict.fromkeys(others[path]))
    left_out.files.update(path.partition("/")[0] for path in private)
    archive.update(
        row,
        attributes=attributes,
        extras=_kept_extras(row, is_whole=_hashed(row.attributes) == _hashed(attributes)),
        repository_metadata=_without_files(row.metadata, private),
        **_texts(row, search),
    )


def _sanitise_data(archive: Unpacked, row: Row, search: Search, found_in: Any, left_out: LeftOut) -> bool:
    """Remove a node's extras, and tell whether the node itself has to be left out."""
    whats = search.json(row.attributes)
    whats += [f"the option {name}" for name in OPTIONS if row.node_type.startswith(DICT) and row.attributes.get(name)]
    found = list(whats)
    for path, key in row.files.items():
        in_file = [*search.text(path), *found_in(key)]
        whats += in_file
        found += [f"{what} in {path}" for what in in_file]
    if not found:
        archive.update(row, extras=_kept_extras(row), **_texts(row, search))
        return False
    if row.node_type.startswith(ESSENTIAL):
        raise SharingError(
            f"{row.name} has {', '.join(found)} in it, and a label or block cannot be left out: create the data set"
            f" without it{ALLOW}"
        )
    left_out.nodes[row.name.split()[0]] += 1
    left_out.reasons.append(f"{row.name}: {', '.join(found)}")
    left_out.found.update(set(whats))
    return True


def _texts(row: Row, search: Search) -> dict[str, str]:
    """Label and description, emptied where something private is in them."""
    texts = {"label": row.label, "description": row.description}
    return {name: "" if search.text(text) else text for name, text in texts.items()}


def _kept_extras(row: Row, *, is_whole: bool = True) -> dict[str, Any]:
    """AiiDA's own; the hash only where the node is what was hashed."""
    names = KEPT_EXTRAS if is_whole else KEPT_EXTRAS[:1]
    return {name: value for name, value in row.extras.items() if name in names}


def _hashed(attributes: dict[str, Any]) -> dict[str, Any]:
    """Options of a job among those that are removed that AiiDA's hash of the node covers, where they say anything."""
    names = ("prepend_text", "append_text", "custom_scheduler_commands", "environment_variables", "mpirun_extra_params")
    return {name: attributes[name] for name in (*names, "stash") if name in attributes}


def _without(values: Any, names: tuple[str, ...]) -> Any:
    """Nested dictionaries without these keys, at any depth."""
    if isinstance(values, dict):
        return {key: _without(value, names) for key, value in values.items() if key not in names}
    return values


def _without_files(metadata: dict[str, Any], paths: set[str], folder: str = "") -> dict[str, Any]:
    """The metadata of a repository without these files, and without folders that are empty then."""
    kept = {}
    for name, entry in (metadata.get("o") or {}).items():
        if "k" in entry:
            if folder + name not in paths:
                kept[name] = entry
        else:
            inner = _without_files(entry, paths, f"{folder}{name}/")
            if any(entries(inner)):
                kept[name] = inner
    return {"o": kept} if kept else {}

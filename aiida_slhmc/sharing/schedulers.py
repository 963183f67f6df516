"""Users and hosts in what schedulers say of a job, in the forms of Slurm, PBS and LSF."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

__all__ = ("expand_hosts", "names_in_job")

# of a record of Slurm's accounting, which AiiDA asks for when a job has ended
USER_COLUMNS, HOST_COLUMNS = ("User", "Account"), ("NodeList",)
# no job runs on more
LARGEST_LIST = 20_000


def names_in_job(job: Any, record: Any) -> tuple[set[str], set[str]]:
    """Users with accounts, and hosts, of a job: attributes ``last_job_info`` and ``detailed_job_info`` of its node.

    Either may be missing, or be text where it should be a dictionary.
    """
    users: set[str] = set()
    hosts: set[str] = set()
    values = _dictionary(job)
    users |= {str(values.get("job_owner") or "").partition("@")[0], str(values.get("account") or "")}
    hosts |= {str(values.get("job_owner") or "").partition("@")[2], str(values.get("submission_machine") or "")}
    for machine in values.get("allocated_machines") or []:
        hosts |= set(expand_hosts(str(machine.get("name") or "") if isinstance(machine, dict) else str(machine)))
    hosts |= set(expand_hosts(str(values.get("allocated_machines_raw") or "")))
    for row in _rows(str(_dictionary(record).get("stdout") or "")):
        users |= {row.get(column, "") for column in USER_COLUMNS}
        hosts |= {host for column in HOST_COLUMNS for host in expand_hosts(row.get(column, ""))}
    return users - {""}, hosts - {""}


def expand_hosts(text: str) -> Iterator[str]:
    """Each host of a list such as ``node[01-04,07],gpu1`` (Slurm), ``node1/0*4+node2/0*4`` (PBS), ``4*node1:4*node2``.

    Of an abbreviated list the abbreviation is yielded, too.
    """
    for item in re.findall(r"(?:[^,+:\s\[\]]+(?:\[[^\]]*\])?)+", text):
        name = re.sub(r"^\d+\*|/.*$", "", item)
        parts = re.split(r"\[([^\]]*)\]", name)
        if len(parts) > 1:
            yield name
        # every second one was in brackets
        choices = [_numbers(part) if k % 2 else [part] for k, part in enumerate(parts)]
        yield from ("".join(combination) for combination in islice(product(*choices), LARGEST_LIST))


def _numbers(text: str) -> list[str]:
    """``01-04,07`` as 01, 02, 03, 04, 07."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and last.isdigit():
            found += [f"{k:0{len(first)}d}" for k in range(int(first), min(int(last), int(first) + LARGEST_LIST) + 1)]
        else:
            found.append(part)
    return found


def _rows(table: str) -> Iterator[dict[str, str]]:
    """Rows of a table whose columns are separated by ``|`` and named in its first line."""
    lines = [line.split("|") for line in table.splitlines() if "|" in line]
    for line in lines[1:]:
        yield dict(zip(lines[0], map(str.strip, line), strict=False))


def _dictionary(value: Any) -> dict[str, Any]:
    """A dictionary as AiiDA stores it, or as text; empty for anything else."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

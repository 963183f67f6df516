"""Two hundred cycles on PostgreSQL, RabbitMQ and a daemon with three workers: nothing grows that should not.

The figures are written to ``build/production/200_cycles.json``; docs/how-to/production_profile.md quotes them.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from killed_runs import ROOT
from production import Production, production_profile
from services import needs_services

pytestmark = [needs_services, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3 * 3600)]

N_EPOCHS, N_CYCLES = 10, 20
RUN = {"n_walkers": 1, "n_cycles": N_CYCLES, "label_budget": N_EPOCHS * N_CYCLES}
CYCLES = "SELECT count(*) FROM db_dbnode WHERE attributes->>'process_label' = 'metropolis'"
CHECKPOINTS = (
    "SELECT attributes->>'process_label', max(length(attributes->>'checkpoints')) FROM db_dbnode WHERE "
    "attributes->>'process_label' IN ('SlhmcWorkChain', 'EpochWorkChain') AND attributes ? 'checkpoints' GROUP BY 1"
)
STATES = "SELECT attributes->>'process_state', count(*) FROM db_dbnode WHERE node_type LIKE 'process.%' GROUP BY 1"
SIZES = "SELECT pg_database_size(current_database()), (SELECT count(*) FROM db_dbnode)"


def measure(production: Production) -> dict[str, Any]:
    """Cycles so far, bytes of checkpoints and database, nodes, and the workers' memory (bytes, unique to each)."""
    ask = production.database.ask
    [[n_cycles]], [[n_bytes, n_nodes]] = ask(CYCLES), ask(SIZES)
    workers = [psutil.Process(pid) for pid in production.profile.daemon_processes(b"worker")]
    memory = [process.memory_full_info().uss for process in workers]
    row = {"time": time.time(), "cycles": n_cycles, "database": n_bytes, "nodes": n_nodes, "worker_memory": memory}
    return row | dict(ask(CHECKPOINTS))


def follow(production: Production, timeout: float) -> list[dict[str, Any]]:
    """Measure twice in a minute until no process is left that has not ended."""
    rows, end = [], time.monotonic() + timeout
    while time.monotonic() < end:
        rows.append(measure(production))
        if set(dict(production.database.ask(STATES))) <= {"finished", "excepted", "killed"}:
            return rows
        time.sleep(30)
    raise AssertionError(f"not finished in time: {rows[-1]}")


def median(rows: list[dict[str, Any]], name: str, first: int, last: int) -> float:
    """Of a quantity, over the measurements at cycles from *first* to before *last*."""
    values = sorted(row[name] for row in rows if first <= row["cycles"] < last and name in row)
    return values[len(values) // 2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Production, list[dict[str, Any]]]:
    """The run, when it has ended, and what was measured on the way."""
    with production_profile(tmp_path_factory.mktemp("cycles")) as production:
        assert production.profile.start("submit", json.dumps(RUN)).wait() == 0
        rows = follow(production, timeout=2.5 * 3600)
        folder = ROOT / "build" / "production"
        folder.mkdir(parents=True, exist_ok=True)
        Path(folder / "200_cycles.json").write_text(json.dumps(rows, indent=1))
        yield production, rows


def test_all_cycles(finished) -> None:
    """Fails where a cycle, a label or a training is missing, or a process did not end well."""
    production, _ = finished
    [[_, state, status, labels, decisions]] = production.profile.runs()
    assert (state, status) == ("finished", 0)
    places = [(epoch, cycle, 0) for epoch in range(N_EPOCHS) for cycle in range(N_CYCLES)]
    assert sorted(tuple(place) for *_, place in labels) == places  # none twice, none missing
    assert {status for _, _, status, _ in labels} == {0}
    assert [(epoch, cycle, 0) for epoch, cycle, *_ in decisions] == places
    assert dict(production.database.ask(STATES)).keys() == {"finished"}


def test_context_does_not_grow(finished) -> None:
    """Fails where the checkpoint of the run or of an epoch carries what happened in its cycles.

    The run's own gets one uuid of a block per epoch, 36 characters and its punctuation.
    """
    _, rows = finished
    run = median(rows, "SlhmcWorkChain", 180, 200) - median(rows, "SlhmcWorkChain", 20, 40)
    assert run < N_EPOCHS * 60
    epoch = median(rows, "EpochWorkChain", 180, 200) - median(rows, "EpochWorkChain", 1, 40)
    assert abs(epoch) < 200


def test_database_grows_evenly(finished) -> None:
    """Fails where a late cycle costs more nodes or bytes than an early one."""
    _, rows = finished

    def per_cycle(name: str, first: int, last: int) -> float:
        part = [row for row in rows if first <= row["cycles"] <= last]
        return (part[-1][name] - part[0][name]) / (part[-1]["cycles"] - part[0]["cycles"])

    for name, slack in (("nodes", 1.1), ("database", 1.5)):
        assert per_cycle(name, 100, 200) < slack * per_cycle(name, 10, 100)


def test_no_zombies(finished) -> None:
    """Fails where the daemon leaves ended processes uncollected, or jobs running."""
    production, _ = finished
    daemon = [psutil.Process(pid) for pid in production.profile.daemon_processes()]
    children = [child for process in daemon for child in process.children(recursive=True)]
    assert not [child for child in children if child.status() == psutil.STATUS_ZOMBIE]
    workers = production.profile.daemon_processes(b"worker")
    assert not [child for child in children if child.pid not in {*workers, *(p.pid for p in daemon)}]

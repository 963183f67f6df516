"""A profile of its own for a run that is killed, and what is asked of the graph afterwards."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from services import USER, Postgres, RabbitMq

ROOT = Path(__file__).parents[2]
VERDI = str(Path(sys.executable).parent / "verdi")
SMALL_RUN = str(Path(__file__).parent / "small_run.py")
# (epoch, cycle, walker) of all labels of the small run
PLACES = [(epoch, 0, walker) for epoch in range(2) for walker in range(2)]
# what is asked again and again, of the database itself, PostgreSQL or SQLite: AiiDA takes seconds to start
# a label is stored when its calculation is sealed: the exit status is written before the outputs
LABELLED = (
    "SELECT uuid FROM db_dbnode WHERE attributes->>'process_label' = 'VaspCalculation' "
    "AND CAST(attributes->>'exit_status' AS INTEGER) = 0 AND CAST(attributes->>'sealed' AS TEXT) IN ('true', '1')"
)
NEWEST_RUN = (
    "SELECT id, attributes->>'process_state' FROM db_dbnode "
    "WHERE attributes->>'process_label' = 'SlhmcWorkChain' ORDER BY id DESC LIMIT 1"
)
N_ENDED = (
    "SELECT count(*) FROM db_dbnode WHERE node_type LIKE 'process.%' "
    "AND attributes->>'process_state' IN ('finished', 'excepted', 'killed')"
)
# what is asked of the graph, in a process of its own: run pk, state, exit status, decisions, and of each label's
# calculation: uuid, whether from the cache, exit status (None: AiiDA excepted it or its work chain), place
QUESTION = """
import json, sys
from aiida import orm
from aiida_slhmc.report.run_state import find_runs
def labelled(name):
    return {"attributes.process_label": name}
def labels(run):
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": run}, tag="run")
    query.append(orm.WorkChainNode, with_incoming="run", filters=labelled("EpochWorkChain"), tag="e")
    state, status = "attributes.process_state", "attributes.exit_status"
    query.append(orm.WorkChainNode, with_incoming="e", filters=labelled("VaspLabelWorkChain"), tag="l", project=state)
    query.append(orm.CalcJobNode, with_incoming="l", tag="vasp", project=["uuid", "extras", status])
    query.append(orm.StructureData, with_outgoing="vasp", project="attributes")
    return [
        [u, "_aiida_cached_from" in x, None if s == "excepted" else e, [a["epoch"], a["cycle"], a["walker"]]]
        for s, u, x, e, a in query.all()
    ]
def decisions(run):
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": run}, tag="run")
    query.append(orm.WorkChainNode, with_incoming="run", tag="e")
    query.append(orm.CalcFunctionNode, with_incoming="e", filters=labelled("metropolis"), tag="m")
    query.append(orm.Dict, with_incoming="m", project="attributes")
    return sorted(([d["epoch"], d["cycle"], d["accepted"], d["delta_h"]] for d in query.all(flat=True)))
runs = [n for n in find_runs()]
print(json.dumps([[n.pk, n.process_state.value, n.exit_status, labels(n.pk), decisions(n.pk)] for n in runs]))
"""
# every job that is executed leaves a line, whatever AiiDA knows of it
NOTE_EXECUTIONS = """
from aiida import orm
computer = orm.load_computer("localhost")
computer.set_prepend_text("pwd >> {path}")
"""


class Profile:
    """A profile in a folder of its own: SQLite and ZeroMQ, or the given servers."""

    def __init__(self, folder: Path, postgres: Postgres | None = None, rabbitmq: RabbitMq | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.postgres = folder, postgres
        # the daemon looks for `verdi` on the path
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = os.environ | {"AIIDA_PATH": str(folder), "OMP_NUM_THREADS": "1", "PATH": path}
        if postgres is None or rabbitmq is None:
            self.verdi("presto", "-p", "crash", "--use-zeromq", "-n", profile=False)
        else:
            self._use(postgres, rabbitmq)
        self.verdi("config", "set", "runner.poll.interval", "1")
        # s; on a busy machine its workers need longer than the usual 2 to end
        self.verdi("config", "set", "daemon.timeout", "60")
        self.verdi("run", str(ROOT / "examples" / "setup_demo.py"))
        script = self.folder / "note_executions.py"
        script.write_text(NOTE_EXECUTIONS.format(path=self.folder / "executions"))
        self.verdi("run", str(script))

    def _use(self, postgres: Postgres, rabbitmq: RabbitMq) -> None:
        """Make the profile on these servers."""
        person = ["--email", "a@b.c", "--first-name", "A", "--last-name", "B", "--institution", "C"]
        login = ["--database-username", USER, "--database-password", "any", "--database-name", USER]
        place = ["--database-hostname", "127.0.0.1", "--database-port", str(postgres.port)]
        repository = ["--repository-uri", f"file://{self.folder / 'repository'}", "--broker", "none"]
        arguments = ["-n", "-p", "crash", "--set-as-default", *person, *login, *place, *repository]
        self.verdi("profile", "setup", "core.psql_dos", *arguments, profile=False)
        broker = ["core.rabbitmq", "crash", "-n", "-f", "--broker-host", "127.0.0.1", "--broker-port"]
        self.verdi("profile", "configure-broker", *broker, str(rabbitmq.port), profile=False)

    def verdi(self, *arguments: str, profile: bool = True, check: bool = True) -> str:
        command = [VERDI, *(["-p", "crash"] if profile else []), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=600)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def restart_daemon(self) -> None:
        """With the repair of a process that was stored, but not yet announced to the broker when that was killed."""
        self.verdi("daemon", "stop", check=False)
        self.verdi("process", "repair", check=False)
        self.verdi("daemon", "start", "2", check=False)

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [VERDI, "-p", "crash", "run", SMALL_RUN, *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, start_new_session=True)

    def runs(self) -> list:
        script = self.folder / "question.py"
        script.write_text(QUESTION)
        return json.loads(self.verdi("run", str(script)).splitlines()[-1])

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """The rows that this SQL gives."""
        if self.postgres is not None:
            return self.postgres.ask(question)
        [path] = self.folder.glob(".aiida/**/database.sqlite")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as database:
            return database.execute(question).fetchall()

    def submit(self, n_before: int) -> set[str]:
        """Submit a run; returns what :meth:`wait_for_labels` does."""
        earlier = self.labelled()
        assert self.start("submit").wait() == 0
        return self.wait_for_labels(n_before, earlier)

    def labelled(self) -> set[str]:
        """The uuids of all label calculations that have ended well."""
        return {str(uuid) for [uuid] in self.ask(LABELLED)}

    def wait_for_labels(
        self, n_labels: int, earlier: frozenset[str] | set[str] = frozenset(), timeout: float = 600
    ) -> set[str]:
        """The uuids of the labels beside the *earlier* ones, when they are that of the start and *n_labels* others."""
        end = time.monotonic() + timeout
        while len(made := self.labelled() - earlier) < 1 + n_labels:
            assert time.monotonic() < end, f"no {n_labels} labels within {timeout} s: {self.runs()}"
            time.sleep(0.2)
        return made

    def executed_twice(self) -> list[str]:
        """Folders of jobs that were executed more than once."""
        counts = Counter((self.folder / "executions").read_text().split())
        return [folder for folder, n in counts.items() if n > 1]

    def daemon_processes(self, kind: bytes = b"daemon") -> list[int]:
        """Process ids of all that belongs to the daemon, found by their environment; or of each ``worker`` only."""
        marker = f"AIIDA_PATH={self.folder}".encode()
        # the daemon's statistics are a process of circus, which outlives it
        names = [b"\0daemon\0", b"circus"] if kind == b"daemon" else [b"\0daemon\0" + kind + b"\0"]
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker in environment and any(name in command for name in names):
                found.append(int(entry.name))
        return found


def check_run(run: list, before: set[str], reference: list, *, may_lose: bool = False) -> None:
    """The run has finished with all labels, each made once, and every decision is the undisturbed run's, bit for bit.

    :param before: uuids of the labels that it had when it was killed, that of the start among them.
    :param may_lose: a label that AiiDA excepted may stand beside the one that was made in its place.
    """
    _, state, status, labels, decisions = run
    assert (state, status) == ("finished", 0)
    kept = [row for row in labels if row[2] is not None]
    assert may_lose or kept == labels, "AiiDA excepted a label"
    assert sorted(tuple(place) for *_, place in kept) == PLACES, "a label is missing, or was made twice"
    assert {status for _, _, status, _ in kept} == {0}
    # the start's own label is no epoch's
    assert len(before - {uuid for uuid, *_ in labels}) == 1, "a stored label was left out"
    assert decisions == reference


def check_restart(profile: Profile, killed: list, reference: list, *, is_alone: bool = True) -> None:
    """The restart of a run takes over every stored label, computes only what is missing, and decides alike.

    :param is_alone: the profile has no other run with the same labels, which would be taken over, too.
    """
    sealed = profile.labelled()
    stored = {tuple(place) for uuid, _, _, place in killed[3] if uuid in sealed}
    assert not is_alone or 1 <= len(stored) < len(PLACES)
    assert profile.start("restart", str(killed[0])).wait() == 0
    restarted = profile.runs()[-1]
    assert restarted[1:3] == ["finished", 0]
    # epochs that had finished are not in the new run; decisions of both together are the reference's
    finished = [row for row in killed[4] if row[0] < min(row[0] for row in restarted[4])]
    assert finished + restarted[4] == reference
    computed = Counter(tuple(place) for _, is_cached, _, place in restarted[3] if not is_cached)
    assert not stored & set(computed), "a stored label was computed again"
    made = set(computed) if is_alone else {tuple(place) for *_, place in restarted[3]}
    assert sorted(stored | made) == PLACES
    assert set(computed.values()) <= {1}


def wait_until_terminated(profile: Profile, timeout: float = 600) -> list:
    """The newest run, when it has ended. Where it hangs after a hard stop, what docs/how-to/restart.md says is done."""
    end = time.monotonic() + timeout
    before, restart_at = None, 0.0
    while time.monotonic() < end:
        [[_, state]] = profile.ask(NEWEST_RUN)
        if state in ("finished", "excepted", "killed"):
            return profile.runs()[-1]
        ended = profile.ask(N_ENDED)
        if ended != before:  # on a slow machine a restart costs more than it brings while there is progress
            before, restart_at = ended, time.monotonic() + 90
        if time.monotonic() > restart_at:
            profile.restart_daemon()
            restart_at = time.monotonic() + 90
        time.sleep(0.5)
    raise AssertionError(f"the run did not end: {profile.runs()[-1]}")

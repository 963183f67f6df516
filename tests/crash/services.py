"""A PostgreSQL and a RabbitMQ server of the test's own, which it may kill without harm to anyone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

USER = "slhmc"
# ms; a work chain keeps its message for as long as it runs, and Debian's RabbitMQ takes it away after half an hour
CONSUMER_TIMEOUT = 36_000_000


def _find(name: str, pattern: str) -> str | None:
    """Path of a server's program: on the path, or where Debian keeps it."""
    found = sorted(Path("/usr/lib").glob(pattern))
    return shutil.which(name) or (str(found[-1]) if found else None)


POSTGRES = _find("postgres", "postgresql/*/bin/postgres")
RABBITMQ = _find("rabbitmq-server", "rabbitmq/bin/rabbitmq-server")
needs_services = pytest.mark.skipif(
    POSTGRES is None or RABBITMQ is None, reason="PostgreSQL or RabbitMQ is not installed: apt-get install them"
)


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A server in a folder of its own, started, killed and started again."""

    command: list[str]
    environment: dict[str, str]

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen | None = None

    def start(self, timeout: float = 120) -> None:
        """Until it listens."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + timeout
        while not self.is_ready():
            tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
            assert self.process.poll() is None, f"{self.command} has ended: {tail}"
            assert time.monotonic() < end, f"{self.command} does not answer: {tail}"
            time.sleep(0.2)

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def signal(self, number: int) -> None:
        """Send it, and wait until all of the server is gone."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.wait(60)
        while self.is_ready():
            time.sleep(0.2)

    def kill(self) -> None:
        """As the kernel does it to a process that took too much memory."""
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """In peace."""
        self.signal(signal.SIGINT if isinstance(self, Postgres) else signal.SIGTERM)


def _owner() -> dict[str, str]:
    """PostgreSQL will not be run by root: the user that Debian's package has made."""
    return {"user": "postgres"} if os.geteuid() == 0 else {}


class Postgres(Server):
    """PostgreSQL with a database and a user, both called :data:`USER`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        assert POSTGRES is not None
        self.environment = dict(os.environ)
        data = folder / "data"
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        self._run("initdb", "--pgdata", str(data), "--username", USER, "--auth", "trust")
        self.command = [POSTGRES, "-D", str(data), "-p", str(self.port), "-k", str(folder), "-h", "127.0.0.1"]
        # for speed: what the kernel has taken over survives a kill of the server, only a power cut would lose it
        self.command += ["-c", "fsync=off"]
        if os.geteuid() == 0:
            self.command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *self.command]
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, USER)

    def _run(self, name: str, *arguments: str) -> None:
        program = str(Path(str(POSTGRES)).resolve().parent / name)
        done = subprocess.run(
            [program, *arguments], cwd=self.folder, capture_output=True, text=True, check=False, **_owner()
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """The rows that this SQL gives: quicker than AiiDA, and without its help."""
        with psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname=USER) as connection:
            return connection.execute(question).fetchall()

    def is_ready(self) -> bool:
        """A port that is open is not enough: after a kill it first recovers."""
        program = str(Path(str(POSTGRES)).resolve().parent / "pg_isready")
        asked = [program, "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0


class RabbitMq(Server):
    """RabbitMQ with its usual guest, in a node of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        assert RABBITMQ is not None
        # the wrapper on the path gives up root's rights, and with them this folder
        direct = sorted(Path("/usr/lib/rabbitmq").glob("**/rabbitmq_server-*/sbin/rabbitmq-server"))
        self.command = [str(direct[-1]) if direct else RABBITMQ]
        (folder / "plugins").write_text("[].\n")
        settings = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", f"consumer_timeout = {CONSUMER_TIMEOUT}"]
        (folder / "rabbitmq.conf").write_text("\n".join(settings) + "\n")
        (folder / "environment").touch()
        self.environment = os.environ | {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"slhmc{self.port}@localhost",
            # not those of the machine's own server
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }
        self.start()

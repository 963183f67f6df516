"""A production profile on PostgreSQL and RabbitMQ servers of the test's own, with a daemon of several workers."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from killed_runs import Profile
from services import Postgres, RabbitMq

N_WORKERS = 3


@dataclass
class Production:
    """A profile and its servers."""

    profile: Profile
    database: Postgres
    broker: RabbitMq

    def kill(self, victim: str) -> None:
        """Kill the ``worker``, ``daemon``, ``broker`` or ``database``."""
        if victim in ("broker", "database"):
            getattr(self, victim).kill()
            return
        killed = self.profile.daemon_processes(victim.encode())
        assert killed, f"there is no {victim}"
        for pid in killed[:1] if victim == "worker" else killed:
            os.kill(pid, signal.SIGKILL)

    def mend(self, victim: str) -> None:
        """Do by hand what does not happen by itself: nothing after the kill of a worker."""
        if victim == "worker":
            return
        if victim in ("broker", "database"):
            # before the server is back: a worker that finds it again stores the error it has had meanwhile
            self.profile.verdi("daemon", "stop", check=False)
            getattr(self, victim).start()
        self.profile.restart_daemon()


@contextmanager
def production_profile(folder: Path) -> Iterator[Production]:
    """The profile, with its daemon running."""
    # not below pytest's folder, which PostgreSQL's user may not enter
    with tempfile.TemporaryDirectory(prefix="slhmc-postgres-") as place:
        Path(place).chmod(0o755)
        folders = Path(place) / "server", folder / "rabbitmq"
        for made in folders:
            made.mkdir()
        database = Postgres(folders[0])
        broker = RabbitMq(folders[1])
        profile = Profile(folder / "profile", database, broker)
        profile.verdi("daemon", "start", str(N_WORKERS))
        try:
            yield Production(profile, database, broker)
        finally:
            profile.verdi("daemon", "stop", check=False)
            broker.stop()
            database.stop()

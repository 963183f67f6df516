"""Fixtures for all tests, and which tests stay together when several processes share them."""

import sqlite3
from pathlib import Path

import pytest
from aiida.manage.manager import Manager

# not by `pytest_plugins`: pytest has a plugin called "fixtures" of its own
from fixtures import (  # noqa: F401
    computer,
    family,
    foundation,
    labelled,
    python_code,
    structure,
    vasp_code,
    walkers,
)
from quantum_espresso import pseudo_family, pw_code  # noqa: F401
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

pytest_plugins = ["aiida.tools.pytest_fixtures"]

HERE = Path(__file__).parent


def asking_less_often(create_runner):
    """The runner of a test profile asks without a pause whether a child has ended, and takes a core from the jobs."""

    def create(self, with_persistence=True, **settings):
        return create_runner(self, with_persistence, **{"poll_interval": 0.2, **settings})

    return create


Manager.create_runner = asking_less_often(Manager.create_runner)


@event.listens_for(Engine, "connect")
def _write_without_waiting_for_the_disk(connection, _):
    """AiiDA commits hundreds of times in a run, 18 ms each on a slow disk; no test cuts off the machine's power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


@event.listens_for(Session, "after_begin")
def _keep_loaded(session, *_):
    """As `aiida_slhmc.workflows.launch.keep_loaded` does it for runs: it saves half of AiiDA's time."""
    session.expire_on_commit = False


# begun first, the longest first, so that none of them keeps one core busy alone in the end
LONGEST = ("crash", "workflows", "study", "physical_validation/whole_stack", "engines", "worker", "targets")


def pytest_collection_modifyitems(items):
    """The longest first."""
    items.sort(key=lambda item: [not group_of(item.path).startswith(name) for name in LONGEST])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests of one folder share expensive fixtures, so they go to one process; those of the validation share none.

    xdist's own grouping by a mark has no effect with pytest 9: it is written into a part of the item that is not read.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(config.rootpath / nodeid.partition("::")[0])

    return ByFolder(config, log)


def group_of(path):
    """Name of the tests that go to one process with those of this file."""
    parts = path.relative_to(HERE).parts
    return "/".join(parts) if parts[0] == "physical_validation" else parts[0]

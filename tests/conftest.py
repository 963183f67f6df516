"""Fixtures for all tests, and which tests stay together when several processes share them."""

from pathlib import Path

import pytest

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

pytest_plugins = ["aiida.tools.pytest_fixtures"]

HERE = Path(__file__).parent


# begun first, the longest first, so that none of them keeps one core busy alone in the end
LONGEST = ("crash", "workflows", "physical_validation/whole_stack", "engines", "worker", "targets")


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

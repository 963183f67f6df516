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


@pytest.hookimpl(tryfirst=True)  # before xdist's own, which reads the groups
def pytest_collection_modifyitems(items):
    """Tests of one folder share expensive fixtures, so they go to one process; those of the validation share none."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=lambda item: [not group_of(item).startswith(name) for name in LONGEST])


def group_of(item):
    """Name of the tests that go to one process with this one."""
    parts = item.path.relative_to(HERE).parts
    return "/".join(parts) if parts[0] == "physical_validation" else parts[0]

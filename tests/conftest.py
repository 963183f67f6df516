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

pytest_plugins = ["aiida.tools.pytest_fixtures"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Tests of one folder share expensive fixtures, so they go to one process; those of the validation share none."""
    for item in items:
        parts = item.path.relative_to(HERE).parts
        name = "/".join(parts) if parts[0] == "physical_validation" else parts[0]
        item.add_marker(pytest.mark.xdist_group(name))

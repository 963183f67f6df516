"""The undisturbed run, which all others have to agree with."""

from __future__ import annotations

import pytest
from killed_runs import PLACES, Profile


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list:
    """Decisions of the undisturbed run."""
    profile = Profile(tmp_path_factory.mktemp("reference"))
    assert profile.start("run").wait() == 0
    [[_, state, status, labels, decisions]] = profile.runs()
    assert (state, status, len(labels), len(decisions)) == ("finished", 0, len(PLACES), 2)
    return decisions

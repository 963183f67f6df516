"""Starting a work chain from a script."""

from __future__ import annotations

from typing import Any

import pytest
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching
from aiida.storage.psql_dos.models.node import DbNode
from sqlalchemy import update

from aiida_slhmc.workflows import launch as module
from aiida_slhmc.workflows.launch import cached_calculations, keep_loaded, launch

PROPOSAL, LABEL = "aiida.calculations:slhmc.mace_proposal", "aiida.calculations:vasp.vasp"


def test_calculations_are_those_of_the_target(builder_of) -> None:
    """Fails where the user is told to cache another engine's calculations."""
    assert cached_calculations(builder_of()) == [PROPOSAL, LABEL]


def test_daemon_that_would_compute_again_is_refused(builder_of) -> None:
    """Fails where a restart pays for the interrupted epoch's labels twice without a word."""
    with pytest.raises(ValueError, match=r"verdi config set --append caching\.enabled_for .*vasp\.vasp"):
        launch(builder_of(), to_daemon=True, take_over=True)


@pytest.mark.parametrize("take_over", [True, False])
def test_daemon_gets_the_rest(builder_of, monkeypatch, take_over: bool) -> None:
    """The control: with caching switched on, or nothing to take over, it is submitted."""
    submitted = []
    monkeypatch.setattr(module, "submit", submitted.append)
    builder = builder_of()
    if take_over:
        with enable_caching(identifier=PROPOSAL), enable_caching(identifier=LABEL):
            launch(builder, to_daemon=True, take_over=True)
    else:
        launch(builder, to_daemon=True)
    assert submitted == [builder]


@pytest.mark.parametrize("take_over", [True, False])
def test_in_process_runs(builder_of, monkeypatch, take_over: bool) -> None:
    """Fails where a run does not take over what it is asked to, is announced late, or expires its nodes."""
    seen: list[Any] = []
    session = get_manager().get_profile_storage().get_session()
    monkeypatch.setattr(session, "expire_on_commit", True)

    def run_get_node(process):
        seen.append((module.get_use_cache(identifier=LABEL), session.expire_on_commit))
        return {}, process.node

    monkeypatch.setattr(module, "run_get_node", run_get_node)
    node = launch(builder_of(), take_over=take_over, announce=seen.append)
    assert seen == [node, (take_over, False)]


def test_what_others_change_is_seen(structure) -> None:
    """Fails where a run that keeps its nodes loaded does not see what another process has written."""
    node = structure.clone().store()
    with keep_loaded():
        assert node.base.extras.get("note", None) is None
        get_manager().get_profile_storage().get_session().execute(
            update(DbNode).where(DbNode.id == node.pk).values(extras={"note": "changed"}),
            execution_options={"synchronize_session": False},
        )
        assert node.base.extras.get("note") == "changed"

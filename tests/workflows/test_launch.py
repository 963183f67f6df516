"""Starting a work chain from a script."""

from __future__ import annotations

import pytest
from aiida.manage.caching import enable_caching

from aiida_slhmc.workflows import launch as module
from aiida_slhmc.workflows.launch import cached_calculations, launch

PROPOSAL, LABEL = "aiida.calculations:slhmc.mace_proposal", "aiida.calculations:vasp.vasp"


def test_calculations_are_those_of_the_target(builder_of) -> None:
    """Fails where the user is told to cache another engine's calculations."""
    assert cached_calculations(builder_of()) == [PROPOSAL, LABEL]


def test_daemon_that_would_compute_again_is_refused(builder_of) -> None:
    """Fails where a restart pays for the interrupted epoch's labels twice without a word."""
    with pytest.raises(ValueError, match=r"verdi config set caching\.enabled_for .*vasp\.vasp"):
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
def test_in_process_runs_take_over_where_they_are_asked_to(monkeypatch, take_over: bool) -> None:
    seen = []

    def run_get_node(builder):
        seen.append(module.get_use_cache(identifier=LABEL))
        return {}, builder

    monkeypatch.setattr(module, "run_get_node", run_get_node)
    assert launch("a builder", take_over=take_over) == "a builder"
    assert seen == [take_over]

"""Fixtures of the target's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from quantum_espresso import pw_label  # noqa: F401

from aiida_slhmc.standin.misbehave import DELAY, FAILURE
from aiida_slhmc.targets.vasp import VaspLabelWorkChain, VaspTarget


@pytest.fixture
def inputs_of(structure, vasp_code, family) -> Callable[..., dict[str, Any]]:
    """Function: the label work chain's inputs, the stand-in misbehaving in *mode*, with *incar* on top.

    Further *options* of the target and another *structure* may be given, by these names.
    """

    def make(
        mode: str | None = None,
        functional: str = "pbe",
        options: dict[str, Any] | None = None,
        structure: orm.StructureData = structure,
        **incar: Any,
    ) -> dict[str, Any]:
        environment = {"prepend_text": f"export {FAILURE}={mode} {DELAY}=0.1"} if mode else {}
        made = VaspTarget.get_inputs(
            structure=structure,
            functional=functional,
            code=vasp_code,
            potential_family=family,
            options={"withmpi": False} | environment,
            incar=incar,
            **(options or {}),
        )
        return made | {"structure": structure}

    return make


@pytest.fixture
def label(inputs_of) -> Callable[..., orm.WorkChainNode]:
    """Function that runs the label work chain and returns its node; arguments as for *inputs_of*.

    With *restart_folder*, the calculation starts from what is there.
    """

    def run(*args: Any, restart_folder: orm.RemoteData | None = None, **kwargs: Any) -> orm.WorkChainNode:
        start = {} if restart_folder is None else {"restart_folder": restart_folder}
        _, node = run_get_node(VaspLabelWorkChain, **inputs_of(*args, **kwargs), **start)
        return node

    return run

"""Fixtures of the target's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from quantum_espresso import pseudo_family, pw_code, pw_label  # noqa: F401

from aiida_slhmc.standin.misbehave import FAILURE
from aiida_slhmc.targets.vasp import VaspLabelWorkChain, VaspTarget


@pytest.fixture
def inputs_of(structure, vasp_code, family) -> Callable[..., dict[str, Any]]:
    """Function: the label work chain's inputs, the stand-in misbehaving in *mode*, with *incar* on top."""

    def make(mode: str | None = None, functional: str = "pbe", **incar: Any) -> dict[str, Any]:
        options = {"withmpi": False} | ({"prepend_text": f"export {FAILURE}={mode}"} if mode else {})
        made = VaspTarget.get_inputs(
            structure=structure,
            functional=functional,
            code=vasp_code,
            potential_family=family,
            options=options,
            incar=incar,
        )
        return made | {"structure": structure}

    return make


@pytest.fixture
def label(inputs_of) -> Callable[..., orm.WorkChainNode]:
    """Function that runs the label work chain and returns its node; arguments as for *inputs_of*."""

    def run(*args: Any, **kwargs: Any) -> orm.WorkChainNode:
        _, node = run_get_node(VaspLabelWorkChain, **inputs_of(*args, **kwargs))
        return node

    return run

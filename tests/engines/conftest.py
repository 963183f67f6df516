"""The same self-learning run on each target: the inputs that all share, and what each engine needs of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from fixtures import FOUNDATION_FILE, OPTIONS
from quantum_espresso import small_rutile

from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain

SHARED: dict[str, Any] = {
    "n_walkers": 2,
    "n_cycles": 2,
    "label_budget": 8,
    "trajectory": {"n_steps": 8, "timestep": 1.0},
    "kernel": {"seed": 11, "device": "cpu"},
    "fine_tune": {"max_epochs": 6, "device": "cpu"},
    "adaptation": {"n_steps_min": 3, "n_steps_max": 20},
}


@pytest.fixture(scope="session")
def rutile(aiida_profile) -> orm.StructureData:
    return orm.StructureData(ase=small_rutile()).store()


@pytest.fixture(scope="session")
def foundation_lda(aiida_profile) -> MaceModelData:
    return MaceModelData(checkpoint=FOUNDATION_FILE.with_name("foundation_lda.safetensors")).store()


@pytest.fixture(scope="session")
def own_options(request) -> dict[str, Callable[[], tuple[str, dict[str, Any]]]]:
    """By target: the name of a functional that it has, and its options; made when asked for."""
    get = request.getfixturevalue
    return {
        "vasp": lambda: ("pbe", {"code": get("vasp_code"), "potential_family": get("family"), "options": OPTIONS}),
        "quantum_espresso": lambda: (
            "pbe",
            {
                "code": get("pw_code"),
                "pseudo_family": get("pseudo_family"),
                "parameters": {"ELECTRONS": {"startingpot": "file", "startingwfc": "file"}},
                "options": OPTIONS,
            },
        ),
        "ase": lambda: ("gfn1", {"code": get("python_code"), "options": OPTIONS}),
    }


@pytest.fixture(scope="session")
def run_on(own_options, rutile, foundation_lda, python_code) -> Callable[..., orm.WorkChainNode]:
    """Function: the run on the named target, made once for each set of arguments."""
    made: dict[tuple[str, str], orm.WorkChainNode] = {}

    def run(target: str, ensemble: str = "nvt", **overrides: Any) -> orm.WorkChainNode:
        if (target, ensemble) not in made:
            functional, options = own_options[target]()
            builder = SlhmcWorkChain.get_builder_from_protocol(
                structure=rutile,
                model=foundation_lda,
                python_code=python_code,
                functional=functional,
                ensemble=ensemble,
                target=target,
                target_options=options,
                protocol="fast",
                overrides=SHARED | overrides,
            )
            made[target, ensemble] = run_get_node(builder)[1]
        return made[target, ensemble]

    return run

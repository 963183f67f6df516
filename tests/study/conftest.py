"""One small study for many tests: one functional, both ensembles, six atoms, everything as short as it can be."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node

from aiida_slhmc.workflows.study import StudyWorkChain

ANALYSIS = {
    "centre": "Ti",
    "neighbour": "O",
    "coordination_cutoff": 2.4,
    "n_short": 4,
    "n_long": 2,
    "peak_windows": {"Ti-O": [1.6, 2.2], "O-O": [2.2, 3.2]},
    "n_resamples": 20,
    "n_peak_resamples": 10,
}
# two blocks of frames, so that there are errors
MD = {"n_steps": 40, "sampling_interval": 2, "n_equilibration_steps": 3}
RUN = {
    "n_walkers": 2,
    "n_cycles": 1,
    "label_budget": 4,
    "trajectory": {"n_steps": 5, "timestep": 1.0},
    "kernel": {"seed": 3, "device": "cpu"},
    "fine_tune": {"max_epochs": 2, "device": "cpu"},
    "adaptation": {"n_steps_min": 3, "n_steps_max": 8},
}
ENSEMBLE = {"slhmc": RUN, "reference": {"n_cycles": 3, "n_equilibration_cycles": 1}, "md": MD, "evolution_stride": 1}
SMALL = {
    "ensembles": {"nvt": ENSEMBLE, "npt": ENSEMBLE},
    "control": {"pool": MD, "fine_tune": {"max_epochs": 2}},
}


@pytest.fixture(scope="session")
def study_builder(structure, foundation, python_code, vasp_code, family) -> Any:
    """Function: a builder of a small study."""
    default = structure

    def make(functionals: tuple[str, ...] = ("pbe",), structure: Any = default, **overrides: Any) -> ProcessBuilder:
        return StudyWorkChain.get_builder_from_protocol(
            structure=structure,
            model=foundation,
            python_code=python_code,
            functionals=list(functionals),
            analysis=ANALYSIS,
            experiment={"volume": 31.15},
            target_options={"code": vasp_code, "potential_family": family, "options": {"withmpi": False}},
            protocol="miniature",
            overrides=SMALL | overrides,
        )

    return make


@pytest.fixture(scope="session")
def study(study_builder) -> orm.WorkChainNode:
    """The study, finished."""
    return run_get_node(study_builder())[1]


@pytest.fixture(scope="session")
def transfer(study) -> orm.WorkChainNode:
    """Its one transfer."""
    return next(node for node in study.called if node.process_label == "TransferWorkChain")

"""One self-learning run for many tests, cut off twice and restarted, and the same run undisturbed from the cache.

Together the parts of the interrupted run cost what one run costs: two walkers, two epochs of two cycles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node
from aiida.manage.caching import enable_caching
from fixtures import rutile_atoms
from run_examples import MD_OPTIONS, SETTINGS, CrashError, called, crash_at, failing, last_run

from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.force_constants import ForceConstantsData
from aiida_slhmc.workflows import epoch, slhmc
from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.restart import get_restart_builder
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain


@pytest.fixture(scope="session")
def builder_of(structure, foundation, python_code, vasp_code, family) -> Callable[..., ProcessBuilder]:
    """Function: a builder of a small run; *overrides* of the protocol, *mode* of misbehaviour, ensemble."""

    def make(mode: str | None = None, ensemble: str = "nvt", **overrides: Any) -> ProcessBuilder:
        return SlhmcWorkChain.get_builder_from_protocol(
            structure=structure,
            model=foundation,
            python_code=python_code,
            functional="pbe",
            ensemble=ensemble,
            target_options={"code": vasp_code, "potential_family": family, "options": failing(mode)},
            protocol="fast",
            overrides=SETTINGS | overrides,
        )

    return make


@pytest.fixture(scope="session")
def cut_before_training(builder_of) -> orm.WorkChainNode:
    """A run that ended when it was about to train after its first epoch."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, slhmc, "launch_once", "fine_tune_0001")
        with pytest.raises(CrashError):
            run_get_node(builder_of())
    return last_run()


@pytest.fixture(scope="session")
def cut_in_epoch(cut_before_training) -> orm.WorkChainNode:
    """Its restart, which trained and ended in the second epoch, when the first cycle was labelled but not decided."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, epoch, "run_once", "decide_00000")
        return run_get_node(get_restart_builder(cut_before_training))[1]


@pytest.fixture(scope="session")
def restarted(cut_in_epoch) -> orm.WorkChainNode:
    """The restart of the restart, which took over what was there and finished."""
    with enable_caching():
        return run_get_node(get_restart_builder(cut_in_epoch))[1]


@pytest.fixture(scope="session")
def finished(builder_of, restarted) -> orm.WorkChainNode:
    """The same run undisturbed, in one go; all of it is in the cache if the restarts did the same."""
    with enable_caching():
        return run_get_node(builder_of())[1]


@pytest.fixture(scope="session")
def first_epoch(finished) -> orm.WorkChainNode:
    """The first epoch of the undisturbed run."""
    return called(finished, "EpochWorkChain")[0]


@pytest.fixture(scope="session")
def epoch_builder(first_epoch) -> Callable[..., ProcessBuilder]:
    """Function: a builder of that epoch with these inputs replaced, and the stand-in misbehaving in *mode*."""

    def make(mode: str | None = None, fraction: float = 1.0, **changes: Any) -> ProcessBuilder:
        builder = EpochWorkChain.get_builder()
        builder._update({name: first_epoch.inputs[name] for name in ("model", "parameters", "trajectory", "n_cycles")})
        for name in ("walkers", "proposal", "target"):
            builder[name] = dict(first_epoch.inputs[name].items())
        builder.target["potential"] = dict(first_epoch.inputs.target.potential.items())
        builder.target["options"] = orm.Dict(first_epoch.inputs.target.options.get_dict() | failing(mode, fraction))
        for name, value in changes.items():
            builder[name] = value
        return builder

    return make


@pytest.fixture(scope="session")
def with_divergence(epoch_builder, first_epoch) -> tuple[orm.WorkChainNode, int]:
    """That epoch's first cycle with a bound that one walker's trajectory exceeds, and the number of the walker."""
    proposal = called(first_epoch, "MaceProposalCalculation")[0]
    errors = np.abs(proposal.outputs.proposals.get_array("integration_errors"))
    parameters = first_epoch.inputs.parameters.get_dict() | {"max_integration_error": float(errors.mean())}
    changes = {"parameters": orm.Dict(parameters), "adaptation": first_epoch.inputs.adaptation, "n_cycles": orm.Int(1)}
    with enable_caching():
        return run_get_node(epoch_builder(**changes))[1], int(errors.argmax())


@pytest.fixture(scope="session")
def springs(aiida_profile) -> Callable[..., ForceConstantsData]:
    """Function: force constants of a functional, of atoms that each sit on a spring of their own."""

    def make(functional: str | None, first: str = "Ti") -> ForceConstantsData:
        atoms = rutile_atoms()
        atoms.symbols[0] = first
        return ForceConstantsData(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            force_constants=np.einsum("ij,ab->ijab", np.eye(len(atoms)), 5.0 * np.eye(3)),
            functional=functional,
        ).store()

    return make


@pytest.fixture(scope="session")
def md_inputs(python_code, foundation, structure) -> dict[str, Any]:
    """Of a run of ten steps."""
    return {
        "code": python_code,
        "model": foundation,
        "structure": structure,
        "parameters": orm.Dict(MD_OPTIONS).store(),
        "role": orm.Str("adapted_md").store(),
    }


@pytest.fixture(scope="session")
def fine_tune_inputs(python_code, foundation, labelled) -> dict[str, Any]:
    """Of a small training."""
    block = DatasetData(configurations=[labelled(seed) for seed in range(60, 64)]).store()
    parameters = {"max_epochs": 3, "batch_size": 2, "device": "cpu"}
    return {
        "code": python_code,
        "model": foundation,
        "datasets": {"block_0000": block},
        "parameters": orm.Dict(parameters).store(),
    }

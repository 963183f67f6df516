"""MaceMdCalculation: what it refuses at submission, real runs, one that goes on from another's state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run, run_get_node
from aiida.manage.caching import enable_caching
from fixtures import configuration, rutile_atoms
from md_examples import OPTIONS, state
from npt_examples import reference_atoms, strained_atoms

from aiida_slhmc.calculations.mace_md import MaceMdCalculation

NPT = {"ensemble": "npt", "pressure": 5.0, "cell_degrees_of_freedom": "full", "cell_time_constant": 60.0}


@pytest.fixture(scope="module")
def md_inputs(python_code, foundation, structure) -> dict[str, Any]:
    return {
        "code": python_code,
        "model": foundation,
        "structure": structure,
        "parameters": orm.Dict(OPTIONS).store(),
        "role": orm.Str("foundation_md").store(),
    }


@pytest.fixture(scope="module")
def npt_md_inputs(md_inputs) -> dict[str, Any]:
    """From a cell that is strained in all six ways from the reference's."""
    return md_inputs | {
        "structure": configuration(strained_atoms(seed=1)).store(),
        "parameters": orm.Dict(OPTIONS | NPT).store(),
        "reference_structure": orm.StructureData(ase=reference_atoms()).store(),
    }


@pytest.fixture(scope="module")
def dynamics(md_inputs) -> orm.CalcJobNode:
    """A real run, finished."""
    return run_get_node(MaceMdCalculation, **md_inputs)[1]


@pytest.fixture(scope="module")
def npt_dynamics(npt_md_inputs) -> orm.CalcJobNode:
    """A real run in NPT, finished."""
    return run_get_node(MaceMdCalculation, **npt_md_inputs)[1]


def continuation(inputs: dict[str, Any], node: orm.CalcJobNode, **changes: Any) -> dict[str, Any]:
    """Inputs of a run that goes on from that one's state."""
    kept = {key: value for key, value in inputs.items() if key not in ("structure", "reference_structure")}
    options = inputs["parameters"].get_dict() | changes
    return kept | {"state": node.outputs.state, "parameters": orm.Dict(options)}


def test_outputs(dynamics, structure) -> None:
    assert dynamics.is_finished_ok, dynamics.exit_message
    trajectory, results = dynamics.outputs.trajectory, dynamics.outputs.results.get_dict()
    assert trajectory.get_stepids().tolist() == [2, 4, 6]
    assert trajectory.get_times().tolist() == [2.0, 4.0, 6.0]
    assert trajectory.symbols == structure.get_ase().get_chemical_symbols()
    assert trajectory.base.attributes.get("role") == "foundation_md"
    moved = np.abs(trajectory.get_positions() - structure.get_ase().positions).max(axis=(1, 2))
    assert np.all((moved > 1e-4) & (moved < 0.5))
    np.testing.assert_array_equal(trajectory.get_cells(), np.tile(structure.cell, (3, 1, 1)))
    assert (results["n_steps"], results["n_frames"], results["last_step"]) == (6, 3, 6)
    assert dynamics.outputs.state.base.attributes.get("step") == 6


def test_model_and_structure_are_the_provenance(dynamics, foundation, structure) -> None:
    assert dynamics.outputs.trajectory.creator.inputs.model.uuid == foundation.uuid
    assert dynamics.outputs.trajectory.creator.inputs.structure.uuid == structure.uuid


def test_progress_can_be_read(dynamics) -> None:
    """What `verdi calcjob outputcat PK worker.out` shows."""
    printed = dynamics.outputs.retrieved.base.repository.get_object_content("worker.out", "r")
    assert "step 6/6 (100 %)" in printed


def test_npt(npt_dynamics) -> None:
    """Fails where strains are measured from the structure itself, or the cell does not move."""
    assert npt_dynamics.is_finished_ok, npt_dynamics.exit_message
    cells = npt_dynamics.outputs.trajectory.get_cells()
    assert np.abs(np.diff(cells, axis=0)).max() > 1e-4
    reference = npt_dynamics.outputs.state.get_array("reference_cell")
    np.testing.assert_allclose(reference, reference_atoms().cell.array, rtol=0, atol=1e-12)
    assert npt_dynamics.outputs.trajectory.base.attributes.get("pressure") == 5.0


def test_going_on_from_the_state_is_exact(npt_md_inputs, npt_dynamics) -> None:
    """Two runs of six steps through a node and one of twelve: bit for bit. The worker's tests have NVT, too."""
    _, second = run_get_node(MaceMdCalculation, **continuation(npt_md_inputs, npt_dynamics))
    longer = orm.Dict(npt_md_inputs["parameters"].get_dict() | {"n_steps": 12})
    _, whole = run_get_node(MaceMdCalculation, **npt_md_inputs | {"parameters": longer})
    assert second.is_finished_ok, second.exit_message
    for array in ("steps", "times", "positions", "cells", "potential_energies", "conserved_energies"):
        parts = [node.outputs.trajectory.get_array(array) for node in (npt_dynamics, second)]
        np.testing.assert_array_equal(np.concatenate(parts), whole.outputs.trajectory.get_array(array))
    for array in whole.outputs.state.get_arraynames():
        np.testing.assert_array_equal(second.outputs.state.get_array(array), whole.outputs.state.get_array(array))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OPTIONS | {"n_steps": 0}, "n_steps must be an integer of at least 1"),
        (OPTIONS | {"samplinginterval": 2}, "did you mean 'sampling_interval'"),
        (OPTIONS | {"ensemble": "nve"}, "ensemble must be one of nvt, npt"),
        ({"n_steps": 5, "temperature": 300.0}, "missing option of the molecular dynamics: seed"),
    ],
)
def test_wrong_options_are_refused(md_inputs, options: dict[str, Any], message: str) -> None:
    """Fails where a mistake is only found out in the queue."""
    with pytest.raises(ValueError, match=message):
        run(MaceMdCalculation, **md_inputs | {"parameters": orm.Dict(options)})


def _molecule() -> orm.StructureData:
    atoms = rutile_atoms()
    atoms.pbc = (True, True, False)
    return orm.StructureData(ase=atoms)


def _alloy() -> orm.StructureData:
    node = orm.StructureData(cell=5.0 * np.eye(3))
    node.append_atom(position=(0.0, 0.0, 0.0), symbols=["Ti", "O"], weights=[0.5, 0.5])
    return node


def _with_carbon() -> orm.StructureData:
    atoms = rutile_atoms()
    atoms.symbols[0] = "C"
    return orm.StructureData(ase=atoms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_molecule, "periodic in three directions"),
        (_alloy, "each by one element"),
        (_with_carbon, "the model does not know C; it knows"),
    ],
)
def test_wrong_structures_are_refused(md_inputs, make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(MaceMdCalculation, **md_inputs | {"structure": make()})


def test_cell_that_is_no_strain_is_refused(npt_md_inputs) -> None:
    options = orm.Dict(OPTIONS | NPT | {"cell_degrees_of_freedom": "isotropic"})
    with pytest.raises(ValueError, match="the cell degrees of freedom do not allow"):
        run(MaceMdCalculation, **npt_md_inputs | {"parameters": options})


def test_structure_or_state(md_inputs, dynamics, structure) -> None:
    """Exactly one of them."""
    going_on = continuation(md_inputs, dynamics)
    none = {key: value for key, value in md_inputs.items() if key != "structure"}
    for inputs in (none, going_on | {"structure": structure}):
        with pytest.raises(ValueError, match="give either `structure`, for a new run, or `state`"):
            run(MaceMdCalculation, **inputs)
    with pytest.raises(ValueError, match="the state has its own reference cell"):
        run(MaceMdCalculation, **going_on | {"reference_structure": structure})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 600.0}, r"another temperature \(was 300.0, now 600.0\)"),
        ({"timestep": 0.5, "chain_length": 3}, r"chain_length \(was 4, now 3\), timestep \(was 1.0, now 0.5\)"),
        ({"ensemble": "npt"}, r"ensemble \(was nvt, now npt\)"),
    ],
)
def test_state_of_other_dynamics_is_refused(md_inputs, dynamics, changes: dict[str, Any], message: str) -> None:
    """Fails where a run would go on as if nothing had happened, far from its equilibrium."""
    with pytest.raises(ValueError, match=message):
        run(MaceMdCalculation, **continuation(md_inputs, dynamics, **changes))


def test_what_is_no_state_is_refused(md_inputs, dynamics) -> None:
    inputs = continuation(md_inputs, dynamics)
    arrays = {key: value for key, value in state().items() if key != "chain_velocities"}
    with pytest.raises(ValueError, match="no state of a molecular dynamics, it lacks chain_velocities"):
        run(MaceMdCalculation, **inputs | {"state": orm.ArrayData(arrays)})
    foreign = orm.ArrayData(state(numbers=np.array([6, 22, 8, 8, 8, 8])))
    with pytest.raises(ValueError, match="the model does not know C"):
        run(MaceMdCalculation, **inputs | {"state": foreign})


def test_equal_inputs_are_taken_from_the_cache(dynamics, md_inputs) -> None:
    with enable_caching(identifier="aiida.calculations:slhmc.mace_md"):
        _, node = run_get_node(MaceMdCalculation, **md_inputs | {"parameters": orm.Dict(OPTIONS)})
    assert node.base.caching.get_cache_source() == dynamics.uuid


@pytest.mark.slow
def test_walltime(md_inputs) -> None:
    """A real job with too little time: what it has is kept, and a job of the rest goes on from there."""
    options = orm.Dict(OPTIONS | {"n_steps": 1000000})
    metadata = {"options": {"max_wallclock_seconds": 60}}
    _, node = run_get_node(MaceMdCalculation, **md_inputs | {"parameters": options, "metadata": metadata})
    assert node.exit_status == MaceMdCalculation.exit_codes.ERROR_WALLTIME.status, node.exit_message
    steps = node.outputs.trajectory.get_stepids()
    assert len(steps) > 10
    assert np.all(np.diff(steps) == 2)
    assert node.outputs.results["n_steps"] == node.outputs.state.base.attributes.get("step") >= steps[-1]
    _, after = run_get_node(MaceMdCalculation, **continuation(md_inputs, node))
    assert after.outputs.trajectory.get_stepids()[0] == steps[-1] + 2

"""A self-learning run in the NPT ensemble: the cell moves, strains keep their reference, stress is trained on."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run, run_get_node
from run_examples import called

from aiida_slhmc.workflows.epoch import EpochWorkChain
from aiida_slhmc.workflows.restart import get_restart_builder

KERNEL = {"seed": 3, "device": "cpu", "cell_degrees_of_freedom": "full", "cell_time_constant": 80.0}


@pytest.fixture(scope="module")
def npt_run(builder_of) -> orm.WorkChainNode:
    """Two epochs of one cycle with a fine-tuning between them; a light cell, so that it moves in five steps."""
    builder = builder_of(ensemble="npt", kernel=KERNEL, n_cycles=1, label_budget=4)
    return run_get_node(builder)[1]


def test_the_cell_moves_and_the_reference_stays(npt_run) -> None:
    """Fails where the end points are labelled in the old cell, or where each epoch takes strains from another cell."""
    assert npt_run.is_finished_ok, npt_run.exit_message
    for epoch in called(npt_run, "EpochWorkChain"):
        assert epoch.inputs.reference_structure.uuid == npt_run.inputs.structure.uuid
    proposals = called(npt_run, "MaceProposalCalculation")
    cells = np.array([[node.outputs.structures[f"walker_{k}"].cell for k in range(2)] for node in proposals])
    reference = np.array(npt_run.inputs.structure.cell)
    strains = np.linalg.solve(reference, cells) - np.eye(3)
    assert np.abs(strains).max() > 1e-3
    np.testing.assert_allclose(strains, np.swapaxes(strains, -1, -2), rtol=0, atol=1e-12)
    assert np.abs(strains[..., 0, 1]).min() > 1e-6, "all six strains move"
    for node, pair in zip(proposals, cells, strict=True):
        np.testing.assert_allclose(node.outputs.proposals.get_array("cells"), pair, rtol=0, atol=1e-12)


def test_diagnostics_have_volume_and_stress(npt_run) -> None:
    """Fails where the volume of a rejected proposal enters the chain, or stresses are not compared."""
    first = called(npt_run, "EpochWorkChain")[0]
    chain, decision = first.outputs.chain, called(first, "metropolis")[0]
    for k in range(2):
        name = f"label_{k}" if decision.outputs.result["accepted"][k] else f"state_{k}"
        expected = decision.inputs[name].base.attributes.get("volume")
        assert chain.get_array("volume")[0, k] == pytest.approx(expected, rel=1e-12)
    assert chain.base.attributes.get("ensemble") == "npt"
    assert first.outputs.summary["stress_rmse_gpa"] > 0


def test_stress_is_trained_on(npt_run) -> None:
    """Fails where the model whose stress moves the cell never sees a stress."""
    training = called(npt_run, "MaceFineTuneCalculation")[0]
    assert training.inputs.parameters["loss"] == "energy_forces_stress"
    assert training.is_finished_ok, training.exit_message


def test_restart_keeps_the_reference(npt_run) -> None:
    """Fails where a restart, which begins with strained walkers, would measure strains from one of them."""
    builder = get_restart_builder(npt_run, label_budget=4)
    assert builder.reference_structure.uuid == npt_run.inputs.structure.uuid
    assert "structure" not in builder._inputs(prune=True)


def test_an_epoch_needs_a_reference(npt_run) -> None:
    """Fails where a production run in NPT only finds out in the queue, or takes its own start as the reference."""
    epoch = called(npt_run, "EpochWorkChain")[0]
    inputs = {name: epoch.inputs[name] for name in ("model", "parameters", "trajectory", "n_cycles")}
    inputs |= {name: dict(epoch.inputs[name].items()) for name in ("proposal", "target", "walkers")}
    with pytest.raises(ValueError, match="ensemble npt needs `reference_structure`"):
        run(EpochWorkChain, **inputs)
    rotated = epoch.inputs.reference_structure.get_ase()
    rotated.rotate(3, "z", rotate_cell=True)
    with pytest.raises(ValueError, match="rotated with respect to the reference cell"):
        run(EpochWorkChain, **inputs, reference_structure=orm.StructureData(ase=rotated))

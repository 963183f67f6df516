"""The Metropolis calculation function: its numbers follow from the stored nodes alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from aiida import orm
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.calculations.metropolis import metropolis
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.kernel.units import thermal_energy

PLACE = {"epoch": 1, "cycle": 4, "seed": 11, "temperature": 300.0, "n_steps": 7}
MODEL_OFFSET = 0.5  # eV: the model's energies are not the target's


def proposals_node(**changes: Any) -> orm.ArrayData:
    """Proposals of two walkers: from the rutile cells 1 and 2 to the cells 3 and 4."""
    ends = [rutile_atoms(seed=seed) for seed in (3, 4)]
    arrays = {
        "positions": np.stack([atoms.positions for atoms in ends]),
        "momenta": np.zeros((2, 6, 3)),
        "forces": np.stack([label_of(atoms)["forces"] + 0.1 for atoms in ends]),
        "energies": np.array(
            [[label_of(rutile_atoms(seed=seed))["energy"] for seed in pair] for pair in ((1, 3), (2, 4))]
        ),
        "kinetic_energies": np.zeros((2, 2)),
    }
    arrays["energies"][:, 1] += MODEL_OFFSET
    # the second walker gains what it needs to be accepted, the first what it needs to be rejected
    change = np.diff(arrays["energies"], axis=-1)[:, 0] - MODEL_OFFSET
    arrays["kinetic_energies"][:, 1] = np.array([1.0, -0.001]) - change
    node = orm.ArrayData(arrays | changes)
    node.base.attributes.set_many(PLACE)
    return node


@pytest.fixture
def nodes(labelled) -> dict[str, Any]:
    return {"state_0": labelled(1), "state_1": labelled(2), "label_0": labelled(3), "label_1": labelled(4)}


def decide(proposals: orm.ArrayData, nodes: dict[str, Any]) -> tuple[dict[str, Any], orm.CalcFunctionNode]:
    result, node = metropolis.run_get_node(proposals=proposals, **nodes)
    return (result.get_dict() if node.is_finished_ok else {}), node


def delta_h(node: orm.CalcFunctionNode, k: int, *, energy_of: str) -> float:
    """ΔH of walker *k* from the inputs of the stored decision, with the energies of the target or of the model."""
    proposals = node.inputs.proposals
    kinetic, model = (proposals.get_array(name)[k] for name in ("kinetic_energies", "energies"))
    target = (node.inputs[f"state_{k}"].energy, node.inputs[f"label_{k}"].energy)
    potential = target if energy_of == "target" else model
    return float(potential[1] + kinetic[1] - potential[0] - kinetic[0])


def test_delta_h_from_the_stored_nodes_alone(nodes) -> None:
    """Fails where the reported ΔH is not the one of the nodes; a model's would be found out."""
    result, node = decide(proposals_node(), nodes)
    node = orm.load_node(node.uuid)
    for k in range(2):
        reported = result["delta_h"][k]
        assert reported == pytest.approx(delta_h(node, k, energy_of="target"), rel=1e-10)
        assert abs(reported - delta_h(node, k, energy_of="model")) > 0.9 * MODEL_OFFSET
        assert reported == pytest.approx(result["integration"][k] + result["mismatch"][k], abs=1e-10)
        assert result["mismatch"][k] == pytest.approx(-MODEL_OFFSET, abs=1e-9)


def test_decisions_are_replayed_from_the_seed(nodes) -> None:
    """Fails where a decision depends on anything but ΔH, the temperature and (seed, epoch, cycle, walker)."""
    result, _ = decide(proposals_node(), nodes)
    assert result["accepted"] == [False, True]
    assert result["acceptance"] == 0.5
    for k in range(2):
        number = random_stream(11, 1, 4, Purpose.METROPOLIS, k).random()
        probability = min(1.0, math.exp(-result["delta_h"][k] / thermal_energy(300.0)))
        assert result["random_number"][k] == pytest.approx(number, rel=1e-13)
        assert result["probability"][k] == pytest.approx(probability, rel=1e-9)
        assert result["accepted"][k] == (number < probability)
    assert {key: result[key] for key in ("epoch", "cycle", "n_steps", "temperature")} == {
        key: PLACE[key] for key in ("epoch", "cycle", "n_steps", "temperature")
    }
    assert (result["n_walkers"], result["n_atoms"]) == (2, 6)


def test_errors_of_the_model_and_jumps(nodes) -> None:
    """Fails where the forward error is not that of the end point, or a rejection counts as a jump."""
    result, _ = decide(proposals_node(), nodes)
    assert result["energy_error"] == pytest.approx([MODEL_OFFSET] * 2, abs=1e-9)
    assert result["force_rmse"] == pytest.approx([0.1] * 2, rel=1e-9)
    moved = rutile_atoms(seed=4).positions - rutile_atoms(seed=2).positions
    assert result["squared_jump"] == pytest.approx([0.0, np.mean(np.sum(moved**2, axis=1))])


def test_unlabelled_end_point_is_rejected(nodes) -> None:
    """Fails where a configuration outside the support could be accepted, or its numbers pass for measured ones."""
    record = configuration(rutile_atoms(seed=4), unlabelled_reason="VASP failed").store()
    result, node = decide(proposals_node(), nodes | {"label_1": record})
    assert node.is_finished_ok
    assert result["accepted"] == [False, False]
    assert result["probability"][1] == 0.0
    for key in ("delta_h", "integration", "mismatch", "energy_error", "force_rmse"):
        assert result[key][1] is None
        assert result[key][0] is not None
    with_label, _ = decide(proposals_node(), nodes)
    assert result["random_number"] == with_label["random_number"]


@pytest.mark.parametrize("shift", [1e-6, 4.68])
def test_label_of_another_configuration(nodes, shift: float) -> None:
    """Fails where a label could be taken for another configuration's, also for one that was wrapped into the cell."""
    atoms = rutile_atoms(seed=4)
    atoms.positions[3, 0] += shift
    other = configuration(atoms, label_of(atoms)).store()
    _, node = decide(proposals_node(), nodes | {"label_1": other})
    assert node.exit_status == 410
    assert "walker 1" in node.exit_message


def test_rounding_of_structures_is_no_other_configuration(nodes) -> None:
    """Fails where the 14 digits of a StructureData would stop every run."""
    positions = proposals_node().get_array("positions") + 4e-13
    _, node = decide(proposals_node(positions=positions), nodes)
    assert node.is_finished_ok

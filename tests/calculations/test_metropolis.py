"""The Metropolis calculation function: its numbers follow from the stored nodes alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase.geometry import find_mic
from fixtures import configuration, label_of, rutile_atoms
from npt_examples import GPA, PRESSURE, cell_energy

from aiida_slhmc.calculations.metropolis import metropolis
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.kernel.units import thermal_energy

PLACE = {"epoch": 1, "cycle": 4, "n_steps": 7, "timestep": 0.5, "temperature": 300.0, "ensemble": "nvt"}
KERNEL = {"seed": 11, "temperature": 300.0, "ensemble": "nvt"}
MODEL_OFFSET = 0.5  # eV: the model's energies are not the target's
CHANGES = (0.05, -0.001)  # eV: ΔH of the two walkers, the first to be rejected and the second to be accepted


def proposals_node(**changes: Any) -> orm.ArrayData:
    """Proposals of two walkers: from the rutile cells 1 and 2 to the cells 3 and 4."""
    ends = [rutile_atoms(seed=seed) for seed in (3, 4)]
    arrays = {
        "positions": np.stack([atoms.positions for atoms in ends]),
        "cells": np.stack([atoms.cell.array for atoms in ends]),
        "momenta": np.zeros((2, 6, 3)),
        "forces": np.stack([label_of(atoms)["forces"] + 0.1 for atoms in ends]),
        "energies": np.array(
            [[label_of(rutile_atoms(seed=seed))["energy"] for seed in pair] for pair in ((1, 3), (2, 4))]
        ),
        "cell_energies": np.zeros((2, 2)),
        "kinetic_energies": np.zeros((2, 2)),
        "diverged": np.zeros(2, dtype=bool),
    }
    arrays["energies"][:, 1] += MODEL_OFFSET
    change = np.diff(arrays["energies"], axis=-1)[:, 0] - MODEL_OFFSET
    arrays["kinetic_energies"][:, 1] = np.array(CHANGES) - change
    node = orm.ArrayData(arrays | changes)
    node.base.attributes.set_many(PLACE | {"seed": 11, "kernel": KERNEL})
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
        assert reported == pytest.approx(CHANGES[k], abs=1e-9)
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
    assert {key: result[key] for key in PLACE} == PLACE
    assert (result["n_walkers"], result["n_atoms"]) == (2, 6)


def test_the_state_after_the_decision(nodes) -> None:
    """Fails where the chain's energy is the proposal's after a rejection, or the state's after an acceptance."""
    result, node = decide(proposals_node(), nodes)
    assert result["energy"] == pytest.approx([node.inputs.state_0.energy, node.inputs.label_1.energy], rel=1e-12)
    assert result["volume"] == pytest.approx([rutile_atoms().get_volume()] * 2, rel=1e-12)


def test_errors_of_the_model(nodes) -> None:
    """Fails where the forward error is not that of the end point."""
    result, _ = decide(proposals_node(), nodes)
    assert result["energy_error"] == pytest.approx([MODEL_OFFSET] * 2, abs=1e-9)
    assert result["force_rmse"] == pytest.approx([0.1] * 2, rel=1e-9)
    assert result["stress_rmse"] == [None, None]


def squared_displacement(first: int, last: int) -> float:
    """Mean over atoms, by ASE's minimum image, relative to the centre of mass."""
    atoms = rutile_atoms(seed=first)
    moved, _ = find_mic(rutile_atoms(seed=last).positions - atoms.positions, atoms.cell)
    moved -= np.average(moved, axis=0, weights=atoms.get_masses())
    return float(np.mean(np.sum(moved**2, axis=1)))


def test_expected_squared_jump(nodes) -> None:
    """Probability × squared displacement. Fails where only what was accepted counts: its noise would steer n."""
    result, _ = decide(proposals_node(), nodes)
    jumps = [probability * squared_displacement(k + 1, k + 3) for k, probability in enumerate(result["probability"])]
    assert result["expected_squared_jump"] == pytest.approx(jumps, rel=1e-9)
    assert 0 < result["probability"][0] < 1
    assert result["accepted"][0] is False


def test_drift_and_images_are_no_jump(nodes) -> None:
    """Fails where a shift of the whole crystal, or of an atom by a lattice vector, passes for progress."""
    plain, _ = decide(proposals_node(), nodes)
    moved = proposals_node().get_array("positions") + np.array([0.1, -0.2, 0.3])
    moved[:, 2] += rutile_atoms().cell.array[1]
    labels = {}
    for k in range(2):
        atoms = rutile_atoms(seed=k + 3)
        atoms.positions = moved[k]
        labels[f"label_{k}"] = configuration(atoms, label_of(rutile_atoms(seed=k + 3))).store()
    result, _ = decide(proposals_node(positions=moved), nodes | labels)
    assert result["expected_squared_jump"] == pytest.approx(plain["expected_squared_jump"], rel=1e-9)


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
    assert result["expected_squared_jump"][1] == 0.0
    assert result["energy"][1] == pytest.approx(nodes["state_1"].energy, rel=1e-12)
    with_label, _ = decide(proposals_node(), nodes)
    assert result["random_number"] == with_label["random_number"]


def diverged_proposals(flags: list[bool]) -> orm.ArrayData:
    """As the worker leaves them: a flagged walker's end is its start, and all else is zero."""
    plain = proposals_node()
    arrays = {name: plain.get_array(name).copy() for name in plain.get_arraynames()}
    for k in np.flatnonzero(flags):
        for name in ("energies", "cell_energies", "kinetic_energies", "momenta", "forces"):
            arrays[name][k] = 0.0
        arrays["positions"][k] = rutile_atoms(seed=k + 1).positions
    return proposals_node(**arrays | {"diverged": np.array(flags)})


def test_diverged_walker_stays_where_it_is(nodes) -> None:
    """Fails where it is accepted (its zeros give ΔH = 0), or where its divergence changes the other's decision."""
    plain, _ = decide(proposals_node(), nodes)
    del nodes["label_1"]
    result, node = decide(diverged_proposals([False, True]), nodes)
    assert node.is_finished_ok, node.exit_message
    assert (plain["diverged"], result["diverged"]) == ([False, False], [False, True])
    assert plain["accepted"][1] is True, "or there is nothing to see here"
    assert result["accepted"] == [plain["accepted"][0], False]
    assert result["random_number"] == plain["random_number"], "drawn as usual"
    assert (result["probability"][1], result["expected_squared_jump"][1]) == (0.0, 0.0)
    for key in ("delta_h", "integration", "mismatch", "energy_error", "force_rmse", "stress_rmse"):
        assert result[key][1] is None
        assert result[key][0] == plain[key][0]
    assert result["energy"][1] == pytest.approx(nodes["state_1"].energy, rel=1e-12)
    assert result["volume"][1] == pytest.approx(nodes["state_1"].base.attributes.get("volume"), rel=1e-12)


@pytest.mark.parametrize(("flags", "labels"), [([False, True], (0, 1)), ([False, False], (0,))])
def test_labels_are_of_those_that_did_not_diverge(nodes, flags: list[bool], labels: tuple[int, ...]) -> None:
    """Fails where a start with its label passes for a proposal, or a label that was forgotten for a divergence."""
    inputs = {name: node for name, node in nodes.items() if name[-1] in map(str, labels) or name.startswith("state")}
    if flags[1]:
        inputs["label_1"] = inputs["state_1"]
    _, node = decide(diverged_proposals(flags), inputs)
    assert node.exit_status == 410
    assert "walker 1" in node.exit_message


@pytest.mark.parametrize(("key", "value"), [("functional", "r2scan"), ("engine", "vasp")])
def test_labels_of_another_functional_are_not_compared(nodes, key: str, value: str) -> None:
    """Fails where ΔH is the difference of two functionals' energies. The control is every other test here."""
    atoms = rutile_atoms(seed=4)
    other = configuration(atoms, label_of(atoms) | {key: value}).store()
    _, node = decide(proposals_node(), nodes | {"label_1": other})
    assert node.exit_status == 411
    for word in ("walker 1", value, "pbe", "vasp-standin", "cannot be compared"):
        assert word in node.exit_message


def test_pressure_is_on_record(nodes, npt_decision) -> None:
    """Fails where epochs at two pressures could not be told apart."""
    names = ("pressure", "cell_degrees_of_freedom")
    assert [decide(proposals_node(), nodes)[0][name] for name in names] == [None, None]
    assert [npt_decision[0][name] for name in names] == [PRESSURE, "full"]


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


STRESS_OFFSET = 0.01  # eV/Å³
# eV: added to the stand-in's energies, so that the first walker may be accepted and the second is
ENERGY_SHIFTS = (-0.15, -2.0)


@pytest.fixture(scope="module")
def npt_nodes(npt_proposal, npt_inputs) -> dict[str, Any]:
    """The states of a real job, and its end points with the stand-in's forces, and stresses near the model's."""
    nodes = {f"state_{k}": npt_inputs["states"][f"walker_{k}"] for k in range(2)}
    for k in range(2):
        structure = npt_proposal.outputs.structures[f"walker_{k}"]
        stress = npt_proposal.outputs.proposals.get_array("stresses")[k] - STRESS_OFFSET
        label = label_of(structure.get_ase()) | {"stress": stress}
        label["energy"] += ENERGY_SHIFTS[k]
        nodes[f"label_{k}"] = ConfigurationData.from_structure(structure, label=label).store()
    return nodes


@pytest.fixture(scope="module")
def npt_decision(npt_proposal, npt_nodes) -> tuple[dict[str, Any], orm.CalcFunctionNode]:
    result, node = decide(npt_proposal.outputs.proposals, npt_nodes)
    assert node.is_finished_ok, node.exit_message
    return result, orm.load_node(node.uuid)


def npt_delta_h(node: orm.CalcFunctionNode, k: int, *, energy_of: str = "target", **cell: Any) -> float:
    """ΔH of walker *k*: V_T + K + PΩ − k_B T (N + 1) ln(Ω/Ω₀) − k_B T ln J from the inputs of the stored decision."""
    proposals = node.inputs.proposals
    reference = proposals.get_array("reference_cell")
    kinetic, model = (proposals.get_array(name)[k] for name in ("kinetic_energies", "energies"))
    ends = (node.inputs[f"state_{k}"], node.inputs[f"label_{k}"])
    potential = [end.energy for end in ends] if energy_of == "target" else model
    exponent = cell.pop("exponent", 6 + 1)
    cells = [cell_energy(end.arrays()["cell"], reference, exponent, **cell) for end in ends]
    totals = [float(potential[i] + kinetic[i] + cells[i]) for i in range(2)]
    return totals[1] - totals[0]


def test_npt_delta_h_from_the_stored_nodes_alone(npt_decision) -> None:
    """Fails where a term of the NPT ensemble is missing or another; the two parts must add up to it."""
    result, node = npt_decision
    for k in range(2):
        assert result["delta_h"][k] == pytest.approx(npt_delta_h(node, k), abs=1e-9)
        assert result["integration"][k] == pytest.approx(npt_delta_h(node, k, energy_of="model"), abs=1e-9)
        errors = node.inputs.proposals.get_array("integration_errors")
        assert result["integration"][k] == pytest.approx(errors[k], abs=1e-9)
        assert result["delta_h"][k] == pytest.approx(result["integration"][k] + result["mismatch"][k], abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [{"exponent": 6}, {"jacobian": False}, {"energy_of": "model"}, {"pressure": PRESSURE}, {"pressure": 0.0}],
    ids=["N for N + 1", "without J", "V_M for V_T", "GPa for eV/Å³", "without P"],
)
def test_npt_delta_h_controls(npt_decision, wrong: dict[str, Any]) -> None:
    """Each mistake is seen: by far more than the test above lets pass."""
    result, node = npt_decision
    differences = [abs(result["delta_h"][k] - npt_delta_h(node, k, **wrong)) for k in range(2)]
    assert max(differences) > 100 * 1e-9


def test_npt_decision(npt_decision, npt_proposal) -> None:
    """Fails where the decision is not that of ΔH, or the volume not that of the state after it."""
    result, node = npt_decision
    assert (result["ensemble"], result["timestep"]) == ("npt", 1.0)
    for k in range(2):
        probability = min(1.0, math.exp(-result["delta_h"][k] / thermal_energy(300.0)))
        assert result["probability"][k] == pytest.approx(probability, rel=1e-6)
        number = random_stream(5, 2, 3, Purpose.METROPOLIS, k).random()
        assert result["accepted"][k] == (number < probability)
        now = node.inputs[f"{'label' if result['accepted'][k] else 'state'}_{k}"]
        assert result["volume"][k] == pytest.approx(now.base.attributes.get("volume"), rel=1e-12)
        assert result["energy"][k] == pytest.approx(now.energy, rel=1e-12)
    assert 0.01 < result["probability"][0] < 0.99
    assert result["accepted"][1] is True


def test_npt_stress_error(npt_decision, npt_proposal, npt_nodes) -> None:
    """In GPa. A label without a stress has no error."""
    result, _ = npt_decision
    assert result["stress_rmse"] == pytest.approx([STRESS_OFFSET / GPA] * 2, rel=1e-9)
    structure = npt_proposal.outputs.structures.walker_0
    label = label_of(structure.get_ase()) | {"stress": None}
    without = ConfigurationData.from_structure(structure, label=label).store()
    other, node = decide(npt_proposal.outputs.proposals, npt_nodes | {"label_0": without})
    assert node.is_finished_ok
    assert other["stress_rmse"] == [None, result["stress_rmse"][1]]


def test_npt_jump_is_without_the_cell(npt_decision) -> None:
    """Displacement in fractional coordinates × the mean cell. Fails where the cell's own change counts as diffusion."""
    result, node = npt_decision
    for k in range(2):
        first, last = (node.inputs[f"{name}_{k}"].get_ase() for name in ("state", "label"))
        moved = last.get_scaled_positions(wrap=False) - first.get_scaled_positions(wrap=False)
        moved = (moved - np.round(moved)) @ (0.5 * (first.cell.array + last.cell.array))
        moved -= np.average(moved, axis=0, weights=first.get_masses())
        jump = result["probability"][k] * np.mean(np.sum(moved**2, axis=1))
        assert result["expected_squared_jump"][k] == pytest.approx(jump, rel=1e-9, abs=1e-15)


def test_npt_label_with_another_cell(npt_proposal, npt_nodes) -> None:
    """Fails where a label in another cell, with the same positions, would be taken for the proposal's."""
    atoms = npt_nodes["label_1"].get_ase()
    atoms.set_cell(atoms.cell.array * (1 + 1e-8), scale_atoms=False)
    other = configuration(atoms, label_of(atoms)).store()
    _, node = decide(npt_proposal.outputs.proposals, npt_nodes | {"label_1": other})
    assert node.exit_status == 410
    assert "walker 1" in node.exit_message

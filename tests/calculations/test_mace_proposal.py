"""MaceProposalCalculation: what it refuses at submission, a real run, and what travels with the job."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run, run_get_node
from aiida.manage.caching import enable_caching
from ase.data import atomic_masses
from fixtures import configuration, label_of, rutile_atoms
from npt_examples import NPT_KERNEL, cell_energy, reference_atoms, strained_atoms

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation, cell_of, read_trajectory, sorted_walkers
from aiida_slhmc.kernel.dynamics import draw_momenta, kinetic_energy
from aiida_slhmc.kernel.parameters import Trajectory
from aiida_slhmc.kernel.streams import Purpose, random_stream

KERNEL = {"temperature": 300.0, "seed": 5}


@pytest.mark.parametrize(
    ("port", "value", "message"),
    [
        ("parameters", KERNEL | {"temperature": -1}, "temperature must be a positive number"),
        ("parameters", KERNEL | {"seed": 1.5}, "seed must be a non-negative integer"),
        ("parameters", KERNEL | {"jitter": 1.0}, "jitter must lie in"),
        ("parameters", KERNEL | {"device": "tpu"}, "device must be one of auto, cpu, cuda"),
        ("parameters", KERNEL | {"timestep": 1.0}, "timestep"),
        ("parameters", {"temperature": 300.0}, "seed"),
        ("parameters", KERNEL | {"ensemble": "nph"}, "ensemble must be one of nvt, npt"),
        ("parameters", KERNEL | {"pressure": 0.0}, "pressure: only for ensemble npt, but the ensemble is nvt"),
        ("parameters", KERNEL | {"ensemble": "npt"}, "ensemble npt needs `reference_structure`"),
        ("parameters", NPT_KERNEL | {"cell_degrees_of_freedom": "cubic"}, "cell_degrees_of_freedom must be one of iso"),
        ("parameters", NPT_KERNEL | {"pressure": "1 bar"}, "pressure must be a number in GPa"),
        ("parameters", NPT_KERNEL | {"cell_time_constant": 0}, "cell_time_constant must be a positive number"),
        ("trajectory", {"n_steps": 0, "timestep": 1.0}, "n_steps must be a positive integer, not 0"),
        ("trajectory", {"n_steps": 2.5, "timestep": 1.0}, "n_steps must be a positive integer, not 2.5"),
        ("trajectory", {"n_steps": 4, "timestep": 0}, "timestep must be a positive number"),
        ("trajectory", {"n_steps": 4}, "timestep"),
        ("trajectory", {"n_steps": 4, "timestep": 1.0, "jitter": 0.1}, "jitter"),
    ],
)
def test_wrong_numbers_are_refused(proposal_inputs, port: str, value: dict[str, Any], message: str) -> None:
    """Fails where a mistake is only found out in the queue."""
    with pytest.raises(ValueError, match=message):
        run(MaceProposalCalculation, **proposal_inputs | {port: orm.Dict(value)})


def test_wrong_states_are_refused(proposal_inputs, labelled) -> None:
    """Fails where walkers could be mixed up, or be of different atoms."""
    state = labelled(1)
    carbon = rutile_atoms()
    carbon.symbols[0] = "C"
    foreign = configuration(carbon, label_of(rutile_atoms()))
    for states, message in (
        ({}, "without gaps, got: none"),
        ({"walker_0": state, "walker_2": state}, "without gaps, got: walker_0, walker_2"),
        ({"first": state}, "without gaps, got: first"),
        ({"walker_0": state, "walker_1": foreign}, "the same atoms"),
        ({"walker_0": foreign}, "the model does not know C; it knows"),
    ):
        with pytest.raises(ValueError, match=message):
            run(MaceProposalCalculation, **proposal_inputs | {"states": states})


def _rotated_atoms() -> Any:
    atoms = strained_atoms(seed=1)
    atoms.rotate(10.0, "z", rotate_cell=True)
    return atoms


@pytest.mark.parametrize(
    ("make", "mode", "message"),
    [
        (_rotated_atoms, "full", "walker_1: the cell is rotated with respect to the reference cell"),
        (lambda: strained_atoms(seed=1), "orthorhombic", "walker_1: .* the cell degrees of freedom do not allow"),
        (lambda: strained_atoms(seed=1), "isotropic", "walker_1: .* the cell degrees of freedom do not allow"),
    ],
    ids=["rotated", "sheared", "not scaled"],
)
def test_cells_of_another_run_are_refused(npt_inputs, make: Any, mode: str, message: str) -> None:
    """Fails where a walker's cell that no strain of the reference leads to is only found out in the queue."""
    states = {f"walker_{k}": configuration(atoms) for k, atoms in enumerate((reference_atoms(), make()))}
    parameters = orm.Dict(NPT_KERNEL | {"cell_degrees_of_freedom": mode})
    with pytest.raises(ValueError, match=message):
        run(MaceProposalCalculation, **npt_inputs | {"states": states, "parameters": parameters})


def test_the_reference_may_be_either_kind_of_node() -> None:
    """Fails where a run could not go on from a configuration of another."""
    atoms = reference_atoms()
    for node in (orm.StructureData(ase=atoms), configuration(atoms)):
        np.testing.assert_allclose(cell_of(node), atoms.cell.array, rtol=0, atol=1e-13)


def test_what_an_adaptation_keeps_is_no_part_of_the_trajectory() -> None:
    """Fails where the second epoch's trajectory would be refused."""
    node = orm.Dict({"n_steps": 4, "timestep": 0.5, "rule": "jump", "state": {"log_n_steps": 1.4}, "reason": "so"})
    assert read_trajectory(node) == Trajectory(n_steps=4, timestep=0.5)


def test_walkers_are_sorted_by_number() -> None:
    """Fails where walker 10 comes before walker 2."""
    assert [k for k, _ in sorted_walkers({f"walker_{k}": None for k in (10, 2, 0)})] == [0, 2, 10]


def test_outputs(proposal, walkers) -> None:
    """Fails where the arrays are of another shape or place than documented, or structures are not the end points."""
    assert proposal.is_finished_ok, proposal.exit_message
    node = proposal.outputs.proposals
    shapes = {name: node.get_array(name).shape for name in node.get_arraynames()}
    expected = dict.fromkeys(("positions", "momenta", "forces"), (2, 6, 3))
    expected |= dict.fromkeys(("energies", "cell_energies", "kinetic_energies"), (2, 2))
    assert shapes == expected | {"cells": (2, 3, 3)} | dict.fromkeys(("integration_errors", "diverged"), (2,))
    assert not node.get_array("diverged").any()
    assert node.base.attributes.get("divergences") == {}
    expected_attributes = {"epoch": 2, "cycle": 3, "seed": 5, "temperature": 300.0, "ensemble": "nvt", "timestep": 1.0}
    assert {key: node.base.attributes.get(key) for key in expected_attributes} == expected_attributes
    kernel = {"jitter": 0.2, "max_integration_error": 1.0, "device": "cpu", "ensemble": "nvt"}
    assert node.base.attributes.get("kernel") == kernel | {"seed": 5, "temperature": 300.0}
    assert node.base.attributes.get("n_steps") in range(3, 6)
    for k in range(2):
        structure = proposal.outputs.structures[f"walker_{k}"]
        start = walkers[f"walker_{k}"].get_ase()
        end = structure.get_ase()
        assert end.get_chemical_symbols() == start.get_chemical_symbols()
        np.testing.assert_allclose(end.positions, node.get_array("positions")[k], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(node.get_array("cells")[k], start.cell.array)
        assert 1e-4 < np.abs(end.positions - start.positions).max() < 0.5
        tags = {key: structure.base.attributes.get(key) for key in ("epoch", "cycle", "walker", "role")}
        assert tags == {"epoch": 2, "cycle": 3, "walker": k, "role": "proposal"}


def test_a_divergence_is_the_walkers_own(proposal, proposal_inputs, walkers) -> None:
    """Real jobs. Fails where one walker's trajectory ends the job, or all that diverge do not."""
    errors = np.abs(proposal.outputs.proposals.get_array("integration_errors"))
    guilty, innocent = int(errors.argmax()), int(errors.argmin())
    parameters = proposal_inputs["parameters"].get_dict() | {"max_integration_error": float(errors.mean())}
    _, node = run_get_node(MaceProposalCalculation, **proposal_inputs | {"parameters": orm.Dict(parameters)})
    assert node.is_finished_ok, node.exit_message
    assert set(node.outputs.structures) == {f"walker_{innocent}"}
    arrays = node.outputs.proposals
    assert arrays.get_array("diverged").tolist() == [k == guilty for k in range(2)]
    start = walkers[f"walker_{guilty}"].arrays()["positions"]
    np.testing.assert_array_equal(arrays.get_array("positions")[guilty], start)
    for name in ("positions", "energies", "momenta"):
        known = proposal.outputs.proposals.get_array(name)
        np.testing.assert_array_equal(arrays.get_array(name)[innocent], known[innocent])
    assert "beyond the bound" in arrays.base.attributes.get("divergences")[f"walker_{guilty}"]
    parameters["max_integration_error"] = 1e-9
    _, node = run_get_node(MaceProposalCalculation, **proposal_inputs | {"parameters": orm.Dict(parameters)})
    assert node.is_finished_ok, node.exit_message
    assert "structures" not in node.outputs
    assert node.outputs.proposals.get_array("diverged").all()


def test_energies_are_conserved_and_the_momenta_those_of_the_streams(proposal, walkers) -> None:
    """Fails where momenta come from another stream, or the trajectory is not the model's own dynamics."""
    node = proposal.outputs.proposals
    masses = atomic_masses[walkers["walker_0"].arrays()["numbers"]]
    for k in range(2):
        momenta = draw_momenta(random_stream(5, 2, 3, Purpose.MOMENTA, k), masses, 300.0)
        ends = [kinetic_energy(p.ravel(), np.repeat(masses, 3)) for p in (momenta, node.get_array("momenta")[k])]
        np.testing.assert_allclose(node.get_array("kinetic_energies")[k], ends, rtol=1e-12)
    kinetic, potential = (np.diff(node.get_array(name))[:, 0] for name in ("kinetic_energies", "energies"))
    np.testing.assert_allclose(node.get_array("integration_errors"), kinetic + potential, rtol=0, atol=1e-12)
    assert np.all(np.abs(kinetic + potential) < 0.3 * np.abs(kinetic))


def test_npt_outputs(npt_proposal, npt_inputs) -> None:
    """Fails where what NPT adds is missing, or a structure does not get the cell that its walker has come to."""
    assert npt_proposal.is_finished_ok, npt_proposal.exit_message
    node = npt_proposal.outputs.proposals
    shapes = {name: node.get_array(name).shape for name in node.get_arraynames()}
    expected = dict.fromkeys(("positions", "momenta", "forces"), (2, 6, 3))
    expected |= dict.fromkeys(("energies", "cell_energies", "kinetic_energies"), (2, 2))
    expected |= dict.fromkeys(("cells", "stresses"), (2, 3, 3)) | {"cell_momenta": (2, 6), "reference_cell": (3, 3)}
    assert shapes == expected | dict.fromkeys(("integration_errors", "diverged"), (2,))
    assert node.base.attributes.get("ensemble") == "npt"
    kernel = node.base.attributes.get("kernel")
    assert kernel == NPT_KERNEL | {"jitter": 0.2, "max_integration_error": 1.0}
    np.testing.assert_array_equal(node.get_array("reference_cell"), npt_inputs["reference_structure"].cell)
    for k in range(2):
        start, end = npt_inputs["states"][f"walker_{k}"].get_ase(), npt_proposal.outputs.structures[f"walker_{k}"]
        np.testing.assert_allclose(end.cell, node.get_array("cells")[k], rtol=0, atol=1e-12)
        assert 1e-3 < np.abs(np.array(end.cell) - start.cell.array).max() < 0.5
        np.testing.assert_allclose(end.get_ase().positions, node.get_array("positions")[k], rtol=0, atol=1e-12)


def test_npt_conserves_h(npt_proposal, npt_inputs) -> None:
    """Fails where Φ − V is another than that of the formula written out, or the trajectory is not Φ's dynamics."""
    node = npt_proposal.outputs.proposals
    reference = node.get_array("reference_cell")
    for k in range(2):
        cells = (npt_inputs["states"][f"walker_{k}"].arrays()["cell"], node.get_array("cells")[k])
        expected = [cell_energy(cell, reference, 6 + 1) for cell in cells]
        np.testing.assert_allclose(node.get_array("cell_energies")[k], expected, rtol=0, atol=1e-9)
    names = ("energies", "cell_energies", "kinetic_energies")
    parts = {name: np.diff(node.get_array(name))[:, 0] for name in names}
    np.testing.assert_allclose(node.get_array("integration_errors"), sum(parts.values()), rtol=0, atol=1e-12)
    assert np.all(np.abs(sum(parts.values())) < 0.1 * np.abs(parts["cell_energies"]))


def test_the_code_that_ran_is_on_record(proposal) -> None:
    """Fails where the job depends on this package being installed there, or carries what it does not need."""
    names = {str(path) for path in proposal.base.repository.glob()}
    assert "aiida_slhmc/worker/propose.py" in names
    assert "aiida_slhmc/kernel/dynamics.py" in names
    foreign = ("aiida_slhmc/data", "aiida_slhmc/workflows", "aiida_slhmc/calculations", "aiida_slhmc/targets")
    assert not [name for name in names if name.startswith(foreign)]
    assert not [name for name in names if name.endswith((".pyc", ".safetensors"))]


def test_equal_inputs_are_taken_from_the_cache(proposal, proposal_inputs) -> None:
    """Fails where something in the inputs differs from run to run: a restart would compute everything again."""
    copies = {name: orm.Dict(proposal_inputs[name].get_dict()) for name in ("parameters", "trajectory")}
    with enable_caching(identifier="aiida.calculations:slhmc.mace_proposal"):
        _, node = run_get_node(MaceProposalCalculation, **proposal_inputs | copies)
    assert node.base.caching.is_created_from_cache
    assert node.base.caching.get_cache_source() == proposal.uuid
    for name in ("positions", "energies"):
        np.testing.assert_array_equal(
            node.outputs.proposals.get_array(name), proposal.outputs.proposals.get_array(name)
        )
    assert node.outputs.proposals.uuid != proposal.outputs.proposals.uuid

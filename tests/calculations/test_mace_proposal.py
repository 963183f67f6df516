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

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation, sorted_walkers
from aiida_slhmc.kernel.dynamics import draw_momenta, kinetic_energy
from aiida_slhmc.kernel.streams import Purpose, random_stream

KERNEL = {"temperature": 300.0, "timestep": 1.0, "seed": 5}


@pytest.mark.parametrize(
    ("port", "value", "message"),
    [
        ("parameters", KERNEL | {"temperature": -1}, "temperature must be a positive number"),
        ("parameters", KERNEL | {"timestep": 0}, "timestep must be a positive number"),
        ("parameters", KERNEL | {"seed": 1.5}, "seed must be a non-negative integer"),
        ("parameters", KERNEL | {"jitter": 1.0}, "jitter must lie in"),
        ("parameters", KERNEL | {"device": "tpu"}, "device must be auto, cpu or cuda"),
        ("parameters", KERNEL | {"timstep": 1.0}, "timstep"),
        ("parameters", {"temperature": 300.0}, "timestep"),
        ("length", {"n_steps": 0}, "n_steps must be a positive integer, not 0"),
        ("length", {"n_steps": 2.5}, "n_steps must be a positive integer, not 2.5"),
        ("length", {}, "n_steps must be a positive integer, not None"),
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


def test_walkers_are_sorted_by_number() -> None:
    """Fails where walker 10 comes before walker 2."""
    assert [k for k, _ in sorted_walkers({f"walker_{k}": None for k in (10, 2, 0)})] == [0, 2, 10]


def test_outputs(proposal, walkers) -> None:
    """Fails where the arrays are of another shape or place than documented, or structures are not the end points."""
    assert proposal.is_finished_ok, proposal.exit_message
    node = proposal.outputs.proposals
    shapes = {name: node.get_array(name).shape for name in node.get_arraynames()}
    expected = dict.fromkeys(("positions", "momenta", "forces"), (2, 6, 3))
    expected |= {"energies": (2, 2), "kinetic_energies": (2, 2), "integration_errors": (2,)}
    assert shapes == expected
    attributes = {key: node.base.attributes.get(key) for key in ("epoch", "cycle", "seed", "temperature")}
    assert attributes == {"epoch": 2, "cycle": 3, "seed": 5, "temperature": 300.0}
    assert node.base.attributes.get("n_steps") in range(3, 6)
    for k in range(2):
        structure = proposal.outputs.structures[f"walker_{k}"]
        start = walkers[f"walker_{k}"].get_ase()
        end = structure.get_ase()
        assert end.get_chemical_symbols() == start.get_chemical_symbols()
        np.testing.assert_allclose(end.positions, node.get_array("positions")[k], rtol=0, atol=1e-12)
        assert 1e-4 < np.abs(end.positions - start.positions).max() < 0.5
        tags = {key: structure.base.attributes.get(key) for key in ("epoch", "cycle", "walker", "role")}
        assert tags == {"epoch": 2, "cycle": 3, "walker": k, "role": "proposal"}


def test_energies_are_conserved_and_the_momenta_those_of_the_streams(proposal, walkers) -> None:
    """Fails where momenta come from another stream, or the trajectory is not the model's own dynamics."""
    node = proposal.outputs.proposals
    masses = atomic_masses[walkers["walker_0"].arrays()["numbers"]]
    for k in range(2):
        momenta = draw_momenta(random_stream(5, 2, 3, Purpose.MOMENTA, k), masses, 300.0)
        ends = [kinetic_energy(p, masses) for p in (momenta, node.get_array("momenta")[k])]
        np.testing.assert_allclose(node.get_array("kinetic_energies")[k], ends, rtol=1e-12)
    kinetic, potential = (np.diff(node.get_array(name))[:, 0] for name in ("kinetic_energies", "energies"))
    np.testing.assert_allclose(node.get_array("integration_errors"), kinetic + potential, rtol=0, atol=1e-12)
    assert np.all(np.abs(kinetic + potential) < 0.3 * np.abs(kinetic))


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
    copies = {name: orm.Dict(proposal_inputs[name].get_dict()) for name in ("parameters", "length")}
    with enable_caching(identifier="aiida.calculations:slhmc.mace_proposal"):
        _, node = run_get_node(MaceProposalCalculation, **proposal_inputs | copies)
    assert node.base.caching.is_created_from_cache
    assert node.base.caching.get_cache_source() == proposal.uuid
    for name in ("positions", "energies"):
        np.testing.assert_array_equal(
            node.outputs.proposals.get_array(name), proposal.outputs.proposals.get_array(name)
        )
    assert node.outputs.proposals.uuid != proposal.outputs.proposals.uuid

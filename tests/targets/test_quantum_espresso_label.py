"""Reading a label off what aiida-quantumespresso parses, and a recovery's namelists, as calculation functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase.units import GPa
from quantum_espresso import small_rutile
from test_quantum_espresso_policy import GOOD, OUTPUT

from aiida_slhmc.targets.label_work_chain import NOT_A_LABEL, OTHER_STRUCTURE
from aiida_slhmc.targets.quantum_espresso_label import change_electronic_settings, read_quantum_espresso_label

ENERGY = -4936.123456789012
FORCES = np.random.default_rng(1).normal(size=(6, 3))
STRESS = np.array([[3.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 1.0]])  # GPa, under compression


def displaced(seed: int = 1) -> orm.StructureData:
    atoms = small_rutile()
    atoms.positions += np.random.default_rng(seed).normal(0, 0.05, (6, 3))
    return orm.StructureData(ase=atoms)


def trajectory_of(structure: orm.StructureData, **changes: Any) -> orm.TrajectoryData:
    """What the plugin makes of one self-consistency, with *changes* of its arrays; None leaves one out."""
    made = orm.TrajectoryData()
    atoms = structure.get_ase()
    made.set_trajectory(
        symbols=list(atoms.symbols),
        positions=atoms.positions[None],
        cells=atoms.cell.array[None],
        stepids=np.array([0]),
    )
    arrays = {"energy": np.array([ENERGY]), "forces": FORCES[None], "stress": STRESS[None]} | changes
    for name, values in arrays.items():
        if values is not None:
            made.set_array(name, values)
    return made


def read(
    structure: orm.StructureData,
    output: dict[str, Any] = OUTPUT,
    recovery: dict[str, Any] | None = None,
    calculated: orm.StructureData | None = None,
    trajectory: orm.TrajectoryData | None = None,
    **arrays: Any,
) -> Any:
    return read_quantum_espresso_label.run_get_node(
        structure=structure,
        calculated=calculated or structure,
        parameters=orm.Dict(GOOD),
        output_parameters=orm.Dict(output),
        output_trajectory=trajectory or trajectory_of(structure, **arrays),
        recovery=orm.Dict(recovery or {}),
    )


@pytest.mark.usefixtures("aiida_profile")
def test_label() -> None:
    """Fails where a number loses digits, the stress has pw.x's sign or unit, or the record is incomplete."""
    structure = displaced()
    structure.base.attributes.set_many({"epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"})
    label, node = read(structure, recovery={"mixing_beta": 0.2})
    assert node.is_finished_ok, node.exit_message
    arrays = label.arrays()
    assert float(arrays["energy"]) == ENERGY
    np.testing.assert_array_equal(arrays["forces"], FORCES)
    np.testing.assert_allclose(arrays["stress"], -STRESS * GPa, rtol=1e-14)
    np.testing.assert_array_equal(arrays["positions"], structure.get_ase().positions)
    expected = {"functional": "pbe", "engine": "quantum_espresso", "stand_in": False, "scf_iterations": 12}
    expected |= {"recovery": {"mixing_beta": 0.2}, "epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"}
    assert {key: label.base.attributes.get(key) for key in expected} == expected


@pytest.mark.usefixtures("aiida_profile")
def test_the_last_frame_counts() -> None:
    """Fails where another frame is read than the last."""
    structure = displaced()
    frames = {"energy": np.array([0.0, ENERGY]), "forces": np.array([FORCES * 0, FORCES])}
    label, _ = read(structure, **frames)
    assert label.energy == ENERGY
    np.testing.assert_array_equal(label.arrays()["forces"], FORCES)


@pytest.mark.usefixtures("aiida_profile")
@pytest.mark.parametrize(
    ("output", "arrays", "message"),
    [
        ({"convergence_info": {"scf_conv": {"convergence_achieved": False}}}, {}, "did not converge"),
        ({"convergence_info": {}}, {}, "did not converge"),
        ({}, {"energy": np.array([np.nan])}, "not finite"),
        ({}, {"forces": np.full((1, 6, 3), np.nan)}, "not finite"),
        ({}, {"stress": np.full((1, 3, 3), np.inf)}, "not finite"),
        ({}, {"stress": None}, "missing"),
        ({}, {"forces": None}, "missing"),
        ({}, {"energy": np.array([])}, "missing"),
        ({}, {"forces": FORCES[None, :5]}, "wrong shape"),
        ({"stress_units": "kbar"}, {}, "stress_units kbar"),
    ],
)
def test_output_that_is_no_label(output: dict[str, Any], arrays: dict[str, Any], message: str) -> None:
    """Fails where such an output becomes a label, or an exception instead of an exit code."""
    _, node = read(displaced(), OUTPUT | output, **arrays)
    assert node.exit_status == NOT_A_LABEL
    assert message in node.exit_message


@pytest.mark.usefixtures("aiida_profile")
def test_input_of_another_structure() -> None:
    """Fails where forces are paired with atoms that they do not belong to."""
    structure = displaced(1)
    _, node = read(structure, calculated=displaced(2))
    assert node.exit_status == OTHER_STRUCTURE
    assert "positions differ" in node.exit_message
    reordered = orm.StructureData(ase=structure.get_ase()[[1, 2, 0, 3, 4, 5]])
    _, node = read(structure, calculated=reordered)
    assert "another order" in node.exit_message
    _, node = read(structure, calculated=orm.StructureData(ase=structure.get_ase()[:5]))
    assert "5 sites instead of 6" in node.exit_message


@pytest.mark.usefixtures("aiida_profile")
def test_output_of_another_structure() -> None:
    """Fails where what pw.x says that it computed is not looked at: here its cell is 1e-4 Å larger."""
    structure = displaced()
    atoms = structure.get_ase()
    atoms.set_cell(atoms.cell.array + np.diag([1e-4, 0, 0]))
    _, node = read(structure, trajectory=trajectory_of(orm.StructureData(ase=atoms)))
    assert node.exit_status == OTHER_STRUCTURE
    assert "cell differ by 0.0001" in node.exit_message


@pytest.mark.usefixtures("aiida_profile")
def test_change_of_electronic_settings() -> None:
    changed, node = change_electronic_settings.run_get_node(
        parameters=orm.Dict(GOOD), changes=orm.Dict({"mixing_beta": 0.2, "diagonalization": "cg"})
    )
    assert node.is_finished_ok
    electrons = {"conv_thr": 1e-8, "mixing_beta": 0.2, "diagonalization": "cg"}
    assert changed.get_dict() == GOOD | {"ELECTRONS": electrons}


@pytest.mark.usefixtures("aiida_profile")
@pytest.mark.parametrize("key", ["conv_thr", "CONV_THR", "ecutwfc", "degauss", "input_dft", "nosym", "tqr"])
def test_change_of_the_energy_surface_is_refused(key: str) -> None:
    """Fails where a recovery could spoil the chain with labels of another surface."""
    _, node = change_electronic_settings.run_get_node(
        parameters=orm.Dict(GOOD), changes=orm.Dict({"mixing_beta": 0.2, key: 1})
    )
    assert node.exit_status == 420
    assert key in node.exit_message

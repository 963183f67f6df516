"""Analytic potentials in the stand-in: derivatives, wrapping, errors, and one label through aiida-vasp."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms

from aiida_slhmc.standin.analytic import POTENTIAL, AnalyticPotential, read_potential
from aiida_slhmc.standin.inputs import InputError
from aiida_slhmc.targets.vasp import VaspLabelWorkChain, VaspTarget

KB = 1602.176634  # kB per eV/Å³
STEP = 1e-4


def harmonic(atoms: Atoms) -> dict[str, Any]:
    """A harmonic crystal around *atoms* with springs between all coordinates."""
    factor = np.random.default_rng(2).normal(size=(3 * len(atoms), 3 * len(atoms)))
    hessian = factor @ factor.T + 3 * np.eye(3 * len(atoms))
    return {
        "kind": "harmonic",
        "positions": atoms.positions.tolist(),
        "hessian": hessian.tolist(),
        "cell": atoms.cell.array.tolist(),
        "energy": -7.25,
    }


def elastic(atoms: Atoms) -> dict[str, Any]:
    """An elastic cell at rest in one that is a tenth smaller than that of *atoms*, and turned."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    return {
        "kind": "elastic",
        "stiffness": 30.0,
        "reference_cell": (0.9 * atoms.cell.array @ turn).tolist(),
        "energy": 1.5,
    }


def potential(content: dict[str, Any]) -> AnalyticPotential:
    return AnalyticPotential(content["kind"], {key: value for key, value in content.items() if key != "kind"}, "")


def displaced(atoms: Atoms) -> Atoms:
    moved = atoms.copy()
    moved.positions += np.random.default_rng(4).normal(0, 0.1, (len(atoms), 3))
    return moved


def deformed(atoms: Atoms, deformation: np.ndarray) -> Atoms:
    made = atoms.copy()
    made.set_cell(atoms.cell.array @ deformation.T, scale_atoms=True)
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], dict[str, str]]:
    """Function that writes a potential's file and returns the environment that asks for it."""

    def make(content: Any) -> dict[str, str]:
        path = tmp_path / "potential.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return {POTENTIAL: str(path)}

    return make


def test_ideal_gas(rutile: Atoms) -> None:
    result = potential({"kind": "ideal_gas", "energy": 2.5}).evaluate(rutile)
    assert result.energy == 2.5
    np.testing.assert_array_equal(result.forces, np.zeros((6, 3)))
    np.testing.assert_array_equal(result.stress, np.zeros((3, 3)))
    assert potential({"kind": "ideal_gas"}).evaluate(rutile).energy == 0.0


def test_harmonic_energy_by_hand(rutile: Atoms) -> None:
    """Fails where the factor ½ or the order of the coordinates is wrong."""
    content, moved = harmonic(rutile), rutile.copy()
    moved.positions[1, 2] += 0.2
    moved.positions[4, 0] -= 0.1
    hessian = np.array(content["hessian"])
    expected = 0.5 * (0.04 * hessian[5, 5] + 0.01 * hessian[12, 12]) - 0.02 * hessian[5, 12]
    assert potential(content).evaluate(moved).energy == pytest.approx(-7.25 + expected, abs=1e-12)
    at_rest = potential(content).evaluate(rutile)
    assert at_rest.energy == pytest.approx(-7.25, abs=1e-12)
    np.testing.assert_allclose(at_rest.forces, 0.0, atol=1e-12)


def test_harmonic_forces(rutile: Atoms) -> None:
    made, start = potential(harmonic(rutile)), displaced(rutile)
    numerical = np.empty((6, 3))
    for index in np.ndindex(6, 3):
        energies = []
        for step in (STEP, -STEP):
            moved = start.copy()
            moved.positions[index] += step
            energies.append(made.evaluate(moved).energy)
        numerical[index] = -(energies[0] - energies[1]) / (2 * STEP)
    result = made.evaluate(start)
    assert np.abs(result.forces).max() > 0.1
    np.testing.assert_allclose(result.forces, numerical, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(result.stress, np.zeros((3, 3)))


def test_wrapping_changes_nothing(rutile: Atoms) -> None:
    """Fails where an atom that POSCAR has in another image is taken to be a cell away from its site."""
    made, start = potential(harmonic(rutile)), displaced(rutile)
    wrapped = start.copy()
    wrapped.wrap()
    assert np.abs(wrapped.positions - start.positions).max() > 1  # or nothing is tested
    far = start.copy()
    far.positions += np.random.default_rng(6).integers(-3, 4, (6, 3)) @ rutile.cell.array
    expected = made.evaluate(start)
    for atoms in (wrapped, far):
        result = made.evaluate(atoms)
        assert result.energy == pytest.approx(expected.energy, abs=1e-10)
        np.testing.assert_allclose(result.forces, expected.forces, rtol=0, atol=1e-10)


def test_elastic_energy_by_hand(rutile: Atoms) -> None:
    """Fails where turning the cell, which leaves its shape alone, costs energy."""
    content = elastic(rutile)
    assert potential(content).evaluate(rutile).energy == pytest.approx(1.5 + 45 * (1 / 0.9 - 1) ** 2, abs=1e-10)
    content["reference_cell"] = rutile.cell.array.tolist()
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    stretched = deformed(rutile, turn @ np.diag([1.1, 1.0, 0.8]) @ turn.T)
    assert potential(content).evaluate(stretched).energy == pytest.approx(1.5 + 15 * (0.01 + 0.04), abs=1e-10)


def test_elastic_stress(rutile: Atoms) -> None:
    """Fails where the stress is not the energy's derivative, or has VASP's sign."""
    shear = np.eye(3) + np.random.default_rng(7).normal(0, 0.1, (3, 3))
    made, start = potential(elastic(rutile)), deformed(rutile, shear)
    result = made.evaluate(start)
    numerical = np.empty((3, 3))
    for i, j in np.ndindex(3, 3):
        energies = []
        for step in (STEP, -STEP):
            strain = np.eye(3)
            strain[i, j] += step / 2
            strain[j, i] += step / 2
            energies.append(made.evaluate(deformed(start, strain)).energy)
        numerical[i, j] = (energies[0] - energies[1]) / (2 * STEP) / start.get_volume()
    assert np.abs(result.stress).min() > 1e-3  # no component passes for being zero
    np.testing.assert_allclose(result.stress, numerical, rtol=0, atol=1e-8)
    np.testing.assert_allclose(result.stress, result.stress.T, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(result.forces, np.zeros((6, 3)))
    tensile = made.evaluate(deformed(rutile, 1.2 * np.eye(3))).stress
    assert np.linalg.eigvalsh(tensile).min() > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ([1, 2], 'needs a "kind", one of ideal_gas, harmonic, elastic'),
        ({"energy": 1}, 'needs a "kind"'),
        ({"kind": "morse"}, 'needs a "kind"'),
        ({"kind": ["harmonic"]}, 'needs a "kind"'),
    ],
)
def test_unreadable_files(write, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_potential(write(content))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json cannot be read"):
        read_potential({POTENTIAL: str(tmp_path / "nowhere.json")})
    assert read_potential({}) is None
    assert read_potential({POTENTIAL: ""}) is None


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (harmonic, {"hessian": None}, "hessian has the shape"),
        (harmonic, {"hessian": np.eye(17).tolist()}, r"hessian has the shape \(17, 17\) instead of \(18, 18\)"),
        (harmonic, {"hessian": np.eye(18, k=1).tolist()}, "hessian is not symmetric"),
        (harmonic, {"positions": np.zeros((5, 3)).tolist()}, r"positions has the shape \(5, 3\)"),
        (harmonic, {"positions": [[0.0, 0.0, 0.0], [1.0]]}, "positions is not a table of numbers"),
        (harmonic, {"positions": [["a"] * 3] * 6}, "positions is not a table of numbers"),
        (harmonic, {"positions": [[float("nan")] * 3] * 6}, "not finite"),
        (harmonic, {"cell": np.eye(3).tolist()}, "cell is not the potential's"),
        (harmonic, {"energy": [1.0, 2.0]}, "energy has the shape"),
        (harmonic, {"enrgy": 1.0}, r"unknown keys \['enrgy'\]"),
        (elastic, {"stiffness": "stiff"}, "stiffness is not"),
        (elastic, {"stiffness": float("inf")}, "not finite"),
        (elastic, {"reference_cell": np.eye(2).tolist()}, "reference_cell has the shape"),
        (elastic, {"reference_cell": np.diag([1.0, 1.0, 0.0]).tolist()}, "no volume"),
    ],
)
def test_wrong_parameters(write, rutile: Atoms, make: Callable, changes: dict[str, Any], message: str) -> None:
    made = read_potential(write(make(rutile) | changes))
    assert made is not None
    with pytest.raises(InputError, match=message):
        made.evaluate(rutile)


@pytest.mark.parametrize(
    ("make", "key"),
    [(harmonic, "positions"), (harmonic, "hessian"), (elastic, "stiffness"), (elastic, "reference_cell")],
)
def test_missing_keys(rutile: Atoms, make: Callable, key: str) -> None:
    content = make(rutile)
    del content[key]
    with pytest.raises(InputError, match=rf"missing keys \['{key}'\]"):
        potential(content).evaluate(rutile)


@pytest.mark.parametrize(("shift", "fits"), [(2e-9, True), (2e-8, False)])
def test_cell_may_differ_by_rounding(rutile: Atoms, shift: float, fits: bool) -> None:
    made, other = potential(harmonic(rutile)), rutile.copy()
    other.cell[1, 2] += shift
    if fits:
        made.evaluate(other)
        return
    with pytest.raises(InputError, match="not the potential's"):
        made.evaluate(other)


def test_program_says_what_it_computed(run, write, rutile: Atoms) -> None:
    """Fails where an output passes for DFT or for the rigid-ion potential."""
    environment = write({"kind": "ideal_gas", "energy": -3.0})
    run.write_inputs(rutile)
    done = run.program(environment)
    assert done.returncode == 0, done.stdout + done.stderr
    made = read_potential(environment)
    for text in (done.stdout, run.text("OUTCAR"), run.text("vasprun.xml")):
        assert "analytic potential, not DFT" in text
        assert f"(variant {made})" in text
        assert "rigid-ion" not in text
    assert str(made).startswith("ideal_gas, sha256 ")
    assert run.energy("e_fr_energy") == pytest.approx(-3.0, abs=1e-12)


def test_other_elements_than_titanium_and_oxygen(run, write, rutile: Atoms) -> None:
    environment = write(elastic(rutile))
    run.write_inputs(rutile)
    for name, old, new in (("POSCAR", "Ti O", "Ti Ar"), ("POTCAR", "VRHFIN =O:", "VRHFIN =Ar:")):
        text = run.text(name)
        assert old in text
        (run.folder / name).write_text(text.replace(old, new))
    assert run.program().returncode == 1  # the rigid-ion potential does not know argon
    assert run.program(environment).returncode == 0
    expected = potential(elastic(rutile)).evaluate(rutile)
    assert run.energy("e_fr_energy") == pytest.approx(expected.energy, abs=1e-10)
    np.testing.assert_allclose(run.array("stress"), -expected.stress * KB, rtol=0, atol=1e-8)


def test_program_stops_on_a_wrong_file(run, write, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    done = run.program(write({"kind": "morse"}))
    assert done.returncode == 1
    assert "REFUSE TO CONTINUE" in done.stdout
    assert not (run.folder / "vasprun.xml").exists()


@pytest.mark.parametrize("make", [harmonic, elastic])
def test_label_through_aiida_vasp(vasp_code, family: str, write, rutile: Atoms, make: Callable) -> None:
    """Fails where the potential's numbers change on the way to the label's node."""
    made = read_potential(environment := write(make(rutile)))
    structure = orm.StructureData(ase=displaced(rutile))
    inputs = VaspTarget.get_inputs(
        structure=structure,
        functional="pbe",
        code=vasp_code,
        potential_family=family,
        options={"withmpi": False, "prepend_text": f"export {POTENTIAL}={environment[POTENTIAL]}"},
    )
    _, node = run_get_node(VaspLabelWorkChain, structure=structure, **inputs)
    assert node.is_finished_ok, node.exit_message
    label, expected = node.outputs.label, made.evaluate(structure.get_ase())
    assert label.energy == pytest.approx(expected.energy, abs=1e-8)
    np.testing.assert_allclose(label.arrays()["forces"], expected.forces, rtol=0, atol=1e-8)
    np.testing.assert_allclose(label.arrays()["stress"], expected.stress, rtol=0, atol=1e-8)
    assert label.base.attributes.get("stand_in") is True
    assert label.base.attributes.get("engine") == "vasp-standin"

"""ForceConstantsData: exact arrays, no broken matrix, and phonopy's files read in the right units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_slhmc.data.force_constants import ForceConstantsData

phonopy = pytest.importorskip("phonopy")

REPEATS = (2, 2, 2)
STEP = 0.01  # Å


def forces_of(supercell: Atoms) -> np.ndarray:
    supercell.calc = EMT()
    return supercell.get_forces()


@pytest.fixture(scope="module")
def aluminium() -> Atoms:
    """Four atoms of fcc aluminium; a supercell of 32 has one displacement that symmetry does not give."""
    return bulk("Al", cubic=True)


@pytest.fixture(scope="module")
def calculation(aluminium: Atoms):
    """Phonopy's object with the forces of EMT in its displaced supercell."""
    from phonopy.structure.atoms import PhonopyAtoms

    unit = PhonopyAtoms(
        symbols=aluminium.get_chemical_symbols(), cell=aluminium.cell.array, positions=aluminium.positions
    )
    result = phonopy.Phonopy(unit, np.diag(REPEATS), primitive_matrix="auto")
    result.generate_displacements(distance=STEP)
    displaced = result.supercells_with_displacements
    result.forces = [forces_of(Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)) for cell in displaced]
    result.produce_force_constants(show_drift=False)
    result.symmetrize_force_constants(show_drift=False)
    return result


@pytest.fixture(scope="module")
def exact(calculation) -> np.ndarray:
    """Central differences of EMT's forces: the force constants without phonopy."""
    cell = calculation.supercell
    atoms = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)
    result = np.zeros((len(atoms), len(atoms), 3, 3))
    for j in range(len(atoms)):
        for b in range(3):
            shifts = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[j, b] += sign * STEP
                shifts.append(forces_of(moved))
            result[:, j, :, b] = -(shifts[0] - shifts[1]) / (2 * STEP)
    return (result + result.transpose(1, 0, 3, 2)) / 2


def save_params(calculation, folder: Path, **settings: bool) -> Path:
    """A folder with phonopy_params.yaml alone."""
    defaults = {"force_sets": True, "displacements": True, "force_constants": False}
    calculation.save(folder / "phonopy_params.yaml", settings=defaults | settings)
    return folder


def test_arrays_come_back_bit_for_bit(exact: np.ndarray, calculation) -> None:
    """Fails where a number passes through AiiDA's attributes, or the file has a time in it (caching)."""
    cell = calculation.supercell
    arrays = {"numbers": cell.numbers, "positions": cell.positions, "cell": cell.cell, "force_constants": exact}
    nodes = [ForceConstantsData(**arrays, functional="emt", source="test").store() for _ in range(2)]
    node = orm.load_node(nodes[0].uuid)
    assert set(node.arrays()) == set(arrays)
    for key, values in arrays.items():
        np.testing.assert_array_equal(node.arrays()[key], values)
    assert nodes[0].base.caching.get_hash() == nodes[1].base.caching.get_hash()
    attributes = node.base.attributes.all
    assert (attributes["n_atoms"], attributes["elements"], attributes["functional"]) == (32, ["Al"], "emt")
    assert attributes["acoustic_sum_rule_violation"] == pytest.approx(np.abs(exact.sum(axis=1)).max())
    np.testing.assert_array_equal(node.get_ase().positions, cell.positions)


@pytest.mark.parametrize("kind", ["params", "constants in yaml", "FORCE_SETS", "FORCE_CONSTANTS", "compact hdf5"])
def test_reads_what_phonopy_writes(kind: str, calculation, exact: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    """Fails where indices are exchanged, compact force constants are not expanded or a file is not found."""
    from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5, write_FORCE_SETS
    from phonopy.harmonic.force_constants import full_fc_to_compact_fc

    folder = tmp_path / "phonons"
    folder.mkdir()
    save_params(calculation, folder, force_sets=kind == "params", force_constants=kind == "constants in yaml")
    constants = calculation.force_constants
    if kind == "FORCE_SETS":
        write_FORCE_SETS(calculation.dataset, filename=folder / kind)
    if kind == "FORCE_CONSTANTS":
        write_FORCE_CONSTANTS(constants, filename=folder / kind)
    if kind == "compact hdf5":
        compact = full_fc_to_compact_fc(calculation.primitive, constants)
        assert len(compact) < len(constants)
        write_force_constants_to_hdf5(
            compact,
            folder / "force_constants.hdf5",
            p2s_map=calculation.primitive.p2s_map,
            physical_unit="eV/angstrom^2",
        )
    elsewhere = tmp_path / "elsewhere"  # another material's files, where the process happens to run
    elsewhere.mkdir()
    write_FORCE_CONSTANTS(0 * constants, filename=elsewhere / "FORCE_CONSTANTS")
    monkeypatch.chdir(elsewhere)
    node = ForceConstantsData.from_phonopy(folder, functional="emt").store()
    arrays = node.arrays()
    np.testing.assert_allclose(arrays["force_constants"], calculation.force_constants, atol=1e-8)
    np.testing.assert_allclose(arrays["force_constants"], exact, atol=0.02)  # anharmonicity; the largest are 5 eV/Å²
    assert np.abs(exact).max() > 1
    assert node.base.attributes.get("acoustic_sum_rule_violation") < 1e-6
    assert node.base.attributes.get("n_displacements") == 1
    kept = set(node.base.repository.list_object_names(node.ORIGINALS))
    assert kept == {file.name for file in folder.iterdir()}


def test_units_of_other_calculators(calculation, exact: np.ndarray, tmp_path: Path) -> None:
    """Fails where Quantum ESPRESSO's Ry/bohr² and bohr pass for eV/Å² and Å."""
    from ase.units import Bohr, Rydberg
    from phonopy.structure.atoms import PhonopyAtoms

    unit = calculation.unitcell
    scaled = PhonopyAtoms(symbols=unit.symbols, cell=unit.cell / Bohr, scaled_positions=unit.scaled_positions)
    other = phonopy.Phonopy(scaled, np.diag(REPEATS), primitive_matrix="auto", calculator="qe")
    other.force_constants = calculation.force_constants / (Rydberg / Bohr**2)
    save_params(other, tmp_path, force_sets=False, force_constants=True)
    arrays = ForceConstantsData.from_phonopy(tmp_path / "phonopy_params.yaml").arrays()
    np.testing.assert_allclose(arrays["cell"], calculation.supercell.cell, rtol=1e-6)
    np.testing.assert_allclose(arrays["force_constants"], calculation.force_constants, rtol=1e-5, atol=1e-6)


def test_random_displacements_are_fitted(calculation, exact: np.ndarray, tmp_path: Path) -> None:
    """Displacements of all atoms at once are phonopy's other kind of data set."""
    other = phonopy.Phonopy(calculation.unitcell, np.diag(REPEATS), primitive_matrix="auto")
    other.generate_displacements(distance=STEP, number_of_snapshots=3, random_seed=1)
    displaced = other.supercells_with_displacements
    other.forces = [forces_of(Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)) for cell in displaced]
    save_params(other, tmp_path)
    node = ForceConstantsData.from_phonopy(tmp_path)
    assert node.base.attributes.get("n_displacements") == 3
    np.testing.assert_allclose(node.arrays()["force_constants"], exact, atol=0.05)


def test_what_cannot_be_read_is_said(calculation, tmp_path: Path) -> None:
    """Fails where a folder without forces ends in a traceback of phonopy's."""
    with pytest.raises(ValueError, match=r"expected one of phonopy_params\.yaml"):
        ForceConstantsData.from_phonopy(tmp_path)
    save_params(calculation, tmp_path, force_sets=False)
    with pytest.raises(ValueError, match="neither force constants nor forces"):
        ForceConstantsData.from_phonopy(tmp_path)
    (tmp_path / "FORCE_CONSTANTS").write_text("2 2\n1 1\n")
    with pytest.raises(ValueError, match="phonopy cannot make force constants of"):
        ForceConstantsData.from_phonopy(tmp_path)


def test_without_phonopy(calculation, tmp_path: Path, monkeypatch) -> None:
    """Fails where the message does not say what to install."""
    save_params(calculation, tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "phonopy", None)
    with pytest.raises(ImportError, match=r"aiida-slhmc\[phonons\]"):
        ForceConstantsData.from_phonopy(tmp_path)


def _unsymmetric() -> np.ndarray:
    constants = np.zeros((2, 2, 3, 3))
    constants[0, 1, 0, 2], constants[1, 0, 2, 0] = -3.0, -2.9
    return constants


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((3, 3))}, "positions has shape"),
        ({"cell": np.ones(3)}, "cell has shape"),
        ({"force_constants": np.zeros((1, 2, 3, 3))}, "force_constants has shape"),
        ({"force_constants": np.zeros((6, 6))}, "force_constants has shape"),
        ({"force_constants": np.full((2, 2, 3, 3), np.nan)}, "not finite: force_constants"),
        ({"numbers": [22, 0]}, "known elements"),
        ({"numbers": []}, "at least one"),
        ({"force_constants": _unsymmetric()}, r"not symmetric: Φ\[0,1,0,2\] = -3 but Φ\[1,0,2,0\] = -2.9"),
    ],
)
def test_refuses_what_makes_no_sense(changes: dict[str, object], message: str) -> None:
    """Fails where a broken matrix could be trained on."""
    arguments = {
        "numbers": [22, 8],
        "positions": np.zeros((2, 3)),
        "cell": np.eye(3),
        "force_constants": np.zeros((2, 2, 3, 3)),
    }
    with pytest.raises(ValueError, match=message):
        ForceConstantsData(**(arguments | changes))
    ForceConstantsData(**arguments)  # the control

"""ConfigurationData: exact arrays, attributes to query by, and no node that makes no sense."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.data.configuration import ConfigurationData

TAGS = {"epoch": 3, "cycle": 7, "walker": 1, "role": "proposal"}


def test_arrays_come_back_bit_for_bit() -> None:
    """Fails where a number passes through AiiDA's attributes, which keep 14 digits."""
    atoms = rutile_atoms(seed=5)
    atoms.positions *= 1 + 2**-50
    label = label_of(atoms)
    node = orm.load_node(configuration(atoms, label).store().uuid)
    arrays = node.arrays()
    expected = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array}
    expected |= {key: label[key] for key in ("energy", "forces", "stress")}
    assert set(arrays) == set(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(arrays[key], values)
    assert node.energy == label["energy"]
    assert arrays["positions"].dtype == np.float64


def test_energy_is_not_the_rounded_attribute() -> None:
    """The control of the test above: an energy whose 16 digits the attribute does not hold."""
    atoms = rutile_atoms()
    energy = -123456.78901234567
    node = configuration(atoms, label_of(atoms) | {"energy": energy}).store()
    node = orm.load_node(node.uuid)
    assert node.energy == energy
    assert node.base.attributes.get("energy") != energy


def test_attributes_to_query_by() -> None:
    """Fails where a run's configurations could not be found again by what they are."""
    atoms = rutile_atoms(seed=2)
    label = label_of(atoms)
    node = configuration(atoms, label, tags=TAGS).store()
    attributes = node.base.attributes.all
    assert attributes["formula"] == "O4Ti2"
    assert attributes["elements"] == ["O", "Ti"]
    assert attributes["n_atoms"] == 6
    assert attributes["volume"] == pytest.approx(atoms.get_volume())
    assert attributes["energy"] == pytest.approx(label["energy"], rel=1e-13)
    assert attributes["max_force"] == pytest.approx(np.linalg.norm(label["forces"], axis=1).max())
    assert (attributes["functional"], attributes["engine"], attributes["stand_in"]) == ("pbe", "vasp-standin", True)
    assert {key: attributes[key] for key in TAGS} == TAGS
    filters = {"attributes.epoch": 3, "attributes.role": "proposal", "attributes.energy": {"<": 0}}
    found = orm.QueryBuilder().append(ConfigurationData, filters=filters).all(flat=True)
    assert node.uuid in {other.uuid for other in found}


def test_label_tells_how_it_was_had() -> None:
    """Fails where labels that a recovery made, or what a label cost, cannot be asked for."""
    atoms = rutile_atoms()
    changes = {"algo": "All", "starting_density": "atomic"}
    recovered = configuration(atoms, label_of(atoms) | {"recovery": changes, "scf_iterations": 31}).store()
    plain = configuration(atoms, label_of(atoms)).store()
    filters = {"attributes.recovery.algo": "All", "attributes.scf_iterations": {">": 30}}
    found = orm.QueryBuilder().append(ConfigurationData, filters=filters).all(flat=True)
    assert [node.uuid for node in found] == [recovered.uuid]
    assert plain.base.attributes.get("recovery") == {}


def test_equal_content_has_equal_bytes_and_hash() -> None:
    """Fails where the file has a time in it: AiiDA's caching would never find an equal configuration."""
    atoms = rutile_atoms(seed=3)
    first, second = (configuration(atoms, label_of(atoms)).store() for _ in range(2))
    contents = [node.base.repository.get_object_content(node.FILENAME, "rb") for node in (first, second)]
    assert contents[0] == contents[1]
    assert first.base.caching.get_hash() == second.base.caching.get_hash()
    atoms.positions[0, 0] = np.nextafter(atoms.positions[0, 0], np.inf)
    other = configuration(atoms, label_of(rutile_atoms(seed=3))).store()
    assert other.base.caching.get_hash() != first.base.caching.get_hash()


def test_unlabelled_record_says_why() -> None:
    """Fails where a record without a label could pass for a state."""
    node = configuration(rutile_atoms(), unlabelled_reason="VASP failed").store()
    assert not node.is_labelled
    assert set(node.arrays()) == {"numbers", "positions", "cell"}
    assert "energy" not in node.get_ase().info
    with pytest.raises(ValueError, match="has no label: VASP failed"):
        _ = node.energy


def test_get_ase_carries_the_label() -> None:
    """Fails where an export would lose the label or change the order of the atoms."""
    atoms = rutile_atoms(seed=4)
    label = label_of(atoms)
    exported = configuration(atoms, label).store().get_ase()
    assert exported.get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_array_equal(exported.positions, atoms.positions)
    np.testing.assert_array_equal(exported.arrays["forces"], label["forces"])
    np.testing.assert_array_equal(exported.info["stress"], label["stress"])
    assert exported.info["energy"] == label["energy"]
    assert exported.info["functional"] == "pbe"
    assert all(exported.pbc)


def test_label_without_stress() -> None:
    """A target without stress still gives a label."""
    atoms = rutile_atoms()
    node = configuration(atoms, label_of(atoms) | {"stress": None}).store()
    assert node.is_labelled
    assert "stress" not in node.arrays()
    assert "stress" not in node.get_ase().info


def test_from_structure_takes_the_tags() -> None:
    """Fails where a label would lose its place in the run."""
    structure = orm.StructureData(ase=rutile_atoms(seed=1))
    structure.base.attributes.set_many(TAGS)
    node = ConfigurationData.from_structure(structure, unlabelled_reason="test")
    assert {key: node.base.attributes.get(key) for key in TAGS} == TAGS
    np.testing.assert_array_equal(node.arrays()["positions"], structure.get_ase().positions)


def _broken(key: str, value: object) -> dict[str, object]:
    return {"label": label_of(rutile_atoms()) | {key: value}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((5, 3))}, "positions has shape"),
        ({"cell": np.ones(3)}, "cell has shape"),
        ({"numbers": [], "positions": np.zeros((0, 3))}, "at least one atom"),
        ({"numbers": [22, 22, 8, 8, 8, 0]}, "known element"),
        ({"numbers": [22, 22, 8, 8, 8, 200]}, "known element"),
        ({"positions": np.full((6, 3), np.nan)}, "not finite: positions"),
        ({"cell": np.full((3, 3), np.inf)}, "not finite: cell"),
        (_broken("energy", np.nan), "not finite: energy"),
        (_broken("energy", [1.0, 2.0]), "energy has shape"),
        (_broken("forces", np.full((6, 3), np.inf)), "not finite: forces"),
        (_broken("forces", np.zeros((5, 3))), "forces has shape"),
        (_broken("stress", np.zeros(6)), "stress has shape"),
        (_broken("stress", np.full((3, 3), np.nan)), "not finite: stress"),
    ],
)
def test_refuses_what_makes_no_sense(changes: dict[str, object], message: str) -> None:
    """Fails where a broken label could enter a chain or a training set."""
    atoms = rutile_atoms()
    arguments = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array} | changes
    with pytest.raises(ValueError, match=message):
        ConfigurationData(**arguments)

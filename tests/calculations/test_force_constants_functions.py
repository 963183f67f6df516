"""Force constants from labels: what is displaced, and that labels of anything else are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.calculations.force_constants import displaced_supercells, force_constants_from_labels
from aiida_slhmc.data.configuration import ConfigurationData

pytest.importorskip("phonopy")


@pytest.fixture(scope="module")
def inputs(aiida_profile: Any) -> dict[str, Any]:
    structure = orm.StructureData(ase=rutile_atoms())
    return {"structure": structure, "supercell": orm.List([1, 1, 2]), "distance": orm.Float(0.01)}


@pytest.fixture(scope="module")
def labels(inputs: dict[str, Any]) -> dict[str, ConfigurationData]:
    structures = displaced_supercells(**inputs)
    return {name: configuration(node.get_ase(), label_of(node.get_ase())) for name, node in structures.items()}


def test_they_are_the_second_derivatives(inputs: dict[str, Any], labels: dict[str, ConfigurationData]) -> None:
    """Fails where labels are paired with another displacement: compared with differences that use no symmetry."""
    result, node = run_get_node(force_constants_from_labels, **inputs, **labels)
    assert node.is_finished_ok
    assert result.base.attributes.get("n_displacements") == len(labels) < 6
    assert result.base.attributes.get("functional") == "pbe"
    assert "vasp-standin" in result.base.attributes.get("source")
    constants, atoms = result.arrays()["force_constants"], result.get_ase()
    for atom, axis in ((0, 0), (9, 1)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * 0.01
            forces.append(label_of(moved)["forces"])
        expected = -(forces[0] - forces[1]) / 0.02
        np.testing.assert_allclose(constants[:, atom, :, axis], expected, atol=2e-3 * np.abs(expected).max())


def test_wrong_labels_are_refused(inputs: dict[str, Any], labels: dict[str, ConfigurationData]) -> None:
    """Fails where forces of other atoms, functionals or displacements could become force constants."""
    names = sorted(labels)
    first = labels[names[0]].get_ase()
    other = label_of(first, "r2scan") | {"functional": "r2scan"}
    cases = {
        410: {name: labels[name] for name in names[1:]},
        411: labels | {names[0]: configuration(first, unlabelled_reason="failed")},
        412: labels | {names[0]: configuration(first, other)},
        413: labels | {names[0]: labels[names[1]], names[1]: labels[names[0]]},
    }
    for status, wrong in cases.items():
        _, node = run_get_node(force_constants_from_labels, **inputs, **wrong)
        assert node.exit_status == status, node.exit_message

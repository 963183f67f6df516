"""The part of the label policy that all engines share: one test per line."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from fixtures import rutile_atoms

from aiida_slhmc.targets.label_policy import check_numbers, check_recovery, check_same_structure

FORCES, STRESS = np.zeros((2, 3)), np.zeros((3, 3))


@pytest.mark.parametrize(
    ("energy", "forces", "stress", "message"),
    [
        (-1.0, FORCES, STRESS, None),
        (None, FORCES, STRESS, "free energy missing"),
        (-1.0, None, None, "forces, stress missing"),
        (-1.0, FORCES[:1], STRESS, "wrong shape"),
        (-1.0, FORCES, np.zeros(6), "wrong shape"),
        ([-1.0], FORCES, STRESS, "wrong shape"),
        (np.nan, FORCES, STRESS, "not finite"),
        (-1.0, FORCES + np.inf, STRESS, "not finite"),
        (-1.0, FORCES, STRESS * np.nan, "not finite"),
    ],
)
def test_energy_forces_and_stress_are_there_and_finite(energy, forces, stress, message) -> None:
    """Fails where a broken output passes, or the good one, the first, does not."""
    found = check_numbers(energy, forces, stress, 2)
    assert found is None if message is None else message in found


def test_recovery_may_change_what_is_allowed_only() -> None:
    """Fails where one forbidden setting among allowed ones is missed."""
    assert check_recovery(["algo", "NELM"], ["ALGO", "nelm"]) is None
    assert "encut" in check_recovery(["algo", "encut"], ["ALGO", "nelm"])


@pytest.mark.parametrize("what", ["nothing", "positions", "cell", "species", "number"])
def test_label_belongs_to_its_own_structure(aiida_profile, what: str) -> None:
    """Fails where the output of another structure becomes a label; the first is the same one."""
    atoms, other = rutile_atoms(seed=1), rutile_atoms(seed=1)
    if what == "positions":
        other.positions[3, 1] += 1e-5
    elif what == "cell":
        other.set_cell(other.cell.array + 1e-5)
    elif what == "species":
        other.numbers[[0, 5]] = other.numbers[[5, 0]]
    elif what == "number":
        del other[-1]
    found = check_same_structure(orm.StructureData(ase=atoms), orm.StructureData(ase=other), 1e-6)
    assert (found is None) == (what == "nothing")
    assert what in ("nothing", "number") or what in found

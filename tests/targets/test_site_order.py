"""The order of sites that VASP gets, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from interleaved import MIXED, triclinic

from aiida_slhmc.targets.site_order import check_order, group_sites, is_grouped, original_order, site_order


@pytest.fixture
def mixed(aiida_profile) -> orm.StructureData:
    return orm.StructureData(ase=triclinic(MIXED))


@pytest.mark.parametrize(
    ("symbols", "order"),
    [
        ("Ti2O4", [0, 1, 2, 3, 4, 5]),
        ("O4Ti2", [0, 1, 2, 3, 4, 5]),
        ("O", [0]),
        ("TiOTiO3", [0, 2, 1, 3, 4, 5]),
        ("OTiOTi", [0, 2, 1, 3]),
        ("OTiSrOTiSr", [0, 3, 1, 4, 2, 5]),
    ],
)
def test_order_is_of_first_appearance(aiida_profile, symbols: str, order: list[int]) -> None:
    """Fails where the order is not stable, or what is grouped already is touched."""
    atoms = Atoms(symbols, positions=np.arange(3.0 * len(order)).reshape(-1, 3), cell=np.eye(3) * 50, pbc=True)
    assert site_order(orm.StructureData(ase=atoms)) == order


def of_kinds(names: list[str]) -> orm.StructureData:
    """Sites of kinds such as Ti1, one Å apart."""
    made = orm.StructureData(cell=np.eye(3) * 50)
    for index, name in enumerate(names):
        made.append_atom(symbols=name.rstrip("123"), name=name, position=(float(index), 0.0, 0.0))
    return made


@pytest.mark.parametrize(
    ("kinds", "order"),
    [
        (["Ti1", "Ti2", "O"], [0, 1, 2]),
        (["Ti1", "O", "Ti2"], [0, 1, 2]),  # every kind has one group
        (["Ti1", "O", "Ti2", "Ti1"], [0, 3, 2, 1]),
        (["Ti1", "Ti2", "Ti1"], [0, 2, 1]),
    ],
)
def test_each_kind_becomes_one_group(aiida_profile, kinds: list[str], order: list[int]) -> None:
    structure = of_kinds(kinds)
    assert is_grouped(structure) is (order == sorted(order))
    assert site_order(structure) == order
    grouped = group_sites(structure)
    assert is_grouped(grouped)
    assert [site.kind_name for site in grouped.sites] == [kinds[index] for index in order]
    assert [kind.name for kind in grouped.kinds] == [kind.name for kind in structure.kinds]


def test_grouping_changes_nothing_else(mixed) -> None:
    """Fails where a number, a kind, a tag or pbc is not what it was."""
    mixed.pbc = (True, False, True)
    mixed.base.attributes.set("walker", 3)
    mixed.base.extras.set("note", "not for the copy")
    mixed.store()
    grouped, node = group_sites.run_get_node(mixed)
    assert node.inputs.structure.uuid == mixed.uuid
    assert str(grouped.get_ase().symbols) == "O4Ti2"
    before, after = mixed.base.attributes.all, grouped.base.attributes.all
    sites = before.pop("sites")
    assert after.pop("sites") == [sites[index] for index in site_order(mixed)]
    assert after == before
    assert "note" not in grouped.base.extras.all


def test_original_order_undoes_site_order() -> None:
    order = [3, 0, 2, 1]
    values = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(original_order(values[order], order), values)


def test_the_right_structure_passes(mixed, structure) -> None:
    """The control of the test below."""
    assert check_order(mixed, group_sites(mixed)) is None
    assert check_order(structure, structure) is None


def moved(shift: float) -> Callable[[Atoms], Atoms]:
    def change(atoms: Atoms) -> Atoms:
        atoms.positions[2, 1] += shift
        return atoms

    return change


def strained(atoms: Atoms) -> Atoms:
    atoms.cell[2, 0] += 1e-9
    return atoms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms[MIXED], "another order"),
        (lambda atoms: atoms[[1, 0, 2, 3, 4, 5]], "positions differ by"),  # the same species, two atoms exchanged
        (lambda atoms: atoms[:5], "5 sites instead of 6"),
        (lambda atoms: Atoms("Sr4Ti2", positions=atoms.positions, cell=atoms.cell, pbc=True), "species"),
        (moved(1e-9), "positions differ by"),
        (strained, "cell differ by 1e-09"),
        (moved(1e-11), None),
    ],
)
def test_other_structures_are_refused(mixed, change: Callable[[Atoms], Any], message: str | None) -> None:
    """Fails where forces of another order or another configuration would be taken for the original's."""
    calculated = orm.StructureData(ase=change(group_sites(mixed).get_ase()))
    found = check_order(mixed, calculated)
    assert (found is None) if message is None else (message in (found or ""))

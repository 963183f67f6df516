"""INCAR tags by site and by species: lengths, order, DFT+U and magnetic moments by element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from interleaved import MIXED, triclinic

from aiida_slhmc.targets.site_order import grouped, site_order
from aiida_slhmc.targets.vasp import VaspLabelWorkChain
from aiida_slhmc.targets.vasp_sites import check_lengths, hubbard_tags, in_vasp_order, magnetic_tags, tags_per_site


@pytest.fixture
def mixed(aiida_profile) -> orm.StructureData:
    """O Ti O O Ti O."""
    return orm.StructureData(ase=triclinic(MIXED))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"magmom": [0.0] * 6, "ldauu": [0, 3], "ldaul": "-1 2"}, None),
        ({"magmom": "4*0 2*1"}, None),
        ({"magmom": [0.0] * 18, "lsorbit": True}, None),
        ({"m_constr": [0.0] * 18}, None),
        ({"magmom": [0.0] * 5}, "MAGMOM has 5 values instead of 6"),
        ({"magmom": "4*0 1"}, "MAGMOM has 5 values instead of 6"),
        ({"magmom": [0.0] * 6, "lsorbit": True}, "MAGMOM has 6 values instead of 18"),
        ({"m_constr": [0.0] * 7}, "M_CONSTR has 7 values instead of 6 or 18"),
        ({"ldauu": [3]}, "LDAUU has 1 values instead of 2"),
        ({"ldauj": [0, 0, 0, 0, 0, 0]}, "LDAUJ has 6 values instead of 2"),
    ],
)
def test_lengths(mixed, tags: dict[str, Any], message: str | None) -> None:
    """Fails where VASP would take a value for another site or species, or stop."""
    found = check_lengths(tags, mixed)
    assert (found is None) if message is None else (message in (found or ""))


def test_values_follow_their_sites() -> None:
    """Fails where a moment, or one component of it, goes to another site."""
    order = [2, 0, 1]
    assert in_vasp_order({"MAGMOM": [10, 20, 30], "encut": 500}, order) == {"magmom": [30, 10, 20], "encut": 500}
    vectors = [11, 12, 13, 21, 22, 23, 31, 32, 33]
    assert in_vasp_order({"magmom": vectors}, order)["magmom"] == [31, 32, 33, 11, 12, 13, 21, 22, 23]
    assert in_vasp_order({"magmom": "1 2*3"}, order)["magmom"] == [3, 1, 3]
    assert in_vasp_order({"magmom": "1 2*3"}, [0, 1, 2]) == {"magmom": "1 2*3"}
    with pytest.raises(ValueError, match="4 values for 3 sites"):
        in_vasp_order({"magmom": [1, 2, 3, 4]}, order)


@pytest.mark.parametrize(("symbols", "first"), [("Ti2O4", "Ti"), ("O4Ti2", "O"), ("OTiOOTiO", "O"), ("TiOTiOOO", "Ti")])
def test_hubbard_u_has_the_order_of_poscar(aiida_profile, symbols: str, first: str) -> None:
    """Fails where titanium's U is given to oxygen; for interleaved sites the order is that of the grouped ones."""
    atoms = Atoms(symbols, positions=[[0.0, 0.0, 2.0 * k] for k in range(6)], cell=[12, 12, 12], pbc=True)
    structure = orm.StructureData(ase=atoms)
    tags = hubbard_tags(structure, {"Ti": ["d", 3.0]})
    titanium = 0 if first == "Ti" else 1
    assert tags["ldau"] is True
    assert tags["ldautype"] == 2
    assert [tags["ldauu"][titanium], tags["ldaul"][titanium]] == [3.0, 2]
    assert [tags["ldauu"][1 - titanium], tags["ldaul"][1 - titanium]] == [0.0, -1]
    assert check_lengths(tags, structure) is None


def test_magnetic_moments_have_the_order_of_the_sites(mixed) -> None:
    """Fails where titanium's moment is given to oxygen, before or after the sites are grouped."""
    tags = magnetic_tags(mixed, {"Ti": 1.5})
    assert tags == {"ispin": 2, "magmom": [0.0, 1.5, 0.0, 0.0, 1.5, 0.0]}
    assert tags_per_site(tags) == ["magmom"]
    ordered = in_vasp_order(tags, site_order(mixed))["magmom"]
    assert [site.kind_name for site in grouped(mixed).sites] == ["O"] * 4 + ["Ti"] * 2
    assert ordered == [0.0] * 4 + [1.5] * 2


@pytest.mark.parametrize(
    ("make", "option", "message"),
    [
        (hubbard_tags, {"V": ["d", 3.0]}, "V is not in the structure"),
        (hubbard_tags, {"Ti": 3.0}, "Ti needs an orbital"),
        (hubbard_tags, {"Ti": ["s", 3.0]}, "Ti needs an orbital"),
        (hubbard_tags, {"Ti": ["d", "three"]}, "of the wrong kind"),
        (hubbard_tags, ["Ti"], "for each element"),
        (magnetic_tags, {"V": 1.0}, "V is not in the structure"),
        (magnetic_tags, {"Ti": "up"}, "of the wrong kind"),
        (magnetic_tags, 1.0, "for each element"),
    ],
)
def test_wrong_options_are_told(mixed, make: Any, option: Any, message: str) -> None:
    """Fails where a wrong option passes, or ends in an error that does not say what is wrong."""
    with pytest.raises(ValueError, match=message):
        make(mixed, option)


def test_files_of_interleaved_sites(inputs_of, mixed) -> None:
    """Fails where U or moments in the INCAR that is written do not stand at their element's place in the POSCAR.

    The stand-in refuses DFT+U, so there is no label; what VASP would have read is what counts here.
    """
    inputs = inputs_of(options={"hubbard_u": {"Ti": ["d", 3.0]}, "magnetic_moments": {"Ti": 1.5}}, structure=mixed)
    _, node = run_get_node(VaspLabelWorkChain, **inputs)
    assert "LDAU" in node.called[-1].outputs.retrieved.get_object_content("vasp_output")
    folder = Path(node.called[-1].outputs.remote_folder.get_remote_path())
    incar = dict(line.split(" = ") for line in (folder / "INCAR").read_text().splitlines() if " = " in line)
    assert (folder / "POSCAR").read_text().splitlines()[5].split() == ["O", "Ti"]
    assert [float(word) for word in incar["LDAUU"].split()] == [0.0, 3.0]
    assert [float(word) for word in incar["MAGMOM"].split()] == [0.0] * 4 + [1.5] * 2

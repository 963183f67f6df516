"""Reading a label off VASP's output, and a recovery's INCAR, as calculation functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase.units import GPa
from fixtures import label_of
from interleaved import MIXED

from aiida_slhmc.standin import STANDIN_VERSION
from aiida_slhmc.targets import vasp_label
from aiida_slhmc.targets.label_work_chain import NOT_A_LABEL, OTHER_STRUCTURE
from aiida_slhmc.targets.site_order import group_sites, site_order
from aiida_slhmc.targets.vasp_label import change_electronic_settings, read_vasp_label

STATUS = {"finished": True, "electronic_converged": True, "nelm": 60, "last_iteration_index": [1, 14]}


def misc_of(structure: orm.StructureData, version: str) -> dict[str, Any]:
    """What aiida-vasp would parse, with three different energies and the stress in kB and VASP's sign."""
    label = label_of(structure.get_ase())
    return {
        "version": version,
        "run_status": STATUS,
        "total_energies": {
            "energy_free": label["energy"],
            "energy_extrapolated": label["energy"] + 0.1,
            "energy_no_entropy": label["energy"] + 0.2,
        },
        "forces": label["forces"].tolist(),
        "stress": (-label["stress"] / GPa * 10).tolist(),
    }


def read(
    structure: orm.StructureData,
    misc: dict[str, Any],
    tags: dict[str, Any] | None = None,
    calculated: orm.StructureData | None = None,
    used: dict[str, Any] | None = None,
    recovery: dict[str, Any] | None = None,
) -> Any:
    asked = {"gga": "PE"} if tags is None else tags
    return read_vasp_label.run_get_node(
        structure=structure,
        calculated=calculated or structure,
        asked=orm.Dict(asked),
        used=orm.Dict(asked if used is None else used),
        recovery=orm.Dict(recovery or {}),
        misc=orm.Dict(misc),
    )


def test_label(structure) -> None:
    """Fails where the energy is not the free energy, or the stress has VASP's sign or unit."""
    label, node = read(structure, misc_of(structure, STANDIN_VERSION))
    assert node.is_finished_ok
    expected = label_of(structure.get_ase())
    assert label.energy == pytest.approx(expected["energy"], abs=1e-9)
    np.testing.assert_allclose(label.arrays()["forces"], expected["forces"], atol=1e-9)
    np.testing.assert_allclose(label.arrays()["stress"], expected["stress"], atol=1e-9)
    assert np.abs(expected["stress"]).max() > 1e-3, "or the sign would not be tested"
    np.testing.assert_array_equal(label.arrays()["positions"], structure.get_ase().positions)
    attributes = {key: label.base.attributes.get(key) for key in ("functional", "engine", "stand_in")}
    assert attributes == {"functional": "pbe", "engine": "vasp-standin", "stand_in": True}


@pytest.mark.parametrize("undone", [True, False])
def test_label_in_the_original_order(structure, monkeypatch, undone: bool) -> None:
    """Fails where forces go to other atoms than VASP computed them for, or the tags are lost.

    Negative control: where the permutation is not undone, the forces are far off.
    """
    if not undone:
        monkeypatch.setattr(vasp_label, "original_order", lambda values, _: values)
    mixed = orm.StructureData(ase=structure.get_ase()[MIXED])
    tags = {"epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"}
    mixed.base.attributes.set_many(tags)
    grouped = group_sites(mixed)
    label, node = read(mixed, misc_of(grouped, STANDIN_VERSION), calculated=grouped)
    assert node.is_finished_ok, node.exit_message
    expected = label_of(mixed.get_ase())
    worst = np.abs(label.arrays()["forces"] - expected["forces"]).max()
    assert worst < 1e-9 if undone else worst > 0.1
    np.testing.assert_allclose(label.arrays()["stress"], expected["stress"], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(label.arrays()["positions"], mixed.get_ase().positions)
    np.testing.assert_array_equal(label.arrays()["numbers"], mixed.get_ase().numbers)
    assert {key: label.base.attributes.get(key) for key in tags} == tags


def test_output_of_another_structure(structure) -> None:
    """Fails where forces in another order, or of other positions, become a label."""
    mixed = orm.StructureData(ase=structure.get_ase()[MIXED])
    _, node = read(mixed, misc_of(mixed, STANDIN_VERSION), calculated=mixed)
    assert node.exit_status == OTHER_STRUCTURE
    assert "another order" in node.exit_message


def test_label_of_vasp_itself(structure) -> None:
    """Fails where labels of VASP would be marked as the stand-in's."""
    label, _ = read(structure, misc_of(structure, "6.4.3"), {"metagga": "R2SCAN"})
    attributes = {key: label.base.attributes.get(key) for key in ("functional", "engine", "stand_in")}
    assert attributes == {"functional": "r2scan", "engine": "vasp", "stand_in": False}


def test_not_a_label(structure) -> None:
    """Fails where an output with NELM reached becomes a label."""
    misc = misc_of(structure, "6.4.3")
    misc["run_status"] = STATUS | {"last_iteration_index": [1, 60]}
    _, node = read(structure, misc)
    assert node.exit_status == NOT_A_LABEL
    assert "NELM reached" in node.exit_message


def test_recovery_is_on_the_label(structure) -> None:
    """Fails where a recovery is not recorded, or a start from the last label counts as one."""
    misc, asked = misc_of(structure, "6.4.3"), {"gga": "PE", "algo": "Fast", "nelm": 60}
    label, _ = read(structure, misc, asked)
    assert label.base.attributes.get("recovery") == {}
    assert label.base.attributes.get("scf_iterations") == 14
    label, _ = read(structure, misc, asked, used=asked | {"icharg": 1})
    assert label.base.attributes.get("recovery") == {}
    used, start = asked | {"algo": "All", "amix": 0.1}, {"starting_density": "atomic", "algo": "ignored"}
    label, _ = read(structure, misc, asked, used=used, recovery=start)
    expected = {"algo": "All", "amix": 0.1, "starting_density": "atomic"}
    assert label.base.attributes.get("recovery") == expected


@pytest.mark.parametrize(
    "change",
    [{"encut": 400}, {"sigma": 0.1}, {"lreal": "Auto"}, {"kspacing": 0.3}, {"gga": None}, {"magmom": [1.0] * 6}],
)
def test_label_with_other_settings_than_asked_for(structure, change: dict[str, Any]) -> None:
    """Fails where the output of another energy surface, however it was made, becomes a label."""
    asked = {"gga": "PE", "encut": 520, "sigma": 0.05}
    _, node = read(structure, misc_of(structure, "6.4.3"), asked, used=asked | change)
    assert node.exit_status == NOT_A_LABEL
    assert next(iter(change)).upper() in node.exit_message
    assert "another energy surface" in node.exit_message


def test_moments_of_the_grouped_sites_are_no_change(structure) -> None:
    """Fails where MAGMOM in VASP's order counts as a change, or moments of other sites do not."""
    mixed = orm.StructureData(ase=structure.get_ase()[MIXED])
    grouped, order = group_sites(mixed), site_order(mixed)
    asked = {"gga": "PE", "magmom": [0, 1, 2, 3, 4, 5]}
    misc = misc_of(grouped, STANDIN_VERSION)
    _, node = read(mixed, misc, asked, calculated=grouped, used=asked | {"magmom": order})
    assert node.is_finished_ok, node.exit_message
    _, node = read(mixed, misc, asked, calculated=grouped, used=asked)
    assert node.exit_status == NOT_A_LABEL


def test_change_of_electronic_settings() -> None:
    changed, node = change_electronic_settings.run_get_node(
        parameters=orm.Dict({"encut": 520, "algo": "Fast"}), changes=orm.Dict({"algo": "All", "nelm": 300})
    )
    assert node.is_finished_ok
    assert changed.get_dict() == {"encut": 520, "algo": "All", "nelm": 300}


@pytest.mark.parametrize("tag", ["encut", "ENCUT", "prec", "ismear", "sigma", "lreal", "ediff", "gga"])
def test_change_of_the_energy_surface_is_refused(tag: str) -> None:
    """Fails where a recovery could spoil the chain with labels of another surface."""
    _, node = change_electronic_settings.run_get_node(
        parameters=orm.Dict({"encut": 520}), changes=orm.Dict({"algo": "All", tag: 1})
    )
    assert node.exit_status == NOT_A_LABEL
    assert tag.upper() in node.exit_message

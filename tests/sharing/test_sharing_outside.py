"""Frames in and out as extended XYZ: numbers, units and declarations, and what is refused before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.units import Bohr, GPa, Hartree, kcal, mol
from fixtures import label_of, rutile_atoms
from shared_labels import HOST, vasp_run

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.sharing.collect import create_data_set
from aiida_slhmc.sharing.describe import origins
from aiida_slhmc.sharing.frames import UNITS, export_frames
from aiida_slhmc.sharing.outside import ROLE, declare, import_frames
from aiida_slhmc.sharing.sanitise import SharingError
from aiida_slhmc.sharing.units import parse_unit, read_units
from aiida_slhmc.sharing.verify import verify

pytestmark = pytest.mark.usefixtures("aiida_profile")

DECLARED = declare(functional="pbe", units="eV/Angstrom")


def frame(seed: int, energy: float = 1.0, force: float = 1.0, stress: float = 1.0):
    """Six atoms with their label in other units: the factors are what eV, eV/Å and eV/Å³ are in them."""
    atoms = rutile_atoms(seed=seed)
    label = label_of(atoms)
    atoms.calc = SinglePointCalculator(
        atoms, energy=label["energy"] * energy, forces=label["forces"] * force, stress=label["stress"] * stress
    )
    return atoms


@pytest.fixture
def written(tmp_path) -> Callable[..., Path]:
    """Function: a file of these frames."""

    def make(*frames, name: str = "frames.extxyz") -> Path:
        write(tmp_path / name, list(frames), format="extxyz")
        return tmp_path / name

    return make


def test_frames_become_labels(written) -> None:
    """Fails where a number, the mark or the file gets lost."""
    data_set = import_frames(written(frame(1), frame(2)), "outside", DECLARED)
    assert len(data_set.labels) == 2
    for seed, label in zip((1, 2), data_set.labels, strict=True):
        expected, arrays = label_of(rutile_atoms(seed=seed)), label.arrays()
        assert label.energy == pytest.approx(expected["energy"], abs=1e-7)
        np.testing.assert_allclose(arrays["forces"], expected["forces"], atol=2e-8)
        np.testing.assert_allclose(arrays["stress"], expected["stress"], atol=2e-8)
        assert label.base.attributes.get("role") == ROLE
        assert label.base.attributes.get("engine") == "unknown"
    assert data_set.block.is_without_provenance
    assert data_set.block.settings is None
    assert origins(data_set) == ["the file frames.extxyz, WITHOUT PROVENANCE: 2"]
    result = verify(data_set)
    assert result.problems == []
    assert not result.is_good
    assert dict(result.unchecked) == {"frames from a file, without provenance": 2}
    (maker,) = {label.creator.uuid for label in data_set.labels}
    assert orm.load_node(maker).inputs.file.filename == "frames.extxyz"


@pytest.mark.parametrize(
    ("units", "stress_units", "energy", "length", "pressure"),
    [
        ("Ha/Bohr", None, Hartree, Bohr, Hartree / Bohr**3),
        ("kcal/mol/Angstrom", "GPa", kcal / mol, 1.0, GPa),
        ("eV/Angstrom", "eV/Angstrom^3", 1.0, 1.0, 1.0),
    ],
)
def test_units(written, units, stress_units, energy, length, pressure) -> None:
    """Fails where a declared unit is not what the numbers are multiplied by."""
    path = written(frame(1, 1 / energy, length / energy, 1 / pressure))
    declared = declare(functional="pbe", units=units, stress_units=stress_units)
    (label,) = import_frames(path, f"units-{units.replace('/', '-')}", declared).labels
    expected, arrays = label_of(rutile_atoms(seed=1)), label.arrays()
    assert label.energy == pytest.approx(expected["energy"], rel=1e-9)
    np.testing.assert_allclose(arrays["forces"], expected["forces"], atol=1e-6)
    np.testing.assert_allclose(arrays["stress"], expected["stress"], atol=1e-6)


def test_names_of_units() -> None:
    assert parse_unit("eV/Angstrom^3") == pytest.approx(1.0)
    assert parse_unit("Ry*Bohr**2") == pytest.approx(Hartree / 2 * Bohr**2)
    assert read_units("hartree/a0").force == pytest.approx(Hartree / Bohr)
    for wrong in ("eV", "quatloos/Angstrom", "eV/", "1/2", "read_units/Ang"):
        with pytest.raises(ValueError, match=r"units are|no unit"):
            read_units(wrong)


def test_other_keys(written) -> None:
    """Fails where labels under names of one's own, such as MACE's, are not found."""
    atoms = rutile_atoms(seed=3)
    label = label_of(atoms)
    atoms.info |= {"REF_energy": label["energy"]}
    atoms.arrays["REF_forces"] = label["forces"]
    path = written(atoms)
    keys = {"energy": "REF_energy", "forces": "REF_forces"}
    (found,) = import_frames(path, "keys", declare(functional="pbe", units="eV/Angstrom", keys=keys)).labels
    assert found.energy == pytest.approx(label["energy"])
    assert "stress" not in found.arrays()
    with pytest.raises(ValueError, match="frame 0 has no energy and no forces"):
        import_frames(path, "no-keys", DECLARED)


def not_finite():
    atoms = frame(2)
    atoms.calc.results["forces"][1, 2] = np.nan
    return atoms


def not_periodic():
    atoms = frame(2)
    atoms.pbc = [True, True, False]
    return atoms


def overlapping():
    atoms = frame(2)
    atoms.positions[1] = atoms.positions[0] + atoms.cell[0] + 0.1
    return atoms


def of_another_functional():
    atoms = frame(2)
    atoms.info["functional"] = "hse06"
    return atoms


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (not_finite, "frame 1: not finite: forces"),
        (not_periodic, "frame 1 is not periodic"),
        (overlapping, r"frame 1: two atoms are 0\.17.* Å apart"),
        (of_another_functional, "frame 1 says that its functional is hse06, not pbe"),
        (lambda: frame(2, energy=27.2), "differ by .* eV per atom"),
        (lambda: frame(2, force=3e3), "frame 1: a force of .* are the units right"),
        (lambda: frame(2, stress=1e5), "frame 1: a stress of .* are the units right"),
        (lambda: rutile_atoms(seed=2), "frame 1 has no energy and no forces"),
    ],
)
def test_what_is_refused(written, second, message) -> None:
    """Fails where such frames are stored, or the message does not name the frame and the reason."""
    before = orm.QueryBuilder().append(orm.Node).count()
    with pytest.raises(ValueError, match=message):
        import_frames(written(frame(1), second()), "refused-frames", DECLARED)
    assert orm.QueryBuilder().append(orm.Node).count() == before


def test_forces_that_were_not_computed(written) -> None:
    with pytest.raises(ValueError, match="all forces of all frames are zero"):
        import_frames(written(frame(1, force=0.0), frame(2, force=0.0)), "zero", DECLARED)


def test_no_frames(tmp_path) -> None:
    path = tmp_path / "broken.extxyz"
    for content in (b"", b"three\natoms\n", b"2\n\nTi 0 0 0\n", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"extended XYZ|no frame"):
            import_frames(path, "broken-file", DECLARED)


def test_export_and_import_again(family, tmp_path) -> None:
    """Fails where the header lacks what another program or a colleague needs, or the numbers change on the way."""
    data_set = create_data_set("exported", [vasp_run([71, 72])])
    path = tmp_path / "labels.extxyz"
    export_frames(data_set, path, [HOST])
    frames = read(path, index=":")
    for atoms, label in zip(frames, data_set.labels, strict=True):
        assert atoms.info["uuid"] == label.uuid
        assert atoms.info["settings"] == data_set.block.settings
        assert atoms.info["settings"]["parameters"]["encut"] == 520
        assert atoms.info["units"] == UNITS
        about = {key: atoms.info[key] for key in ("functional", "engine", "stand_in", "without_provenance")}
        assert about == {"functional": "pbe", "engine": "vasp-standin", "stand_in": True, "without_provenance": False}
        assert atoms.get_potential_energy() == pytest.approx(label.energy, abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), label.arrays()["forces"], atol=1e-8)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), label.arrays()["stress"], atol=1e-9)
    again = import_frames(path, "again", DECLARED)
    assert again.block.settings == data_set.block.settings
    assert again.block.base.attributes.get("stand_in") is True
    assert again.block.base.attributes.get("engine") == "vasp-standin"


def test_frames_with_something_private(family, tmp_path) -> None:
    """Fails where a setting with a private word leaves; no file is left."""
    data_set = create_data_set("private-tag", [vasp_run([73], incar={"system": f"run of {HOST}"})])
    with pytest.raises(SharingError, match=HOST):
        export_frames(data_set, tmp_path / "labels.extxyz", [HOST])
    assert list(tmp_path.iterdir()) == []


def test_labels_of_a_file_are_stored_once(written) -> None:
    """Fails where an import leaves configurations that are in no data set."""
    before = orm.QueryBuilder().append(ConfigurationData).count()
    import_frames(written(frame(1), frame(2)), "once", DECLARED)
    assert orm.QueryBuilder().append(ConfigurationData).count() == before + 2

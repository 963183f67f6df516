from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from aiida_slhmc.standin.functional import choose_variant
from aiida_slhmc.standin.inputs import Incar, InputError, read_inputs, read_poscar


def test_incar_syntax(tmp_path) -> None:
    text = "system = a # b = c\nencut=500; ISMEAR = 0 ! SIGMA = 3\nMAGMOM = 1 \\\n 2\n"
    text += "LWAVE = .F.\nEDIFF = 1D-6\nENCUT = 2\n"
    (tmp_path / "INCAR").write_text(text)
    incar = Incar.read(tmp_path / "INCAR")
    assert incar["ENCUT"] == "500"  # the first mention counts
    assert incar["SYSTEM"] == "a"
    assert incar["MAGMOM"].split() == ["1", "2"]
    assert "SIGMA" not in incar
    assert incar.number("EDIFF", 0.0) == 1e-6
    assert incar.flag("LWAVE", True) is False
    for read in (
        lambda: incar.integer("SYSTEM", 0),
        lambda: incar.number("SYSTEM", 0),
        lambda: incar.flag("ENCUT", True),
    ):
        with pytest.raises(InputError, match="is not"):
            read()


@pytest.mark.parametrize("direct", [True, False])
def test_poscar_of_ase(tmp_path, rutile: Atoms, direct: bool) -> None:
    write(tmp_path / "POSCAR", rutile, format="vasp", direct=direct)
    atoms, groups = read_poscar(tmp_path / "POSCAR")
    assert groups == (("Ti", 2), ("O", 4))
    np.testing.assert_allclose(atoms.positions, rutile.positions, atol=1e-12)


def test_poscar_scale_volume_selective_dynamics_and_kinds(tmp_path) -> None:
    text = "c\n-27.0\n2 0 0\n0 2 0\n0 0 2\nTi1 Ti_pv O\n1 1 1\n"
    text += "Selective\nDirect\n0 0 0 T T F\n.5 0 0 T T T\n0 .5 0 F F F\n"
    (tmp_path / "POSCAR").write_text(text)
    atoms, groups = read_poscar(tmp_path / "POSCAR")
    assert groups == (("Ti", 1), ("Ti", 1), ("O", 1))
    assert atoms.get_volume() == pytest.approx(27.0)
    np.testing.assert_allclose(atoms.positions, [[0, 0, 0], [1.5, 0, 0], [0, 1.5, 0]])


@pytest.mark.parametrize("name", ["INCAR", "POSCAR", "POTCAR", "KPOINTS"])
def test_missing_file(run, rutile: Atoms, name: str) -> None:
    run.write_inputs(rutile)
    (run.folder / name).unlink()
    with pytest.raises(InputError, match=f"no {name} found"):
        read_inputs(run.folder)


def test_kspacing_replaces_kpoints(run, rutile: Atoms) -> None:
    run.write_inputs(rutile, KSPACING=0.3)
    (run.folder / "KPOINTS").unlink()
    assert len(read_inputs(run.folder).atoms) == 6


@pytest.mark.parametrize(
    "text",
    [
        "mesh\n0\nGamma\n2 0 2\n",
        "mesh\n0\nGamma\n2 2\n",
        "mesh\n",
        "list\n2\nReciprocal\n0 0 0 1\n",
        "line\n-1\nLine\n",
    ],
)
def test_bad_kpoints(run, rutile: Atoms, text: str) -> None:
    run.write_inputs(rutile)
    (run.folder / "KPOINTS").write_text(text)
    with pytest.raises(InputError, match="KPOINTS cannot be read"):
        read_inputs(run.folder)


@pytest.mark.parametrize(
    "text", ["list\n2\nReciprocal\n0 0 0 1\n.5 0 0 1\n", "auto\n0\nAuto\n20\n", "m\n0\nMonkhorst\n2 2 3\n"]
)
def test_good_kpoints(run, rutile: Atoms, text: str) -> None:
    run.write_inputs(rutile)
    (run.folder / "KPOINTS").write_text(text)
    assert len(read_inputs(run.folder).atoms) == 6


def test_poscar_with_too_few_coordinates(run, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    (run.folder / "POSCAR").write_text("".join(run.text("POSCAR").splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match="POSCAR cannot be read"):
        read_inputs(run.folder)


def test_wrong_order_in_potcar_is_refused_by_the_program(run, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    titanium, oxygen = run.text("POTCAR").split("End of Dataset\n")[:2]
    (run.folder / "POTCAR").write_text(oxygen + "End of Dataset\n" + titanium + "End of Dataset\n")
    done = run.program()
    assert done.returncode == 1
    assert "POTCAR holds O Ti where POSCAR has Ti O" in done.stdout
    assert "I REFUSE TO CONTINUE" in done.stdout
    assert done.stderr == ""
    assert not (run.folder / "vasprun.xml").exists()


def test_strange_element_is_refused(run, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    for name in ("POSCAR", "POTCAR"):
        (run.folder / name).write_text(run.text(name).replace("Ti", "Zr"))
    done = run.program()
    assert done.returncode == 1
    assert "not Zr" in done.stdout


@pytest.mark.parametrize(
    ("tags", "variant"),
    [
        ({}, "pbe"),
        ({"GGA": "PE", "ISPIN": 2}, "pbe"),
        ({"METAGGA": "r2scan"}, "r2scan"),
        ({"METAGGA": "R2SCAN", "GGA": "PS"}, "r2scan"),
        ({"LHFCALC": "T", "HFSCREEN": 0.2}, "hse06"),
        ({"LHFCALC": ".FALSE.", "HFSCREEN": 0.2}, "pbe"),
    ],
)
def test_variant(run, rutile: Atoms, tags: dict[str, object], variant: str) -> None:
    run.write_inputs(rutile, **tags)
    inputs = read_inputs(run.folder)
    assert choose_variant(inputs) == variant


@pytest.mark.parametrize(
    "tags",
    [
        {"METAGGA": "SCAN"},
        {"GGA": "PS"},
        {"LHFCALC": "T"},  # PBE0
        {"LHFCALC": "T", "HFSCREEN": 0.3},
        {"LHFCALC": "T", "HFSCREEN": 0.2, "AEXX": 0.3},
        {"LHFCALC": "T", "HFSCREEN": 0.2, "METAGGA": "R2SCAN"},
        {"LHFCALC": "T", "HFSCREEN": 0.2, "GGA": "PS"},
        {"IVDW": 11},
        {"LDAU": "T"},
        {"NSW": 5},
        {"ICHARG": 11},
    ],
)
def test_other_functionals_and_tasks_are_refused(run, rutile: Atoms, tags: dict[str, object]) -> None:
    run.write_inputs(rutile, **tags)
    inputs = read_inputs(run.folder)
    with pytest.raises(InputError, match="stand-in"):
        choose_variant(inputs)


def test_functional_of_the_data_sets_counts(run, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    potcar = run.text("POTCAR")
    (run.folder / "POTCAR").write_text(potcar.replace("LEXCH  = PE", "LEXCH  = CA"))
    with pytest.raises(InputError, match="GGA = CA"):
        choose_variant(read_inputs(run.folder))
    (run.folder / "POTCAR").write_text(potcar.replace("LEXCH  = PE", "LEXCH  = CA", 1))
    with pytest.raises(InputError, match="mixes LEXCH CA and PE"):
        choose_variant(read_inputs(run.folder))

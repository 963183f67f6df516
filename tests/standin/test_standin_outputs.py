from __future__ import annotations

import re

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from aiida_slhmc.standin import STANDIN_VERSION
from aiida_slhmc.standin.potential import VARIANTS, evaluate

KB = 1602.176634  # kB per eV/Å³


def test_files_hold_what_the_potential_gives(run, rutile: Atoms) -> None:
    run.compute(rutile)
    expected = evaluate(rutile, VARIANTS["pbe"])
    assert run.energy("e_fr_energy") == pytest.approx(expected.energy, abs=1e-11)
    np.testing.assert_allclose(run.array("forces"), expected.forces, rtol=0, atol=1e-11)
    np.testing.assert_allclose(run.array("stress"), -expected.stress * KB, rtol=0, atol=1e-8)
    assert np.abs(expected.forces).max() > 0.1
    assert np.abs(expected.stress * KB).min() > 1  # no component passes for being zero


def test_free_energy_generates_forces(run, rutile: Atoms) -> None:
    run.compute(rutile)
    forces = run.array("forces")
    for atom, axis in ((0, 0), (3, 2)):
        energies = []
        for step in (1e-3, -1e-3):
            moved = rutile.copy()
            moved.positions[atom, axis] += step
            run.compute(moved)
            energies.append(run.energy("e_fr_energy"))
        assert -(energies[0] - energies[1]) / 2e-3 == pytest.approx(forces[atom, axis], abs=2e-4)


@pytest.mark.parametrize("pstress", [0.0, 100.0])
def test_free_energy_generates_stress(run, rutile: Atoms, pstress: float) -> None:
    run.compute(rutile, PSTRESS=pstress)
    stress = run.array("stress")
    for i, j in ((1, 1), (0, 2)):
        energies = []
        for step in (1e-3, -1e-3):
            strain = np.eye(3)
            strain[i, j] += step / 2
            strain[j, i] += step / 2
            strained = rutile.copy()
            strained.set_cell(rutile.cell.array @ strain, scale_atoms=True)
            run.compute(strained, PSTRESS=pstress)
            energies.append(run.energy("e_fr_energy"))
        derivative = (energies[0] - energies[1]) / 2e-3 / rutile.get_volume()
        assert stress[i, j] == pytest.approx(-derivative * KB, abs=0.5)


def test_pstress_adds_its_work_to_the_energy(make_run, rutile: Atoms) -> None:
    plain, pressed = make_run("plain"), make_run("pressed")
    plain.compute(rutile)
    pressed.compute(rutile, PSTRESS=100)
    work = 100 / KB * rutile.get_volume()
    for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy"):
        assert pressed.energy(name) - plain.energy(name) == pytest.approx(work, abs=1e-10)
    np.testing.assert_allclose(pressed.array("stress"), plain.array("stress") - 100 * np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    ("tags", "entropy", "extrapolated"),
    [
        ({"ISMEAR": 0, "SIGMA": 0.05}, 0.01, 0.005),
        ({"ISMEAR": 0, "SIGMA": 0.1}, 0.02, 0.01),
        ({"ISMEAR": 1, "SIGMA": 0.05}, 0.01, 0.01 / 3),
        ({"ISMEAR": -5, "SIGMA": 0.05}, 0.0, 0.0),
    ],
)
def test_entropy(run, rutile: Atoms, tags: dict[str, float], entropy: float, extrapolated: float) -> None:
    run.compute(rutile, **tags)
    free = run.energy("e_fr_energy")
    assert run.energy("e_wo_entrp") - free == pytest.approx(6 * entropy, abs=1e-10)
    assert run.energy("e_0_energy") - free == pytest.approx(6 * extrapolated, abs=1e-10)


def test_ase_reads_the_same_from_outcar_and_contcar(run, rutile: Atoms) -> None:
    run.compute(rutile)
    outcar = read(run.folder / "OUTCAR", format="vasp-out")
    assert outcar.get_potential_energy(force_consistent=True) == pytest.approx(run.energy("e_fr_energy"), abs=1e-10)
    np.testing.assert_allclose(outcar.get_forces(), run.array("forces"), atol=1e-10)
    expected = evaluate(rutile, VARIANTS["pbe"])
    np.testing.assert_allclose(outcar.get_stress(voigt=False), expected.stress, atol=1e-9)
    contcar = read(run.folder / "CONTCAR", format="vasp")
    assert contcar.get_chemical_symbols() == rutile.get_chemical_symbols()
    np.testing.assert_allclose(contcar.positions, rutile.positions, atol=1e-12)
    np.testing.assert_allclose(contcar.cell.array, rutile.cell.array, atol=1e-12)


def test_every_output_says_that_it_is_a_standin(run, rutile: Atoms) -> None:
    run.write_inputs(rutile)
    before = {path.name for path in run.folder.iterdir()}
    done = run.program()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith(f" vasp.{STANDIN_VERSION}-standin STAND-IN")
    written = {path.name for path in run.folder.iterdir()} - before
    assert written == {"vasprun.xml", "OUTCAR", "CONTCAR", "OSZICAR", "WAVECAR", "CHGCAR"}
    for name in written - {"OSZICAR"}:  # whose readers expect numbers only
        assert "STAND-IN" in run.text(name)[:600], name
    version = re.search(r'<i name="version" type="string">(.*?)</i>', run.text("vasprun.xml"))
    assert version is not None
    assert version.group(1) == f"{STANDIN_VERSION}-standin"


def test_no_placeholders_where_vasp_would_write_none(run, rutile: Atoms) -> None:
    run.compute(rutile, LWAVE=".FALSE.", LCHARG="F")
    assert not (run.folder / "WAVECAR").exists()
    assert not (run.folder / "CHGCAR").exists()
    assert (run.folder / "CONTCAR").exists()


@pytest.mark.parametrize(
    ("tags", "variant"),
    [
        ({}, "pbe"),
        ({"METAGGA": "R2SCAN"}, "r2scan"),
        ({"LHFCALC": ".TRUE.", "HFSCREEN": 0.2, "ALGO": "Normal"}, "hse06"),
    ],
)
def test_functional_moves_the_energy(run, rutile: Atoms, tags: dict[str, object], variant: str) -> None:
    run.compute(rutile, **tags)
    assert run.energy("e_fr_energy") == pytest.approx(evaluate(rutile, VARIANTS[variant]).energy, abs=1e-11)
    others = [evaluate(rutile, VARIANTS[name]).energy for name in ("pbe", "r2scan", "hse06") if name != variant]
    assert min(abs(run.energy("e_fr_energy") - other) for other in others) > 0.01
    assert f"(variant {variant})" in run.text("vasprun.xml")

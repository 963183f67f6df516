"""Labels by the real pw.x: the right numbers, and restarts from an earlier density."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from ase import Atoms, units
from ase.build import bulk
from numpy.typing import NDArray
from quantum_espresso import (
    PSEUDO_FILES,
    PSEUDO_FOLDER,
    PW,
    SMALL_CUTOFFS,
    Label,
    assert_same_label,
    calculations,
    moved,
    needs_pw,
    silicon,
    small_rutile,
)

pytestmark = [needs_pw, pytest.mark.slow]
FROM_FILES = {"ELECTRONS": {"startingpot": "file", "startingwfc": "file"}}
Array = NDArray[np.float64]

# the same settings as the target's, written by hand
INPUT = """&CONTROL
  calculation = 'scf', tprnfor = .true., tstress = .true., outdir = './out', pseudo_dir = '{folder}'
/
&SYSTEM
  ibrav = 0, nat = 6, ntyp = 2, nosym = .true., input_dft = 'pbe'
  ecutwfc = 30, ecutrho = 160, ecfixed = 25, qcutz = 80, q2sigma = 4
/
&ELECTRONS
  conv_thr = 1e-8, mixing_beta = 0.4
/
ATOMIC_SPECIES
Ti 47.867 {titanium}
O 15.999 {oxygen}
K_POINTS automatic
1 1 2 0 0 1
"""


def run_directly(atoms: Atoms, folder: Path) -> str:
    """What pw.x prints for these atoms, started without AiiDA from an input file of its own."""
    text = INPUT.format(folder=PSEUDO_FOLDER, titanium=PSEUDO_FILES["Ti"], oxygen=PSEUDO_FILES["O"])
    rows = ["CELL_PARAMETERS angstrom", *(" ".join(f"{x:.10f}" for x in row) for row in atoms.cell.array)]
    rows += ["ATOMIC_POSITIONS angstrom"]
    rows += [f"{atom.symbol} " + " ".join(f"{x:.10f}" for x in atom.position) for atom in atoms]
    (folder / "pw.in").write_text(text + "\n".join(rows) + "\n")
    return subprocess.run([str(PW), "-in", "pw.in"], cwd=folder, capture_output=True, text=True, check=True).stdout


def printed(output: str) -> tuple[float, Array, Array]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, positive under tension) as pw.x prints them, in Ry and bohr."""
    energy = float(re.findall(r"^!\s+total energy\s+=\s+(\S+) Ry", output, re.MULTILINE)[-1])
    number = r"\s+(-?\d+\.\d+)"
    forces = re.findall(rf"^\s+atom\s+\d+ type\s+\d+\s+force ={number * 3}$", output, re.MULTILINE)
    table = output.split("total   stress  (Ry/bohr**3)")[1].splitlines()[1:4]
    pressure = np.array([[float(x) for x in row.split()[:3]] for row in table])
    bohr = units.Bohr
    return energy * units.Ry, np.array(forces, dtype=float) * units.Ry / bohr, -pressure * units.Ry / bohr**3


@pytest.fixture(scope="module")
def first(pw_label: Label) -> orm.WorkChainNode:
    """A label of rutile off its sites; its density and orbitals are kept."""
    return pw_label(small_rutile(seed=1), FROM_FILES)


def test_label_is_what_pw_prints(first: orm.WorkChainNode, tmp_path: Path) -> None:
    """Fails where energy, forces or stress have another unit, sign or order than pw.x's own output.

    The printed digits end at 1e-8 Ry, Ry/bohr and Ry/bohr³; both runs converge to 1e-8 Ry, some 0.3 meV/Å of force and
    0.03 GPa of stress. The plugin's Rydberg has a relative error of 1e-7.
    """
    assert first.is_finished_ok, first.exit_message
    made = first.outputs.label
    energy, forces, stress = printed(run_directly(small_rutile(seed=1), tmp_path))
    assert made.energy == pytest.approx(energy, rel=1.1e-7)
    np.testing.assert_allclose(made.arrays()["forces"], forces, rtol=0, atol=1e-3)
    np.testing.assert_allclose(made.arrays()["stress"], stress, rtol=0, atol=0.05 * units.GPa)
    # or the comparison would show nothing
    assert np.abs(forces).max() > 0.5
    assert np.abs(stress).max() > 0.5 * units.GPa
    expected = {"functional": "pbe", "engine": "quantum_espresso", "stand_in": False, "recovery": {}}
    assert {key: made.base.attributes.get(key) for key in expected} == expected
    assert 5 < made.base.attributes.get("scf_iterations") < 30


def test_few_files_are_kept(first: orm.WorkChainNode) -> None:
    """Fails where densities or orbitals are brought home: some 100 MB for each label of a real cell."""
    (job,) = calculations(first)
    repository = job.outputs.retrieved.base.repository
    sizes = {name: len(repository.get_object_content(name, "rb")) for name in repository.list_object_names()}
    assert {"aiida.out", "data-file-schema.xml"} <= set(sizes)
    assert sum(sizes.values()) < 100_000, sizes


def test_restart_after_a_short_move(pw_label: Label, first: orm.WorkChainNode) -> None:
    """Fails where the earlier density is not read, or changes the label.

    For moves as short as this one (0.01 Å) it has to spare iterations.
    """
    atoms = moved(small_rutile(seed=1), seed=2, amplitude=0.01)
    fresh = pw_label(atoms)
    restarted = pw_label(atoms, FROM_FILES, restart_folder=first.outputs.remote_folder)
    assert_same_label(restarted, fresh)
    counts = [node.outputs.label.base.attributes.get("scf_iterations") for node in (restarted, fresh)]
    assert counts[0] < counts[1]
    assert restarted.outputs.label.base.attributes.get("recovery") == {}
    # what the next label may start from is its own folder, not the one it started from
    assert restarted.outputs.remote_folder.uuid != first.outputs.remote_folder.uuid
    (job,) = calculations(restarted)
    assert "out" in job.outputs.remote_folder.listdir()


def test_restart_in_another_cell(pw_label: Label, first: orm.WorkChainNode) -> None:
    """Fails where NPT cannot go on from a density of a cell with other plane waves (here strained by 1 %)."""
    atoms = small_rutile(seed=1)
    strain = np.diag([0.010, -0.008, 0.012]) + 0.003
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    restarted = pw_label(atoms, FROM_FILES, restart_folder=first.outputs.remote_folder)
    assert [job.exit_status for job in calculations(restarted)] == [0]
    assert_same_label(restarted, pw_label(atoms))


def test_gamma_point_alone(pw_label: Label) -> None:
    """Fails where the real wave functions of the Γ point, which the target asks for, give another label."""
    fast = pw_label(silicon(), {"SYSTEM": SMALL_CUTOFFS}, kpoints_mesh=[1, 1, 1])
    general = pw_label(silicon(), {"SYSTEM": SMALL_CUTOFFS}, kpoints_mesh=[1, 1, 1], settings={})
    inputs = [calculations(node)[0].base.repository.get_object_content("aiida.in") for node in (fast, general)]
    assert ["K_POINTS gamma" in text for text in inputs] == [True, False]
    assert_same_label(fast, general)


def test_energy_with_smearing_is_the_free_energy(pw_label: Label) -> None:
    """Fails where the energy is not the one that forces derive from; with smearing there are two.

    Central differences of the label's energy give the force; those of the energy without its term -TS do not.
    """
    step = 0.02
    atoms = moved(bulk("Al", a=4.0) * (2, 1, 1), seed=3, amplitude=0.1)
    smearing = {"occupations": "smearing", "smearing": "gaussian", "degauss": 0.05}
    free, inner, force = [], [], 0.0
    for shift in (-step, 0.0, step):
        image = atoms.copy()
        image.positions[0, 0] += shift
        node = pw_label(image, {"SYSTEM": SMALL_CUTOFFS | smearing}, kpoints_mesh=[2, 3, 3])
        assert node.is_finished_ok, node.exit_message
        arrays, output = node.outputs.label.arrays(), calculations(node)[0].outputs.output_parameters
        free.append(float(arrays["energy"]))
        inner.append(float(arrays["energy"]) - output["energy_smearing"])
        force = float(arrays["forces"][0, 0]) if shift == 0.0 else force
    assert inner[1] - free[1] > 0.05
    assert -(free[2] - free[0]) / (2 * step) == pytest.approx(force, abs=3e-3)
    assert abs(-(inner[2] - inner[0]) / (2 * step) - force) > 1e-2

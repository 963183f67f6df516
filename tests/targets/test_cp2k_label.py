"""CP2K's output as a label: stored outputs, whole and broken. Neither CP2K nor aiida-cp2k is needed.

The files in ``cp2k_outputs`` are what CP2K 2023.1 printed for ``silicon()`` with the settings of ``CHEAP``
(``si8_not_converged.out``: PBE and MAX_SCF 3), without the banner, the statistics and the references.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from ase import units
from cp2k import silicon

from aiida_slhmc.targets.cp2k_label import change_electronic_settings, output_text, read_cp2k_label
from aiida_slhmc.targets.cp2k_output import read_output
from aiida_slhmc.targets.label_work_chain import NOT_A_LABEL, OTHER_STRUCTURE

FOLDER = Path(__file__).parent / "cp2k_outputs"
GOOD = (FOLDER / "si8_r2scan.out").read_text()
NOT_CONVERGED = (FOLDER / "si8_not_converged.out").read_text()
PARAMETERS = {"FORCE_EVAL": {"DFT": {"XC": {"XC_FUNCTIONAL": {"MGGA_X_R2SCAN": {}, "MGGA_C_R2SCAN": {}}}}}}

HARTREE_PER_BOHR = units.Hartree / units.Bohr


def read(
    text: str, structure: orm.StructureData | None = None, calculated: orm.StructureData | None = None, **recovery: Any
) -> Any:
    """Label and node of the calculation function, for an output of this text."""
    structure = structure or orm.StructureData(ase=silicon())
    folder = orm.FolderData()
    folder.base.repository.put_object_from_bytes(text.encode(), "aiida.out")
    return read_cp2k_label.run_get_node(
        structure=structure,
        calculated=calculated or structure,
        parameters=orm.Dict(PARAMETERS),
        retrieved=folder,
        recovery=orm.Dict(recovery),
    )


def in_later_layout(text: str) -> str:
    """*text* with energy, forces and stress as CP2K has printed them since 2025, made by hand, not by that CP2K."""
    output = read_output(text)
    table = [" FORCES| Atomic forces [hartree/bohr]", " FORCES|   Atom     x               y               z      |f|"]
    for number, force in enumerate(output.forces / HARTREE_PER_BOHR, start=1):
        table.append(f" FORCES| {number:6d} " + " ".join(f"{x:15.8E}" for x in (*force, np.linalg.norm(force))))
    table += [" FORCES| Sum     5.53E-05 -8.53E-05 -9.77E-05", " FORCES| Total atomic force  1.41E-04"]
    tensor = [" STRESS| Analytical stress tensor [bar]", " STRESS|             x              y              z"]
    for axis, row in zip("xyz", -output.stress / (1e-4 * units.GPa), strict=True):
        tensor.append(f" STRESS|      {axis}    " + " ".join(f"{x:20.11E}" for x in row))
    text = re.sub(r" ATOMIC FORCES in.*?SUM OF[^\n]*", "\n".join(table), text, flags=re.DOTALL)
    text = re.sub(r" STRESS\| Analytical.*?(?= STRESS\| 1/3)", "\n".join(tensor) + "\n", text, flags=re.DOTALL)
    return text.replace("energy [a.u.]:    ", "energy [hartree]  ")


@pytest.mark.usefixtures("aiida_profile")
def test_label() -> None:
    """Fails where a number loses digits, the stress has CP2K's sign or unit, or the record is incomplete."""
    structure = orm.StructureData(ase=silicon())
    structure.base.attributes.set_many({"epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"})
    label, node = read(GOOD, structure, MAX_SCF=200)
    assert node.is_finished_ok, node.exit_message
    arrays = label.arrays()
    assert label.energy == pytest.approx(-30.866102431430299 * units.Hartree, rel=1e-14)
    first, last = (
        [-0.002500458501, -0.008165483465, 0.010145688405],
        [-0.000901814504, -0.018656091071, -0.036427276617],
    )
    np.testing.assert_allclose(arrays["forces"][[0, 7]], np.array([first, last]) * HARTREE_PER_BOHR, rtol=1e-14)
    pressure = [
        [14.4374413107, -5.75432264452, -1.0130927592],
        [-5.75432264452, 14.5918622733, -1.58018875422],
        [-1.0130927592, -1.58018875422, 12.1143953326],
    ]
    np.testing.assert_allclose(arrays["stress"], -np.array(pressure) * units.GPa, rtol=1e-14)
    np.testing.assert_array_equal(arrays["positions"], structure.get_ase().positions)
    expected = {"functional": "r2scan", "engine": "cp2k", "stand_in": False, "scf_iterations": 11}
    expected |= {"recovery": {"MAX_SCF": 200}, "epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"}
    assert {key: label.base.attributes.get(key) for key in expected} == expected


def test_agrees_with_another_reader() -> None:
    """Fails where a row or a column is misread: pymatgen's reader finds the same numbers."""
    outputs = pytest.importorskip("pymatgen.io.cp2k.outputs", reason="pymatgen is missing: pip install pymatgen")
    theirs = outputs.Cp2kOutput(str(FOLDER / "si8_r2scan.out"))
    theirs.parse_energies()
    theirs.parse_forces()
    theirs.parse_stresses()
    ours = read_output(GOOD)
    assert ours.energy == pytest.approx(theirs.data["total_energy"][0], rel=1e-6)
    np.testing.assert_allclose(ours.forces, np.array(theirs.data["forces"][0]) * HARTREE_PER_BOHR, rtol=1e-12)
    np.testing.assert_allclose(ours.stress, -units.GPa * np.array(theirs.data["stress_tensor"][0]), rtol=1e-12)


def test_later_layout() -> None:
    """Fails where forces or stress of a later CP2K are not read, or its unit of the stress is taken for GPa."""
    earlier, later = read_output(GOOD), read_output(in_later_layout(GOOD))
    assert later.elements is None
    assert later.energy == earlier.energy
    np.testing.assert_allclose(later.forces, earlier.forces, rtol=0, atol=1e-8 * HARTREE_PER_BOHR)
    np.testing.assert_allclose(later.stress, earlier.stress, rtol=1e-10)


def _cut_row(text: str) -> str:
    return re.sub(r"^ +3 +1 +Si.*\n", "", text, flags=re.MULTILINE)


@pytest.mark.usefixtures("aiida_profile")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NOT_CONVERGED, "did not converge"),
        (GOOD.replace("SCF run converged", "SCF run is over"), "did not converge"),
        (
            GOOD + "\n *** WARNING in qs_scf.F:601 :: SCF run NOT ***\n *** converged. To continue ***",
            "did not converge",
        ),
        ("", "did not come to its end"),
        (GOOD[: GOOD.index("PROGRAM ENDED")], "did not come to its end"),
        (GOOD.replace("ENERGY| Total", "ENERGY| Other"), "missing"),
        (GOOD.replace("ATOMIC FORCES in [a.u.]", "ATOMIC FORCES in [eV]"), "missing"),
        (GOOD.replace("Analytical stress", "Numerical stress"), "missing"),
        (GOOD.replace("stress tensor [GPa]", "stress tensor [psi]"), "psi"),
        (_cut_row(GOOD), "leaves out atoms"),
        (GOOD.replace("-0.002500458501    -0.008165483465", "-0.002500458501-0.008165483465"), "another length"),
        (GOOD.replace("-0.002500458501", "***************"), "could not convert"),
        (GOOD.replace("-0.002500458501", "            NaN"), "not finite"),
        (GOOD.replace("1.44374413107E+01", "              NaN"), "not finite"),
        (GOOD.replace("-30.866102431430299", "NaN"), "not finite"),
        (GOOD + GOOD, "more than one"),
    ],
)
def test_output_that_is_no_label(text: str, message: str) -> None:
    """Fails where such an output becomes a label, or an exception instead of an exit code."""
    _, node = read(text)
    assert node.exit_status == NOT_A_LABEL
    assert message in node.exit_message


@pytest.mark.usefixtures("aiida_profile")
def test_output_that_did_not_arrive() -> None:
    assert output_text(orm.FolderData()) == ""


@pytest.mark.usefixtures("aiida_profile")
def test_other_structure() -> None:
    """Fails where forces are paired with atoms that they do not belong to."""
    structure = orm.StructureData(ase=silicon(1))
    larger = silicon(1)
    larger.set_cell(larger.cell.array * 1.001)
    germanium = silicon(1)
    germanium.symbols[3] = "Ge"
    for made, message in ((silicon(2), "positions differ"), (silicon(1)[:7], "7 sites"), (larger, "cell differ")):
        _, node = read(GOOD, structure, calculated=orm.StructureData(ase=made))
        assert node.exit_status == OTHER_STRUCTURE
        assert message in node.exit_message
    _, node = read(GOOD, orm.StructureData(ase=germanium))
    assert node.exit_status == OTHER_STRUCTURE
    assert "other elements" in node.exit_message


@pytest.mark.usefixtures("aiida_profile")
def test_change_of_electronic_settings() -> None:
    """Fails where a recovery's settings arrive in another section, or take others along."""
    before = {"FORCE_EVAL": {"DFT": {"SCF": {"EPS_SCF": 1e-7, "MIXING": {"ALPHA": 0.4, "METHOD": "BROYDEN_MIXING"}}}}}
    changed, node = change_electronic_settings.run_get_node(
        parameters=orm.Dict(before), changes=orm.Dict({"MIXING/ALPHA": 0.1, "MAX_SCF": 200})
    )
    assert node.is_finished_ok
    scf = {"EPS_SCF": 1e-7, "MAX_SCF": 200, "MIXING": {"ALPHA": 0.1, "METHOD": "BROYDEN_MIXING"}}
    assert changed.get_dict() == {"FORCE_EVAL": {"DFT": {"SCF": scf}}}


@pytest.mark.usefixtures("aiida_profile")
@pytest.mark.parametrize("path", ["EPS_SCF", "ADDED_MOS", "SMEAR/ELECTRONIC_TEMPERATURE", "IGNORE_CONVERGENCE_FAILURE"])
def test_change_of_the_energy_surface_is_refused(path: str) -> None:
    """Fails where a recovery may move the energy."""
    _, node = change_electronic_settings.run_get_node(parameters=orm.Dict(PARAMETERS), changes=orm.Dict({path: 1}))
    assert node.exit_status == 420
    assert path in node.exit_message

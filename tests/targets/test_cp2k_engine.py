"""Cp2kLabelWorkChain with the real CP2K: right numbers with r2SCAN, a restart, a recovery."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms, units
from cp2k import CHEAP, CP2K, cp2k_code, needs_cp2k, silicon  # noqa: F401

from aiida_slhmc.targets.base import load_target
from aiida_slhmc.targets.cp2k_policy import merge_parameters

pytestmark = [needs_cp2k, pytest.mark.slow, pytest.mark.long]

# the same settings as the target's, written by hand, but for the density that the self-consistency starts from
INPUT = """&GLOBAL
  PROJECT direct
  RUN_TYPE ENERGY_FORCE
  PRINT_LEVEL LOW
&END GLOBAL
&FORCE_EVAL
  METHOD QS
  STRESS_TENSOR ANALYTICAL
  &PRINT
    &FORCES
      NDIGITS 10
    &END FORCES
    &STRESS_TENSOR
    &END STRESS_TENSOR
  &END PRINT
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 200
      REL_CUTOFF 40
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-10
    &END QS
    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF 1.0E-7
      &DIAGONALIZATION
      &END DIAGONALIZATION
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.4
        NBROYDEN 8
      &END MIXING
    &END SCF
    &XC
      &XC_FUNCTIONAL
        &MGGA_X_R2SCAN
        &END MGGA_X_R2SCAN
        &MGGA_C_R2SCAN
        &END MGGA_C_R2SCAN
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &CELL
{cell}
    &END CELL
    &COORD
{positions}
    &END COORD
    &KIND Si
      BASIS_SET SZV-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE-q4
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


@pytest.fixture(scope="module")
def label(cp2k_code) -> Callable[..., orm.WorkChainNode]:  # noqa: F811
    """Function that labels *atoms*, with *parameters* on top and a *restart_folder*."""

    def run(
        atoms: Atoms,
        functional: str,
        parameters: dict[str, Any] | None = None,
        restart_folder: orm.RemoteData | None = None,
    ) -> orm.WorkChainNode:
        target, structure = load_target("cp2k"), orm.StructureData(ase=atoms)
        options = CHEAP | {"parameters": merge_parameters(CHEAP["parameters"], parameters or {})}
        inputs = target.get_inputs(structure=structure, functional=functional, code=cp2k_code, **options)
        if restart_folder is not None:
            inputs["restart_folder"] = restart_folder
        return run_get_node(target.get_work_chain(), structure=structure, **inputs)[1]

    return run


@pytest.fixture(scope="module")
def pbe(label) -> orm.WorkChainNode:
    node = label(silicon(1), "pbe")
    assert node.is_finished_ok, node.exit_message
    return node


def run_directly(atoms: Atoms, folder: Path) -> str:
    """What CP2K prints for these atoms, started without AiiDA from an input file of its own."""

    def rows(names: Any, vectors: np.ndarray) -> str:
        return "\n".join(
            f"{name} {' '.join(f'{x:.12f}' for x in vector)}" for name, vector in zip(names, vectors, strict=True)
        )

    cell, positions = rows("ABC", atoms.cell.array), rows(atoms.symbols, atoms.positions)
    (folder / "direct.inp").write_text(INPUT.format(cell=cell, positions=positions))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(CP2K), "-i", "direct.inp"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def printed(output: str) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³, positive under tension) as CP2K prints them, in hartree and GPa."""
    energy = float(next(line for line in output.splitlines() if line.startswith(" ENERGY|")).split()[-1])
    forces = [line.split()[-3:] for line in output.splitlines() if re.match(r"^\s+\d+\s+1\s+Si\s+\S+ +\S+ +\S+$", line)]
    pressure = re.findall(r"^ STRESS\| +[xyz] +(\S+E\S+) +(\S+E\S+) +(\S+E\S+)$", output, re.MULTILINE)
    hartree = units.Hartree
    return (
        energy * hartree,
        np.array(forces, dtype=float) * hartree / units.Bohr,
        -units.GPa * np.array(pressure, dtype=float),
    )


def test_label_is_what_cp2k_prints(label, tmp_path) -> None:
    """Fails where energy, forces or stress have another unit, sign or order than CP2K's own output, or another method.

    Both runs have the same settings, and start from the same atoms: they differ by their rounding alone.
    """
    atoms = silicon(2)
    node = label(atoms, "r2scan")
    assert node.is_finished_ok, node.exit_message
    made = node.outputs.label
    energy, forces, stress = printed(run_directly(atoms, tmp_path))
    assert made.energy == pytest.approx(energy, abs=1e-6)
    np.testing.assert_allclose(made.arrays()["forces"], forces, rtol=0, atol=1e-5)
    np.testing.assert_allclose(made.arrays()["stress"], stress, rtol=0, atol=1e-4 * units.GPa)
    assert np.abs(forces).max() > 0.5
    assert np.trace(stress) < 0  # under compression
    attributes = made.base.attributes
    assert (attributes.get("functional"), attributes.get("engine")) == ("r2scan", "cp2k")
    assert attributes.get("stand_in") is False
    assert 5 < attributes.get("scf_iterations") < 30


def test_restart(label, pbe) -> None:
    """Fails where the earlier orbitals are not found, or move the label by more than the convergence.

    EPS_SCF = 1e-7 leaves errors of some 0.01 meV in the energy and below 1 meV/Å in the forces.
    """
    atoms = silicon(1)
    atoms.positions += np.random.default_rng(5).normal(0, 0.01, (8, 3))
    fresh = label(atoms, "pbe").outputs.label
    again = label(atoms, "pbe", restart_folder=pbe.outputs.remote_folder).outputs.label
    assert again.base.attributes.get("scf_iterations") < fresh.base.attributes.get("scf_iterations")
    assert again.energy == pytest.approx(fresh.energy, abs=1e-4)
    np.testing.assert_allclose(again.arrays()["forces"], fresh.arrays()["forces"], rtol=0, atol=1e-3)
    assert again.base.attributes.get("recovery") == {}


def test_too_few_iterations(label, pbe) -> None:
    """Fails where CP2K's warning is not seen, or the recovery gives another label."""
    node = label(silicon(1), "pbe", {"FORCE_EVAL": {"DFT": {"SCF": {"MAX_SCF": 4}}}})
    assert node.is_finished_ok, node.exit_message
    assert node.outputs.label.base.attributes.get("recovery")["MAX_SCF"] == 200
    assert node.outputs.label.energy == pytest.approx(pbe.outputs.label.energy, abs=1e-4)

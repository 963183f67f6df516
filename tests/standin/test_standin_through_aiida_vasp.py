"""The stand-in as the code of aiida-vasp's own calculation and parser, nothing replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, DataFactory
from ase import Atoms

from aiida_slhmc.standin import STANDIN_VERSION
from aiida_slhmc.standin.misbehave import DELAY, FAILURE, MODES
from aiida_slhmc.standin.potential import VARIANTS, evaluate

KB = 1602.176634  # kB per eV/Å³
SETTINGS = {
    "poscar_precision": 16,
    "parser_settings": {
        "energy_type": ["energy_free", "energy_extrapolated", "energy_no_entropy"],
        "required_quantity": ["run_status", "run_stats", "total_energies", "forces", "stress"],
    },
}
EXIT_STATUS = {
    "not_converged": 701,
    "not_converged_normal": 701,
    "overflow": 1002,
    "truncated": 1002,
    "no_timing": 700,
    "killed": 1002,
    "no_xml": 352,
    "missing_forces": 1002,
    "missing_stress": 1002,
    "brmix": 703,
    "brmix_normal": 703,
    "zhegv": 1002,
    "bad_wavecar": 0,
    "slow": 0,
}


@pytest.fixture
def label(vasp_code, family: str):
    """Function that labels atoms through VaspCalculation and returns the finished node."""
    potcar_data = DataFactory("vasp.potcar")

    def run(atoms: Atoms, environment: dict[str, str] | None = None, **incar: Any) -> orm.CalcJobNode:
        structure = orm.StructureData(ase=atoms)
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh([2, 2, 3])
        exports = "\n".join(f"export {key}={value}" for key, value in (environment or {}).items())
        _, node = run_get_node(
            CalculationFactory("vasp.vasp"),
            code=vasp_code,
            structure=structure,
            kpoints=kpoints,
            parameters=orm.Dict({"encut": 500, "ediff": 1e-6, "ismear": 0, "sigma": 0.05, **incar}),
            potential=potcar_data.get_potcars_from_structure(structure, family, mapping={"Ti": "Ti_pv", "O": "O"}),
            settings=orm.Dict(SETTINGS),
            metadata={
                "options": {
                    "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
                    "withmpi": False,
                    "prepend_text": exports,
                }
            },
        )
        return node

    return run


def compare(node: orm.CalcJobNode, atoms: Atoms, variant: str) -> None:
    """Assert that *node* finished and that its misc holds exactly what the potential gives for *atoms*."""
    assert node.exit_status == 0, node.exit_message
    misc = node.outputs.misc.get_dict()
    expected = evaluate(atoms, VARIANTS[variant])
    energies = misc["total_energies"]
    assert energies["energy_free"] == pytest.approx(expected.energy, abs=1e-10)
    assert energies["energy_no_entropy"] == pytest.approx(expected.energy + 0.01 * len(atoms), abs=1e-10)
    assert energies["energy_extrapolated"] == pytest.approx(expected.energy + 0.005 * len(atoms), abs=1e-10)
    np.testing.assert_allclose(misc["forces"], expected.forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(misc["stress"], -expected.stress * KB, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("tags", "variant"),
    [
        ({}, "pbe"),
        ({"metagga": "R2SCAN", "lasph": True, "ispin": 2}, "r2scan"),
        ({"lhfcalc": True, "hfscreen": 0.2, "algo": "Normal"}, "hse06"),
    ],
)
def test_numbers_of_a_triclinic_cell(label, rutile: Atoms, tags: dict[str, Any], variant: str) -> None:
    compare(label(rutile, **tags), rutile, variant)


def test_interleaved_species_keep_their_order(label, rutile: Atoms) -> None:
    atoms = rutile[[2, 0, 3, 4, 1, 5]]
    assert str(atoms.symbols) == "OTiO2TiO"
    node = label(atoms)
    compare(node, atoms, "pbe")
    poscar = Path(node.outputs.remote_folder.get_remote_path()) / "POSCAR"
    assert poscar.read_text().splitlines()[5].split() == ["O", "Ti", "O", "Ti", "O"]


def test_misc_alone_tells_a_standin_label(label, rutile: Atoms) -> None:
    misc = label(rutile).outputs.misc.get_dict()
    assert misc["version"] == STANDIN_VERSION
    assert misc["notifications"] == []
    status = misc["run_status"]
    assert status["finished"] is True
    assert status["electronic_converged"] is True
    assert status["ionic_converged"] is None
    assert status["nelm"] == 60
    assert status["last_iteration_index"] == [1, 14]


def test_every_mode_is_tried() -> None:
    assert {*EXIT_STATUS, "nan"} == set(MODES)


@pytest.mark.parametrize("mode", EXIT_STATUS)
def test_exit_status_of_each_failure(label, rutile: Atoms, mode: str) -> None:
    node = label(rutile, {FAILURE: mode, DELAY: "1"}, algo="Fast", nelm=20)
    assert node.exit_status == EXIT_STATUS[mode], node.exit_message


def test_nan_breaks_the_parser(label, rutile: Atoms) -> None:
    with pytest.raises(ValidationError, match="nan and inf"):
        label(rutile, {FAILURE: "nan"})
    query = orm.QueryBuilder().append(orm.CalcJobNode, tag="node").order_by({"node": {"id": "desc"}})
    node = query.first(flat=True)
    assert node.is_excepted
    assert node.exit_status == 0  # the trap: the parser was content, storing its numbers failed
    assert not node.is_finished_ok
    assert "misc" not in node.outputs


def test_nelm_reached(label, rutile: Atoms) -> None:
    assert label(rutile, nelm=8).exit_status == 701


def test_refused_input(label, rutile: Atoms) -> None:
    node = label(rutile, metagga="SCAN")
    assert node.exit_status == 352
    assert "METAGGA = SCAN" in node.outputs.retrieved.get_object_content("vasp_output")

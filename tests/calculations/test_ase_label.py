"""AseLabelCalculation: what it refuses at submission, real runs, and what travels with the job."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run, run_get_node
from aiida.manage.caching import enable_caching
from ase.calculators.lj import LennardJones
from fixtures import rutile_atoms

from aiida_slhmc.calculations.ase_label import AseLabelCalculation

CODES = AseLabelCalculation.exit_codes
LJ = {"calculator": "ase.calculators.lj.LennardJones", "arguments": {"sigma": 2.0, "epsilon": 0.1, "rc": 5.0}}


def single_file(content: str, name: str) -> orm.SinglefileData:
    return orm.SinglefileData(io.BytesIO(content.encode()), filename=name)


@pytest.fixture(scope="module")
def inputs(python_code, structure) -> dict[str, Any]:
    return {"code": python_code, "structure": structure, "calculator": orm.Dict(LJ).store()}


@pytest.fixture(scope="module")
def finished(inputs) -> orm.CalcJobNode:
    """A real run."""
    return run_get_node(AseLabelCalculation, **inputs)[1]


@pytest.mark.parametrize(
    ("calculator", "message"),
    [
        ({"arguments": {}}, "must be the path of a class, such as tblite.ase.TBLite, not None"),
        (LJ | {"calculator": "TBLite"}, "must be the path of a class"),
        (LJ | {"calculator": "os.system('ls')"}, "must be the path of a class"),
        (LJ | {"calculator": "ase..EMT"}, "must be the path of a class"),
        (LJ | {"argument": {}}, "no key of the calculator 'argument'; did you mean 'arguments'"),
        (LJ | {"arguments": [1]}, "must be a dictionary of keyword arguments"),
        (LJ | {"arguments": {"two words": 1}}, "must be a dictionary of keyword arguments"),
    ],
)
def test_wrong_calculators_are_refused(inputs, calculator: dict[str, Any], message: str) -> None:
    """Fails where a mistake is only found out in the queue."""
    with pytest.raises(ValueError, match=message):
        run(AseLabelCalculation, **inputs | {"calculator": orm.Dict(calculator)})


def test_wrong_structures_are_refused(inputs) -> None:
    slab = rutile_atoms()
    slab.pbc = [True, True, False]
    with pytest.raises(ValueError, match="must be periodic in three directions"):
        run(AseLabelCalculation, **inputs | {"structure": orm.StructureData(ase=slab)})
    alloy = orm.StructureData(cell=np.eye(3) * 4)
    alloy.append_atom(position=(0, 0, 0), symbols=["Ti", "Zr"], weights=[0.5, 0.5], name="M")
    with pytest.raises(ValueError, match="fully occupied"):
        run(AseLabelCalculation, **inputs | {"structure": alloy})


def test_wrong_files_are_refused(inputs, foundation) -> None:
    """Fails where a file would silently take the place of another one."""
    for files, message in (
        ({"a": single_file("1", "x.dat"), "b": single_file("2", "x.dat")}, "given twice.*x.dat"),
        ({"a": single_file("1", "parameters.json")}, "the job's own: parameters.json"),
        ({"a": foundation, "b": single_file("1", "model.safetensors")}, "given twice.*model.safetensors"),
    ):
        with pytest.raises(ValueError, match=message):
            run(AseLabelCalculation, **inputs | {"files": files})


def test_label(finished, structure) -> None:
    """Fails where a number is not bit for bit the calculator's own, called here without AiiDA."""
    assert finished.is_finished_ok, finished.exit_message
    label, atoms = finished.outputs.label, structure.get_ase()
    atoms.calc = LennardJones(**LJ["arguments"])
    assert label.get_array("energy") == atoms.get_potential_energy()
    np.testing.assert_array_equal(label.get_array("forces"), atoms.get_forces())
    np.testing.assert_array_equal(label.get_array("stress"), atoms.get_stress(voigt=False))
    np.testing.assert_array_equal(label.get_array("positions"), atoms.positions)
    np.testing.assert_array_equal(label.get_array("numbers"), atoms.numbers)
    assert label.base.attributes.get("energy_kind") == "free_energy"
    assert np.abs(atoms.get_forces()).max() > 1e-3


def test_the_code_that_ran_is_on_record(finished) -> None:
    names = {str(path) for path in finished.base.repository.glob()}
    assert "aiida_slhmc/worker/label.py" in names
    assert not [name for name in names if name.endswith((".pyc", ".safetensors"))]


def test_equal_inputs_are_taken_from_the_cache(finished, inputs) -> None:
    """Fails where something in the inputs differs from run to run: a restart would compute every label again."""
    with enable_caching(identifier="aiida.calculations:slhmc.ase_label"):
        _, node = run_get_node(AseLabelCalculation, **inputs | {"calculator": orm.Dict(LJ)})
    assert node.base.caching.get_cache_source() == finished.uuid


OWN = """
from ase.calculators.lj import LennardJones

class Shifted(LennardJones):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["free_energy"] += float(open("shift.dat").read())

class NoStress(LennardJones):
    implemented_properties = ["energy", "forces"]

class Killed(LennardJones):
    def calculate(self, *args, **kwargs):
        import os
        os._exit(9)
"""


def own(name: str) -> dict[str, Any]:
    """Inputs of a calculator that comes along as a file, with another file that it reads."""
    files = {"code": single_file(OWN, "my_calculator.py"), "data": single_file("2.5", "shift.dat")}
    return {"calculator": orm.Dict(LJ | {"calculator": f"my_calculator.{name}"}), "files": files}


def test_a_calculator_in_a_file_that_reads_a_file(inputs, finished) -> None:
    """Fails where files do not arrive, or the free energy is passed over for the energy."""
    _, node = run_get_node(AseLabelCalculation, **inputs | own("Shifted"))
    assert node.is_finished_ok, node.exit_message
    assert node.outputs.label.get_array("energy") == finished.outputs.label.get_array("energy") + 2.5


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("NoStress", CODES.ERROR_PROPERTY_MISSING, "NoStress does not give .*stress.* take a calculator"),
        ("Absent", CODES.ERROR_CALCULATOR_UNAVAILABLE, "no class or function 'Absent'"),
        ("Killed", CODES.ERROR_NO_RESULT, "See `verdi calcjob outputcat"),
    ],
    ids=["no stress", "no class", "killed"],
)
def test_failures(inputs, name: str, code: Any, message: str) -> None:
    """Real runs, each ending in its exit code; the parser's tests have the others."""
    _, node = run_get_node(AseLabelCalculation, **inputs | own(name))
    assert node.exit_status == code.status
    assert re.search(message, node.exit_message), node.exit_message


def test_a_stored_mace_model(inputs, foundation, proposal) -> None:
    """One model as the target. Fails where it is not the model that proposes: both start from the same atoms."""
    calculator = orm.Dict({"calculator": "aiida_slhmc.worker.mace_calculator.MaceCheckpoint"})
    _, node = run_get_node(AseLabelCalculation, **inputs | {"calculator": calculator, "files": {"model": foundation}})
    assert node.is_finished_ok, node.exit_message
    energy = proposal.outputs.proposals.get_array("energies")[0, 0]
    assert node.outputs.label.get_array("energy") == pytest.approx(energy, abs=1e-9)
    assert np.abs(node.outputs.label.get_array("forces")).max() > 0.1

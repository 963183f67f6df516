"""AseTarget and AseLabelWorkChain: inputs by name, labels equal to the calculator's own, and each way to fail."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run, run_get_node
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from interleaved import MIXED, triclinic

from aiida_slhmc.calculations.ase_label import AseLabelCalculation
from aiida_slhmc.targets.ase import AseLabelWorkChain, AseTarget, read_ase_label
from aiida_slhmc.targets.base import load_target, target_names

CODES = AseLabelWorkChain.exit_codes
CALCULATION = AseLabelCalculation.exit_codes
TBLITE = {"accuracy": 0.01, "max_iterations": 500, "verbosity": 0}
# a calculator of one's own, for the ways to fail
OWN = """
import os
from ase.calculators.emt import EMT

class Broken(EMT):
    def __init__(self, how):
        super().__init__()
        self.how = how

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.how == "scf":
            raise RuntimeError("SCF did not converge")
        if self.how == "raises":
            raise RuntimeError("no licence")
        if self.how == "nan":
            self.results["forces"][0, 0] = float("nan")

class NoStress(EMT):
    implemented_properties = ["energy", "forces"]
"""


def copper_and_gold() -> Atoms:
    """Eight atoms off their sites, the species interleaved, in a cell without symmetry."""
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.symbols[[1, 4, 6]] = "Au"
    atoms.set_cell(atoms.cell.array + np.array([[0, 0.1, 0], [0.2, 0, 0], [0, 0.1, 0.15]]), scale_atoms=True)
    atoms.positions += np.random.default_rng(3).normal(0, 0.05, (8, 3))
    return atoms


@pytest.fixture
def label(python_code) -> Callable[..., orm.WorkChainNode]:
    """Function that labels atoms with what the target makes of its options."""

    def run_label(atoms: Atoms, functional: str, tags: dict[str, Any] | None = None, **options: Any) -> Any:
        structure = orm.StructureData(ase=atoms)
        structure.base.attributes.set_many(tags or {})
        inputs = AseTarget.get_inputs(structure=structure, functional=functional, code=python_code, **options)
        return run_get_node(AseLabelWorkChain, structure=structure.store(), **inputs)[1]

    return run_label


def calculations(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return [child for child in node.called if isinstance(child, orm.CalcJobNode)]


def check_label(node: orm.WorkChainNode, calculator: Any, tolerance: float = 0.0) -> None:
    """The label is what *calculator* gives here for the atoms of the structure, in their own order."""
    assert node.is_finished_ok, node.exit_message
    atoms = node.inputs.structure.get_ase()
    atoms.calc = calculator
    arrays = node.outputs.label.arrays()
    np.testing.assert_array_equal(arrays["numbers"], atoms.numbers)
    np.testing.assert_array_equal(arrays["positions"], atoms.positions)
    np.testing.assert_array_equal(arrays["cell"], atoms.cell.array)
    expected = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    for name, values in (expected | {"stress": atoms.get_stress(voigt=False)}).items():
        np.testing.assert_allclose(arrays[name], values, rtol=0, atol=tolerance, err_msg=name)
    assert np.abs(atoms.get_forces()).max() > 0.1


def test_found_by_name() -> None:
    assert "ase" in target_names()
    assert load_target("ase") is AseTarget
    assert AseTarget.get_work_chain() is AseLabelWorkChain


@pytest.mark.parametrize(("functional", "method"), [("gfn1", "GFN1-xTB"), ("gfn2", "GFN2-xTB")])
def test_inputs_by_name(structure, python_code, functional: str, method: str) -> None:
    """Fails where a name stands for another method, or the ports refuse what the target makes."""
    arguments = {"max_iterations": 50, "electronic_temperature": 500.0, "method": method}
    made = AseTarget.get_inputs(structure=structure, functional=functional, code=python_code, arguments=arguments)
    assert made["calculator"].get_dict() == {
        "calculator": "tblite.ase.TBLite",
        "arguments": TBLITE | arguments,
    }
    assert made["functional"].value == functional
    assert made["options"].get_dict() == {"max_wallclock_seconds": 3600}
    builder = AseLabelWorkChain.get_builder()
    builder._update(made)  # the ports check as they do at submission


EMT_PATH = "ase.calculators.emt.EMT"


@pytest.mark.parametrize(
    ("functional", "options", "message"),
    [
        ("gfn1", {}, "lacks code"),
        ("gfn1", {"code": None, "argument": {}}, "no target option 'argument'; did you mean 'arguments'"),
        ("gfn3", {"code": None}, "must be one of gfn1, gfn2, or `calculator` be given, not 'gfn3'"),
        ("gfn1", {"code": None, "calculator": EMT_PATH}, "calculator: 'gfn1' is the name of another method's labels"),
        ("gfn1", {"code": None, "arguments": {"method": "GFN2-xTB"}}, "method: 'gfn1' is the name of another"),
        ("emt", {"code": None, "calculator": "EMT"}, "must be the path of a class"),
        ("emt", {"code": None, "calculator": EMT_PATH, "arguments": [1]}, "must be a dictionary"),
    ],
)
def test_wrong_options(structure, functional: str, options: dict[str, Any], message: str) -> None:
    """Fails where a wrong option is only found out later, or labels of one method get the name of another."""
    with pytest.raises(ValueError, match=message):
        AseTarget.get_inputs(structure=structure, functional=functional, **options)


def test_ports_refuse_at_submission(structure, python_code) -> None:
    """Fails where the work chain starts with inputs that its calculation then refuses."""
    inputs = AseTarget.get_inputs(structure=structure, functional="gfn1", code=python_code)
    slab = copper_and_gold()
    slab.pbc = [True, True, False]
    file = orm.SinglefileData(io.BytesIO(b"1"), filename="parameters.json")
    for changes, message in (
        ({"calculator": orm.Dict({"calculator": "tblite"})}, "must be the path of a class"),
        ({"files": {"a": file}}, "the job's own: parameters.json"),
        ({"structure": orm.StructureData(ase=slab)}, "must be periodic in three directions"),
    ):
        with pytest.raises(ValueError, match=message):
            run(AseLabelWorkChain, **{"structure": structure} | inputs | changes)


def test_label_of_interleaved_species(label) -> None:
    """Fails where a number is not bit for bit the calculator's own, or atoms are in another order."""
    tags = {"epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"}
    node = label(copper_and_gold(), "emt", tags, calculator=EMT_PATH)
    check_label(node, EMT())
    attributes = node.outputs.label.base.attributes.all
    assert tags.items() <= attributes.items()
    source = {"functional": "emt", "engine": EMT_PATH, "stand_in": False, "recovery": {}}
    assert source.items() <= attributes.items()
    assert node.outputs.label.creator.process_label == "read_ase_label"


def test_label_of_tight_binding(label) -> None:
    """GFN1 by its name alone, rutile without symmetry and with interleaved sites, to the calculator's 1e-10 eV."""
    tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed: pip install tblite")
    node = label(triclinic(MIXED), "gfn1")
    check_label(node, tblite.TBLite(method="GFN1-xTB", **TBLITE), tolerance=1e-10)
    (calculation,) = calculations(node)
    assert set(calculation.outputs.label.base.attributes.get("versions")) == {"ase", "tblite"}


def _own(name: str, **arguments: Any) -> dict[str, Any]:
    files = {"code": orm.SinglefileData(io.BytesIO(OWN.encode()), filename="own_calculator.py")}
    return {"calculator": f"own_calculator.{name}", "arguments": arguments, "files": files}


@pytest.mark.parametrize(
    ("name", "arguments", "code", "n_calculations", "message"),
    [
        ("Broken", {"why": 1}, CODES.ERROR_CALCULATOR, 1, "unexpected keyword argument 'why'"),
        ("NoStress", {}, CODES.ERROR_CALCULATOR, 1, "take a calculator that has them all"),
        ("Broken", {"how": "scf"}, CODES.ERROR_NOT_CONVERGED, 1, "did not converge"),
        ("Broken", {"how": "nan"}, CODES.ERROR_NOT_A_LABEL, 1, "forces of Broken"),
        ("Broken", {"how": "raises"}, CODES.ERROR_CALCULATION_FAILED, 2, "no licence"),
    ],
)
def test_failures(label, name: str, arguments: dict[str, Any], code: Any, n_calculations: int, message: str) -> None:
    """Fails where what cannot succeed is repeated, what might is not, or the message does not say why."""
    node = label(copper_and_gold(), "own", **_own(name, **arguments))
    assert node.exit_status == code.status, node.exit_message
    assert message in node.exit_message
    assert len(calculations(node)) == n_calculations
    assert "label" not in node.outputs


def test_a_package_that_is_not_installed(label) -> None:
    """Fails where nobody is told what to install, and where."""
    node = label(copper_and_gold(), "own", calculator="no_such_package.ase.Calculator")
    assert node.exit_status == CODES.ERROR_CALCULATOR.status
    assert "No module named 'no_such_package'" in node.exit_message
    assert "install what it needs for the interpreter of `code`" in node.exit_message


@pytest.mark.parametrize("name", ["numbers", "positions", "cell"])
def test_label_of_another_structure(structure, name: str) -> None:
    """Fails where forces of other atoms, or of the same in another order, become a label; the last is the control."""
    atoms = structure.get_ase()
    arrays = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array}
    arrays |= {"energy": np.asarray(-1.0), "forces": np.zeros((6, 3)), "stress": np.zeros((3, 3))}
    made = {key: orm.Dict(value) for key, value in (("calculator", {"calculator": EMT_PATH}), ("recovery", {}))}
    made |= {"structure": structure, "functional": orm.Str("emt")}
    _, node = read_ase_label.run_get_node(**made, output=orm.ArrayData(arrays | {name: arrays[name][::-1].copy()}))
    assert node.exit_status == CODES.ERROR_OTHER_STRUCTURE.status
    assert f"its {name} differ" in node.exit_message
    assert read_ase_label.run_get_node(**made, output=orm.ArrayData(arrays))[1].is_finished_ok

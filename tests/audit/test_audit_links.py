"""Links that no calculation function covers, in graphs made by hand: labels of other engines, and relabelled frames.

Those of a real run are in tests/workflows/test_rebuild_run.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState
from fixtures import configuration, label_of, rutile_atoms

from aiida_slhmc.audit.chains import check_relabelling
from aiida_slhmc.audit.contents import check_configuration
from aiida_slhmc.audit.graph import calls
from aiida_slhmc.audit.labels import READERS, check_label
from aiida_slhmc.calculations.epoch import collect_block
from aiida_slhmc.calculations.selection import select_frames
from aiida_slhmc.targets.ase import read_ase_label

pytestmark = pytest.mark.usefixtures("aiida_profile")

Nodes = Mapping[str, orm.Data]


def finished(node: Any, *, exit_status: int = 0) -> Any:
    node.store()
    node.set_process_state(ProcessState.FINISHED)
    node.set_exit_status(exit_status)
    return node


def problems(found: Any) -> list[str]:
    """What is wrong, of at least one thing that was checked."""
    checked = list(found)
    assert checked
    return [text for text in checked if text]


@pytest.fixture
def job(computer) -> Callable[..., orm.CalcJobNode]:
    """Function: a job of an ASE calculator with the label of its structure."""

    def make(atoms: Any, calculator: orm.Dict, exit_status: int = 0) -> orm.CalcJobNode:
        node = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:slhmc.ase_label")
        node.set_option("resources", {"num_machines": 1, "tot_num_mpiprocs": 1})
        inputs = {"structure": orm.StructureData(ase=atoms), "calculator": calculator}
        for label, data in inputs.items():
            node.base.links.add_incoming(data.store(), link_type=LinkType.INPUT_CALC, link_label=label)
        finished(node, exit_status=exit_status)
        exact = inputs["structure"].get_ase()
        arrays = {"numbers": exact.numbers, "positions": exact.positions, "cell": exact.cell.array}
        numbers = {name: np.asarray(label_of(atoms)[name]) for name in ("energy", "forces", "stress")}
        output = orm.ArrayData(arrays | numbers)
        output.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label="label")
        output.store()
        return node

    return make


def read(job: orm.CalcJobNode, **others: orm.Data) -> orm.CalcFunctionNode:
    inputs = {"structure": job.inputs.structure, "calculator": job.inputs.calculator, "output": job.outputs.label}
    constants = {"functional": orm.Str("gfn1"), "recovery": orm.Dict({})}
    _, node = read_ase_label.run_get_node(**(constants | inputs | others))
    assert node.is_finished_ok, node.exit_message
    return node


def test_a_label_of_an_ase_calculator(job) -> None:
    """Fails where the output, the structure or the settings of another calculation pass."""
    calculator = orm.Dict({"calculator": "ase.calculators.emt.EMT"})
    good = job(rutile_atoms(seed=1), calculator)
    assert problems(check_label(read(good))) == []
    # the same numbers, in nodes that the calculation never had
    same_structure = orm.StructureData(ase=rutile_atoms(seed=1))
    (problem,) = problems(check_label(read(good, structure=same_structure)))
    assert problem == f"its structure is not the structure that CalcJobNode {good.uuid} had"
    (problem,) = problems(check_label(read(good, calculator=orm.Dict({"calculator": "a.better.One"}))))
    assert problem.startswith("its calculator is not the calculator")
    failed = job(rutile_atoms(seed=1), calculator, exit_status=343)
    (problem,) = problems(check_label(read(failed)))
    assert problem.endswith("did not end well, and gave a label")
    invented = orm.ArrayData({name: good.outputs.label.get_array(name) for name in good.outputs.label.get_arraynames()})
    (problem,) = problems(check_label(read(good, output=invented.store())))
    assert problem == "its output is not an output of the calculation that gave the label"


def test_all_engines_have_a_reader() -> None:
    """Fails where a target is added, and its labels are not checked."""
    from aiida_slhmc.targets import ase, cp2k_label, quantum_espresso_label, vasp_label

    names = {name for module in (ase, cp2k_label, quantum_espresso_label, vasp_label) for name in vars(module)}
    assert {name for name in names if name.startswith("read_") and name.endswith("_label")} == set(READERS)


def test_a_configuration_says_what_its_file_holds() -> None:
    atoms = rutile_atoms(seed=1)
    for label in (None, label_of(atoms), label_of(atoms) | {"stress": None, "recovery": {"algo": "All"}}):
        node = configuration(atoms, label, tags={"epoch": 1, "role": "proposal"}).store()
        assert problems(check_configuration(node)) == []
    node = configuration(atoms, label_of(atoms))
    node.base.attributes.set("energy", -1.0)
    (problem,) = problems(check_configuration(node.store()))
    assert "energy: stored -1.0" in problem


def call(parent: orm.WorkChainNode, child: Any, label: str, kind: LinkType) -> None:
    child.base.links.add_incoming(parent, link_type=kind, link_label=label)


class Control:
    """A RelabelWorkChain's graph: two frames chosen of four, labelled, and trained on."""

    def __init__(self) -> None:
        self.pool = orm.TrajectoryData()
        frames = [rutile_atoms(seed=k) for k in range(4)]
        positions, cells = (np.array([getattr(atoms, name)[:] for atoms in frames]) for name in ("positions", "cell"))
        self.pool.set_trajectory(list(frames[0].symbols), positions, cells=cells, pbc=(True, True, True))
        self.selection = orm.Dict({"method": "every", "n_frames": 2}).store()
        _, self.choice = select_frames.run_get_node(pool=self.pool.store(), selection=self.selection)
        assert self.choice.is_finished_ok, self.choice.exit_message

    def write(self, structures: Nodes, *, left_out: str = "", pool: Any = None) -> orm.WorkChainNode:
        """The work chain's node, with labels of these *structures*, one of them *left_out* of the block."""
        run = orm.WorkChainNode(process_type="aiida.workflows:slhmc.relabel")
        for name, data in {"pool": pool or self.pool, "selection": self.selection}.items():
            run.base.links.add_incoming(data, link_type=LinkType.INPUT_WORK, link_label=name)
        run.store()
        choice = orm.CalcFunctionNode(process_type="aiida_slhmc.calculations.selection.select_frames")
        for name, data in {"pool": self.pool, "selection": self.selection}.items():
            choice.base.links.add_incoming(data, link_type=LinkType.INPUT_CALC, link_label=name)
        call(run, choice, "select", LinkType.CALL_CALC)
        choice.store()
        self.chosen = {}
        for name, node in self.choice.outputs.structures.items():
            copy = node.clone()
            copy.base.links.add_incoming(choice, link_type=LinkType.CREATE, link_label=f"structures__{name}")
            self.chosen[name] = copy.store()
        labels = {name: self._label(run, name, structures.get(name, self.chosen[name])) for name in self.chosen}
        used = {name: node for name, node in labels.items() if name != left_out}
        block, _ = collect_block.run_get_node(**used)
        training = orm.WorkChainNode(process_type="aiida.workflows:slhmc.fine_tune")
        training.base.links.add_incoming(block, link_type=LinkType.INPUT_WORK, link_label="datasets__block_0000")
        call(run, training, "fine_tune", LinkType.CALL_WORK)
        finished(training)
        block.base.links.add_incoming(run, link_type=LinkType.RETURN, link_label="dataset")
        return run

    def _label(self, run: orm.WorkChainNode, name: str, structure: orm.StructureData) -> Any:
        child = orm.WorkChainNode(process_type="aiida_slhmc.targets.ase.AseLabelWorkChain")
        child.base.links.add_incoming(structure, link_type=LinkType.INPUT_WORK, link_label="structure")
        call(run, child, f"label_{name}", LinkType.CALL_WORK)
        finished(child)
        atoms = structure.get_ase()
        label = configuration(atoms, label_of(atoms)).store()
        label.base.links.add_incoming(child, link_type=LinkType.RETURN, link_label="label")
        return label


@pytest.fixture(scope="module")
def control(aiida_profile) -> Control:
    return Control()


def test_relabelled_frames(control) -> None:
    """Fails where a sound control does not pass, or nothing in it is looked at."""
    run = control.write({})
    assert problems(check_relabelling(run)) == []
    assert len(calls(run, "label_")) == 2


def test_a_frame_that_was_not_chosen(control) -> None:
    other = orm.StructureData(ase=rutile_atoms(seed=9)).store()
    name = sorted(control.choice.outputs.structures)[1]
    assert problems(check_relabelling(control.write({name: other}))) == [
        f"label_{name} is of a structure that was not chosen"
    ]


def test_a_label_that_is_left_out(control) -> None:
    name = sorted(control.choice.outputs.structures)[0]
    (problem,) = problems(check_relabelling(control.write({}, left_out=name)))
    assert problem.startswith("its dataset was not made of all that it should be")
    assert problem.endswith(name)


def test_another_pool(control) -> None:
    assert problems(check_relabelling(control.write({}, pool=control.pool.clone().store()))) == [
        "its frames were chosen with another pool"
    ]

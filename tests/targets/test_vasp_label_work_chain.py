"""VaspLabelWorkChain with the stand-in: a label, the order of its sites, and what is not taken for one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from fixtures import label_of
from interleaved import MIXED, triclinic

from aiida_slhmc.targets import vasp_work_chain
from aiida_slhmc.targets.site_order import site_order
from aiida_slhmc.targets.vasp import VaspLabelWorkChain

CODES = VaspLabelWorkChain.exit_codes


def calculations(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return [child for child in node.called if isinstance(child, orm.CalcJobNode)]


def test_success(label, structure) -> None:
    """Fails where the label is not the potential's energy, forces and stress of exactly this structure."""
    node = label()
    assert node.is_finished_ok, node.exit_message
    made = node.outputs.label
    expected = label_of(structure.get_ase())
    assert made.energy == pytest.approx(expected["energy"], abs=1e-9)
    np.testing.assert_allclose(made.arrays()["forces"], expected["forces"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(made.arrays()["stress"], expected["stress"], rtol=0, atol=1e-9)
    assert made.creator.process_label == "read_vasp_label"
    assert made.creator.inputs.misc.creator.pk == calculations(node)[0].pk


@pytest.fixture
def mixed(aiida_profile) -> orm.StructureData:
    """Interleaved Ti2O4 without symmetry, with a place in a run."""
    made = orm.StructureData(ase=triclinic(MIXED))
    made.base.attributes.set_many({"epoch": 1, "cycle": 2, "walker": 3, "role": "proposal"})
    return made.store()


def test_interleaved_sites(inputs_of, mixed) -> None:
    """Fails where VASP gets scattered sites, or the label has VASP's order of atoms; and checks that it could fail."""
    _, node = run_get_node(VaspLabelWorkChain, **inputs_of() | {"structure": mixed})
    assert node.is_finished_ok, node.exit_message
    made, (calculation,) = node.outputs.label, calculations(node)
    expected = label_of(mixed.get_ase())
    arrays = made.arrays()
    assert made.energy == pytest.approx(expected["energy"], abs=1e-9)
    np.testing.assert_allclose(arrays["forces"], expected["forces"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(arrays["stress"], expected["stress"], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(arrays["positions"], mixed.get_ase().positions)
    np.testing.assert_array_equal(arrays["numbers"], mixed.get_ase().numbers)
    attributes = made.base.attributes
    assert [attributes.get(key) for key in ("epoch", "cycle", "walker", "role")] == [1, 2, 3, "proposal"]
    assert str(calculation.inputs.structure.get_ase().symbols) == "O4Ti2"
    assert calculation.inputs.structure.creator.inputs.structure.uuid == mixed.uuid
    # negative control: the forces as VASP wrote them are not the original's
    raw = np.array(calculation.outputs.misc["forces"])
    assert np.abs(raw - expected["forces"]).max() > 0.1


def test_grouped_sites_are_left_alone(label, structure) -> None:
    """Fails where a node is made that is not needed."""
    node = label()
    assert "group_sites" not in [child.process_label for child in node.called]
    assert calculations(node)[0].inputs.structure.uuid == structure.uuid


def test_tag_per_site_with_interleaved_sites(inputs_of, mixed) -> None:
    """Fails where MAGMOM's values go to other atoms, or the change of order counts as a recovery."""
    moments = [float(site) for site in range(6)]
    _, node = run_get_node(VaspLabelWorkChain, **inputs_of(ispin=2, magmom=moments) | {"structure": mixed})
    assert node.is_finished_ok, node.exit_message
    (calculation,) = calculations(node)
    order = site_order(mixed)
    assert order != sorted(order), "or nothing would be tested"
    assert calculation.inputs.parameters["magmom"] == [moments[site] for site in order]
    assert calculation.inputs.parameters.creator.process_label == "order_site_tags"
    assert node.outputs.label.base.attributes.get("recovery") == {}


@pytest.mark.parametrize(
    "tags", [{"ispin": 2, "magmom": [1.0] * 5}, {"ldau": True, "ldaul": [2, -1, -1], "ldauu": [3.0, 0.0, 0.0]}]
)
def test_tags_of_another_length(inputs_of, mixed, tags: dict[str, Any]) -> None:
    """Fails where VASP would take values for other atoms, or stop; without the tag the same inputs make a label."""
    inputs = inputs_of() | {"structure": mixed}
    inputs["parameters"] = orm.Dict(inputs["parameters"].get_dict() | tags)
    _, node = run_get_node(VaspLabelWorkChain, **inputs)
    assert node.exit_status == CODES.ERROR_TAG_PER_SITE.status
    assert calculations(node) == []


def test_output_of_another_structure(inputs_of, mixed, monkeypatch) -> None:
    """Fails where the output of sites in another order than ``group_sites`` makes becomes a label."""
    monkeypatch.setattr(vasp_work_chain, "is_grouped", lambda _: True)
    _, node = run_get_node(VaspLabelWorkChain, **inputs_of() | {"structure": mixed})
    assert node.exit_status == CODES.ERROR_OTHER_STRUCTURE.status
    assert "another order" in node.exit_message
    assert "label" not in node.outputs


@pytest.mark.parametrize(("converged", "is_label"), [(False, False), (True, True)])
def test_output_that_is_no_label(label, inputs_of, converged: bool, is_label: bool) -> None:
    """Fails where an output that the parser lets pass is not judged by the policy; the second case is the control."""
    (child,) = calculations(label())
    output = child.outputs.misc.get_dict()
    output["run_status"]["electronic_converged"] = converged
    outputs = SimpleNamespace(misc=orm.Dict(output).store(), remote_folder=child.outputs.remote_folder)
    judged = SimpleNamespace(inputs=child.inputs, outputs=outputs)
    process = instantiate_process(get_manager().get_runner(), VaspLabelWorkChain, **inputs_of())
    process.ctx.children, process.ctx.recovery = [judged], {}
    code = process.read_label()
    if is_label:
        assert code is None
        return
    assert code.status == CODES.ERROR_NOT_A_LABEL.status
    assert "did not converge" in code.message

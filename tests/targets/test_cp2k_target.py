"""Cp2kTarget: the inputs it makes and what it refuses; its work chain with an engine that prints stored outputs.

aiida-cp2k is needed, CP2K is not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from cp2k import CHEAP, needs_plugin, silicon

from aiida_slhmc.targets.base import load_target, target_names

OUTPUTS = Path(__file__).parent / "cp2k_outputs"


def test_without_the_plugin(monkeypatch) -> None:
    """Fails where somebody without aiida-cp2k is not told what to install."""
    monkeypatch.setitem(sys.modules, "aiida_cp2k", None)
    for name in ("aiida_cp2k.calculations", "aiida_slhmc.targets.cp2k"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert "cp2k" in target_names()
    with pytest.raises(ValueError, match=r"pip install 'aiida-slhmc\[cp2k\]'"):
        load_target("cp2k")


@pytest.fixture
def printing_code(computer: orm.Computer, tmp_path: Path) -> Callable[..., orm.InstalledCode]:
    """Function: an engine that prints the stored outputs of these names, one in each run, the last one ever after."""

    def make(*names: str) -> orm.InstalledCode:
        script = tmp_path / "engine.sh"
        counter = tmp_path / "runs"
        lines = ["#!/bin/bash", f"echo run >> {counter}", f"n=$(wc -l < {counter})"]
        for number, name in enumerate(names, start=1):
            test = f'[ "$n" -ge {number} ]' if number == len(names) else f'[ "$n" -eq {number} ]'
            lines.append(f"{test} && cat {OUTPUTS / name} && echo PROGRAM STOPPED IN here")
        script.write_text("\n".join([*lines, "touch aiida-RESTART.wfn", "true", ""]))
        script.chmod(0o755)
        made = orm.InstalledCode(
            label=f"printing-{tmp_path.name}",
            computer=computer,
            filepath_executable=str(script),
            default_calc_job_plugin="cp2k",
        )
        made.with_mpi = False
        return made.store()

    return make


def inputs_of(code: orm.Code, functional: str = "r2scan", **options: Any) -> dict[str, Any]:
    structure = orm.StructureData(ase=silicon())
    made = load_target("cp2k").get_inputs(structure=structure, functional=functional, code=code, **(CHEAP | options))
    return made | {"structure": structure}


def run(*args: Any, restart_folder: orm.RemoteData | None = None, **options: Any) -> orm.WorkChainNode:
    inputs = inputs_of(*args, **options) | ({"restart_folder": restart_folder} if restart_folder else {})
    return run_get_node(load_target("cp2k").get_work_chain(), **inputs)[1]


def calculations(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return [child for child in node.called if isinstance(child, orm.CalcJobNode)]


def scf_of(node: orm.CalcJobNode) -> dict[str, Any]:
    return node.inputs.parameters["FORCE_EVAL"]["DFT"]["SCF"]


@needs_plugin
@pytest.mark.parametrize(("functional", "sections"), [("pbe", {"PBE"}), ("r2scan", {"MGGA_X_R2SCAN", "MGGA_C_R2SCAN"})])
def test_inputs_of_each_functional(vasp_code, functional: str, sections: set[str]) -> None:
    """Fails where a functional's settings would be refused at submission, or are another functional's."""
    made = inputs_of(vasp_code, functional)
    dft = made["parameters"]["FORCE_EVAL"]["DFT"]
    assert set(dft["XC"]["XC_FUNCTIONAL"]) == sections
    assert dft["MGRID"] == {"CUTOFF": 200, "REL_CUTOFF": 40}
    assert dft["RESTART_FILE_NAME"].endswith("aiida-RESTART.wfn")
    kind = {"_": "Si", "BASIS_SET": "SZV-MOLOPT-SR-GTH", "POTENTIAL": "GTH-PBE-q4"}
    assert made["parameters"]["FORCE_EVAL"]["SUBSYS"]["KIND"] == [kind]
    builder = load_target("cp2k").get_work_chain().get_builder()
    builder._update(made)  # the ports check as they do at submission


@needs_plugin
def test_inputs_with_kpoints(vasp_code) -> None:
    made = inputs_of(vasp_code, kpoints_mesh=[2, 2, 2])
    assert made["kpoints"].get_kpoints_mesh() == ([2, 2, 2], [0.0, 0.0, 0.0])
    assert made["parameters"]["FORCE_EVAL"]["DFT"]["RESTART_FILE_NAME"].endswith("aiida-RESTART.kp")
    shifted = orm.KpointsData()
    shifted.set_kpoints_mesh([2, 2, 2], offset=[0.5, 0, 0])
    builder = load_target("cp2k").get_work_chain().get_builder()
    with pytest.raises(ValueError, match="offset"):
        builder.kpoints = shifted


@needs_plugin
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"functional": "hse06"}, "one of pbe, r2scan"),
        ({"kpoint_mesh": [1, 1, 1]}, "did you mean 'kpoints_mesh'"),
        ({"kpoints_mesh": [1, 1]}, "three whole numbers"),
        ({"kinds": {"Ge": {}}}, "'Ge'"),
        ({"parameters": {"GLOBAL": {"RUN_TYPE": "MD"}}}, "ENERGY_FORCE"),
    ],
)
def test_wrong_options(vasp_code, options: dict[str, Any], message: str) -> None:
    """Fails where a wrong option is found by CP2K only, hours later, or not at all."""
    with pytest.raises(ValueError, match=message):
        inputs_of(vasp_code, **options)


@needs_plugin
def test_parameters_are_checked_at_submission(vasp_code) -> None:
    """Fails where parameters that did not come from the target are not looked at."""
    builder = load_target("cp2k").get_work_chain().get_builder()
    with pytest.raises(ValueError, match="EPS_SCF"):
        builder.parameters = orm.Dict({"FORCE_EVAL": {}})
    with pytest.raises(ValueError, match="wrong kind"):
        builder.parameters = orm.Dict({"FORCE_EVAL": {"DFT": {"SCF": {"MAX_SCF": "many"}}}})


@needs_plugin
def test_elements_without_a_basis(vasp_code) -> None:
    target, inputs = load_target("cp2k"), inputs_of(vasp_code)
    assert target.check_elements({"Si"}, inputs) is None
    assert "KIND for Ge" in str(target.check_elements({"Si", "Ge"}, inputs))


@needs_plugin
def test_not_converged_is_tried_in_other_ways(printing_code) -> None:
    """Fails where CP2K's mere warning passes for convergence, or a recovery is not on the label."""
    node = run(printing_code("si8_not_converged.out", "si8_r2scan.out"))
    assert node.is_finished_ok, node.exit_message
    first, second = calculations(node)
    assert first.is_finished_ok  # the plugin sees nothing wrong
    assert (scf_of(first)["MIXING"]["ALPHA"], scf_of(first)["MAX_SCF"]) == (0.4, 100)
    assert (scf_of(second)["MIXING"]["ALPHA"], scf_of(second)["MAX_SCF"]) == (0.2, 200)
    assert scf_of(second)["EPS_SCF"] == scf_of(first)["EPS_SCF"]
    assert node.outputs.label.base.attributes.get("recovery") == {"MIXING/ALPHA": 0.2, "MAX_SCF": 200}


@needs_plugin
def test_never_converged(printing_code) -> None:
    """Fails where there is a label all the same, or no end."""
    node = run(printing_code("si8_not_converged.out"))
    assert node.exit_status == 421
    assert len(calculations(node)) == 3
    assert "label" not in node.outputs


@needs_plugin
def test_prints_nothing(printing_code) -> None:
    """Fails where a calculation without an output becomes a label or is repeated for ever."""
    node = run(printing_code("no_such_file.out"))
    assert node.exit_status == 422
    assert len(calculations(node)) == 2


@needs_plugin
def test_folders_to_start_from(printing_code) -> None:
    """Fails where orbitals are not handed on, are after a failure, or are promised where they are not used."""
    code = printing_code("si8_r2scan.out", "si8_not_converged.out", "si8_r2scan.out")
    folder = run(code).outputs.remote_folder
    node = run(code, restart_folder=folder)
    first, second = calculations(node)
    assert first.inputs.parent_calc_folder.uuid == folder.uuid
    assert "parent_calc_folder" not in second.inputs
    assert node.outputs.label.base.attributes.get("recovery")["starting_density"] == "atomic"
    from_atoms = run(code, parameters={"FORCE_EVAL": {"DFT": {"SCF": {"SCF_GUESS": "ATOMIC"}}}})
    assert from_atoms.is_finished_ok
    assert "remote_folder" not in from_atoms.outputs

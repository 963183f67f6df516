"""QuantumEspressoTarget: the inputs it makes, and what it and the work chain refuse; pw.x itself is not needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import DataFactory, GroupFactory
from quantum_espresso import small_rutile

from aiida_slhmc.targets.base import load_target, target_names
from aiida_slhmc.targets.quantum_espresso import QuantumEspressoLabelWorkChain, QuantumEspressoTarget
from aiida_slhmc.targets.quantum_espresso_policy import RECOVERABLE_KEYS

FAMILY = "headers-only"


@pytest.fixture(scope="module")
def headers(aiida_profile: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A family of potentials that have no more than a header."""
    folder: Path = tmp_path_factory.mktemp("headers")
    for element, charge in (("Ti", 12), ("O", 6)):
        (folder / f"{element}.upf").write_text(f'<UPF version="2.0.1">\nelement="{element}"\nz_valence="{charge}"\n')
    GroupFactory("pseudo.family").create_from_folder(folder, FAMILY, pseudo_type=DataFactory("pseudo.upf"))
    return FAMILY


@pytest.fixture
def inputs_of(headers: str, vasp_code: orm.InstalledCode) -> Callable[..., dict[str, Any]]:
    """Function: inputs of the label work chain for rutile; any code will do, for it is never run."""

    def make(functional: str = "pbe", **options: Any) -> dict[str, Any]:
        structure = orm.StructureData(ase=small_rutile())
        options = {"code": vasp_code, "pseudo_family": headers} | options
        made = QuantumEspressoTarget.get_inputs(structure=structure, functional=functional, **options)
        return made | {"structure": structure}

    return make


def test_found_by_name() -> None:
    assert "quantum_espresso" in target_names()
    assert load_target("quantum_espresso") is QuantumEspressoTarget
    assert QuantumEspressoTarget.get_work_chain() is QuantumEspressoLabelWorkChain


@pytest.mark.parametrize("functional", ["lda", "pbe", "pbesol"])
def test_inputs_of_each_functional(inputs_of: Callable[..., dict[str, Any]], functional: str) -> None:
    """Fails where a functional's namelists would be refused, or are another functional's."""
    made = inputs_of(functional, options={"withmpi": False})
    system = made["parameters"]["SYSTEM"]
    assert system["input_dft"] == functional
    assert (system["ecutwfc"], system["ecutrho"], system["ecfixed"]) == (30, 160, 25)
    assert {name: pseudo.element for name, pseudo in made["pseudos"].items()} == {"Ti": "Ti", "O": "O"}
    assert made["kpoints"].get_kpoints_mesh() == ([1, 1, 2], [0.0, 0.0, 0.5])
    assert made["options"].get_dict()["withmpi"] is False
    assert "settings" not in made
    builder = QuantumEspressoLabelWorkChain.get_builder()
    builder._update(made)  # the ports check as they do at submission


def test_own_parameters_come_on_top(inputs_of: Callable[..., dict[str, Any]]) -> None:
    """Fails where a production family could not be given its own cutoffs without the step of the kinetic energy."""
    changes = {"system": {"ECUTWFC": 60, "ecutrho": 480, "ecfixed": None, "qcutz": None, "q2sigma": None}}
    made = inputs_of(parameters=changes)["parameters"].get_dict()
    assert (made["SYSTEM"]["ecutwfc"], made["SYSTEM"]["ecutrho"]) == (60, 480)
    assert "ecfixed" not in made["SYSTEM"]
    assert made["ELECTRONS"]["conv_thr"] == 1e-8


@pytest.mark.parametrize(
    ("options", "mesh", "is_gamma_only"),
    [
        ({"kpoints_mesh": [2, 2, 3]}, ([2, 2, 3], [0.0, 0.0, 0.0]), False),
        ({"kpoints_mesh": [2, 2, 2], "kpoints_offset": [0.5, 0.5, 0]}, ([2, 2, 2], [0.5, 0.5, 0.0]), False),
        ({"kpoints_mesh": [1, 1, 1]}, ([1, 1, 1], [0.0, 0.0, 0.0]), True),
    ],
)
def test_kpoints(
    inputs_of: Callable[..., dict[str, Any]], options: dict[str, Any], mesh: Any, is_gamma_only: bool
) -> None:
    """Fails where the offset of the default mesh is put on another, or the Γ point is calculated as a general one."""
    made = inputs_of(**options)
    assert made["kpoints"].get_kpoints_mesh() == mesh
    assert ("settings" in made) is is_gamma_only


@pytest.mark.parametrize(
    ("functional", "options", "message"),
    [
        ("b3lyp", {}, "functional must be one of lda, pbe, pbesol, not 'b3lyp'"),
        ("pbe", {"paramters": {}}, r"no target option 'paramters'; did you mean 'parameters'"),
        ("pbe", {"pseudo_family": "nowhere"}, "no pseudopotentials of O, Ti .*'nowhere'.*aiida-pseudo install"),
        ("pbe", {"parameters": {"SYSTEM": {"nosym": False}}}, "set SYSTEM.nosym = true"),
        ("pbe", {"parameters": {"IONS": {"ion_dynamics": "bfgs"}}}, "no namelist IONS"),
        ("pbe", {"kpoints_mesh": [1, 1]}, "kpoints_mesh takes three"),
        ("pbe", {"kpoints_offset": [0, 0, 0.3]}, "0 or 0.5 in each direction"),
    ],
)
def test_wrong_options(
    inputs_of: Callable[..., dict[str, Any]], functional: str, options: dict[str, Any], message: str
) -> None:
    """Fails where a wrong option is only found out by pw.x, or the message does not say what to do."""
    with pytest.raises(ValueError, match=message):
        inputs_of(functional, **options)


@pytest.mark.usefixtures("aiida_profile")
def test_missing_options() -> None:
    structure = orm.StructureData(ase=small_rutile())
    with pytest.raises(ValueError, match=r"lacks code, pseudo_family"):
        QuantumEspressoTarget.get_inputs(structure=structure, functional="pbe")


@pytest.mark.usefixtures("aiida_profile")
def test_family_without_an_element(headers: str, vasp_code: orm.InstalledCode) -> None:
    """Fails where the missing potential is only found out when the calculation is submitted."""
    atoms = small_rutile()
    atoms.symbols[0] = "Si"
    with pytest.raises(ValueError, match="no pseudopotentials of O, Si, Ti"):
        QuantumEspressoTarget.get_inputs(
            structure=orm.StructureData(ase=atoms), functional="pbe", code=vasp_code, pseudo_family=headers
        )


def test_check_elements(inputs_of: Callable[..., dict[str, Any]]) -> None:
    made = inputs_of()
    assert QuantumEspressoTarget.check_elements({"Ti", "O"}, made) is None
    assert "Si" in str(QuantumEspressoTarget.check_elements({"Ti", "O", "Si"}, made))


@pytest.mark.parametrize(
    ("port", "content", "message"),
    [
        ("parameters", {"CONTROL": {"calculation": "relax"}}, "CONTROL.calculation = 'scf'"),
        ("parameters", {"SYSTEM": {"ecutwfc": "much"}}, "wrong kind"),
        ("settings", {"ATOMIC_FORCES": []}, "not ATOMIC_FORCES"),
        ("kpoints", [[0.0, 0.0, 0.25]], "kpoints must be a mesh"),
    ],
)
def test_ports_refuse_at_submission(
    inputs_of: Callable[..., dict[str, Any]], port: str, content: Any, message: str
) -> None:
    """Fails where labels of another energy surface would only be found out later, or never."""
    if port == "kpoints":
        node: orm.Data = orm.KpointsData()
        node.set_kpoints(content)
    else:
        node = orm.Dict(content)
    builder = QuantumEspressoLabelWorkChain.get_builder()
    with pytest.raises(ValueError, match=message):
        builder._update(inputs_of() | {port: node})


@pytest.mark.parametrize(
    ("own", "is_kept"),
    [({}, False), ({"ELECTRONS": {"startingpot": "file"}}, True), ({"ELECTRONS": {"startingwfc": "file"}}, True)],
)
def test_restart_folder_is_only_used_where_it_is_read(
    inputs_of: Callable[..., dict[str, Any]], computer: orm.Computer, own: dict[str, Any], is_kept: bool
) -> None:
    """Fails where densities are copied and kept for nothing, or a start from them is not to be had."""
    folder = orm.RemoteData(computer=computer, remote_path="/nowhere").store()
    inputs = inputs_of(parameters=own) | {"restart_folder": folder}
    process = instantiate_process(get_manager().get_runner(), QuantumEspressoLabelWorkChain, **inputs)
    process.setup()
    assert process.keeps_density() is is_kept
    assert ("parent_folder" in process.ctx.inputs) is is_kept


@pytest.mark.parametrize(
    ("own", "first"),
    [
        ({}, {"mixing_beta": 0.2, "electron_maxstep": 200}),
        ({"electron_maxstep": 500, "mixing_beta": 0.05}, {"mixing_beta": 0.05, "electron_maxstep": 500}),
    ],
)
def test_recoveries_do_not_go_back(
    inputs_of: Callable[..., dict[str, Any]], own: dict[str, Any], first: dict[str, Any]
) -> None:
    """Fails where a recovery tries less than the user's own settings did."""
    inputs = inputs_of(parameters={"ELECTRONS": own})
    process = instantiate_process(get_manager().get_runner(), QuantumEspressoLabelWorkChain, **inputs)
    assert process.convergence_recoveries()[0] == first


def test_recoveries_are_allowed() -> None:
    """Fails where the work chain has a recovery that the policy refuses."""
    recoveries = QuantumEspressoLabelWorkChain.CONVERGENCE_RECOVERIES
    assert recoveries
    assert all(set(changes) <= RECOVERABLE_KEYS for changes in recoveries)

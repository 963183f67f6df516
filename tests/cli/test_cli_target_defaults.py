"""What a dump says of the target gives the inputs that the options give, whatever becomes of the target's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from fixtures import rutile_atoms

from aiida_slhmc.cli import target_defaults
from aiida_slhmc.cli.target_defaults import target_written_out
from aiida_slhmc.targets import vasp
from aiida_slhmc.targets.base import load_target

SPIN = {"magnetic_moments": {"Ti": 1.0}, "hubbard_u": {"Ti": ["d", 3.0]}}


def plain(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs as values."""
    found: dict[str, Any] = {}
    for name, node in inputs.items():
        if isinstance(node, dict):
            found[name] = {key: value.uuid for key, value in node.items()}
        elif isinstance(node, orm.KpointsData):
            found[name] = node.get_kpoints_mesh()
        else:
            found[name] = node.get_dict() if isinstance(node, orm.Dict) else str(node)
    return found


@pytest.mark.parametrize(
    ("target", "functional", "options"),
    [
        ("vasp", "r2scan", {}),
        ("vasp", "pbe", {"incar": {"encut": 600, "LREAL": None}, "kpoints_mesh": [2, 2, 2], **SPIN}),
        ("vasp", "pbe", {"incar": {"ISPIN": 2, "MAGMOM": "6*0.5"}, "options": {"withmpi": False}}),
        ("quantum_espresso", "pbesol", {}),
        ("quantum_espresso", "pbe", {"parameters": {"system": {"ECFIXED": None, "qcutz": None, "q2sigma": None}}}),
        ("quantum_espresso", "pbe", {"kpoints_mesh": [2, 2, 2]}),
        ("cp2k", "pbe", {"parameters": {"force_eval": {"dft": {"mgrid": {"cutoff": 500}}}}}),
        ("cp2k", "r2scan", {"kinds": {"Ti": {"BASIS_SET": "TZVP-MOLOPT-SR-GTH"}}, "kpoints_mesh": [1, 1, 2]}),
    ],
)
def test_same_inputs(
    target: str,
    functional: str,
    options: dict[str, Any],
    structure: orm.StructureData,
    family: str,
    pseudo_family: Any,
    vasp_code: orm.Code,
    tmp_path: Path,
) -> None:
    """Fails where what is written out leads to other inputs than what was given."""
    if target == "cp2k":
        pytest.importorskip("aiida_cp2k", reason="the plugin of CP2K is not installed: make engines")
    own = {"vasp": {"potential_family": family}, "quantum_espresso": {"pseudo_family": str(pseudo_family)}, "cp2k": {}}
    given = own[target] | {"code": vasp_code} | options
    file = tmp_path / "rutile.vasp"
    rutile_atoms().write(file, format="vasp")
    written = target_written_out(target, functional, given, str(file))
    adapter = load_target(target)
    before, after = (
        plain(adapter.get_inputs(structure=structure, functional=functional, **chosen)) for chosen in (given, written)
    )
    assert before == after
    assert len(written) > len(given)


def test_a_file_that_changes_later(
    structure: orm.StructureData, family: str, vasp_code: orm.Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails where a setting of the target's file is not in the dump."""
    given = {"code": vasp_code, "potential_family": family}
    written = target_written_out("vasp", "pbe", given, "")
    before = vasp.VaspTarget.get_inputs(structure=structure, functional="pbe", **written)
    read = target_defaults.read_settings("vasp")
    changed = read | {
        "common": read["common"] | {"ENCUT": 999, "SIGMA": 0.9},
        "options": read["options"] | {"max_wallclock_seconds": 7},
    }
    monkeypatch.setattr(vasp, "read_settings", lambda _: changed)
    after = vasp.VaspTarget.get_inputs(structure=structure, functional="pbe", **written)
    assert plain(before) == plain(after)
    assert vasp.VaspTarget.get_inputs(structure=structure, functional="pbe", **given)["parameters"]["encut"] == 999


def test_ase_and_targets_of_others() -> None:
    written = target_written_out("ase", "gfn2", {"arguments": {"accuracy": 0.1}}, "")
    assert written["arguments"] == {"method": "GFN2-xTB", "accuracy": 0.1, "max_iterations": 500, "verbosity": 0}
    assert written["calculator"] == "tblite.ase.TBLite"
    own = {"calculator": "ase.calculators.emt.EMT"}
    assert target_written_out("ase", "emt", own, "") | {"options": {}} == own | {"options": {}}
    assert target_written_out("somebodys", "pbe", {"a": 1}, "") == {"a": 1}

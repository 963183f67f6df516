"""The next self-consistency starts from the last one's WAVECAR or CHGCAR; and what stays on the cluster."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from fixtures import rutile_atoms

from aiida_slhmc.targets.vasp_work_chain import restart_file

COLD, WARM = 14, 9  # the stand-in's iterations with ALGO = Normal and EDIFF = 1e-6


def iterations(node: orm.WorkChainNode) -> int:
    return node.outputs.label.base.attributes.get("scf_iterations")


def recovery(node: orm.WorkChainNode) -> dict[str, Any]:
    return node.outputs.label.base.attributes.get("recovery")


def last_parameters(node: orm.WorkChainNode) -> dict[str, Any]:
    return node.outputs.label.creator.inputs.used.get_dict()


@pytest.fixture(scope="module")
def moved(aiida_profile) -> orm.StructureData:
    """A configuration near that of the other fixtures."""
    return orm.StructureData(ase=rutile_atoms(seed=2)).store()


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ({}, "WAVECAR"),
        ({"lwave": True, "lcharg": False}, "WAVECAR"),
        ({"lwave": False}, "CHGCAR"),
        ({"lwave": ".FALSE.", "lcharg": ".FALSE."}, None),
        ({"istart": 0}, "CHGCAR"),
        ({"istart": 0, "lcharg": False}, None),
        ({"lwave": False, "icharg": 2}, None),
    ],
)
def test_file_that_the_next_one_starts_from(tags: dict[str, Any], kept: str | None) -> None:
    """Fails where a folder is kept that is of no use, or one that is of use is not."""
    assert restart_file(tags) == kept


@pytest.mark.parametrize(
    ("tags", "icharg"), [({}, None), ({"lwave": False, "lcharg": True}, 1)], ids=["WAVECAR", "CHGCAR"]
)
def test_warm_start(label, moved, tags: dict[str, Any], icharg: int | None) -> None:
    """Fails where the second label does not start from the first, or gets another energy or forces from it."""
    first = label(**tags)
    assert (iterations(first), recovery(first)) == (COLD, {})
    cold = label(structure=moved, **tags)
    warm = label(structure=moved, restart_folder=first.outputs.remote_folder, **tags)
    assert (iterations(cold), iterations(warm)) == (COLD, WARM)
    assert warm.outputs.label.energy == cold.outputs.label.energy
    np.testing.assert_array_equal(warm.outputs.label.arrays()["forces"], cold.outputs.label.arrays()["forces"])
    assert last_parameters(warm).get("icharg") == icharg
    assert recovery(warm) == {}, "a start from the last label is no recovery"


def test_nothing_kept(label) -> None:
    """Fails where a folder without orbitals and density is offered as a start."""
    assert "remote_folder" not in label(lwave=False).outputs


@pytest.mark.parametrize("tags", [{}, {"lwave": False, "lcharg": True}], ids=["WAVECAR", "CHGCAR"])
def test_restart_folder_that_is_gone(label, moved, tags: dict[str, Any]) -> None:
    """Fails where a scratch disk that was cleaned costs the label, or the start from the atoms is not on record."""
    folder = label(**tags).outputs.remote_folder
    shutil.rmtree(folder.get_remote_path())
    node = label(structure=moved, restart_folder=folder, **tags)
    assert node.is_finished_ok, node.exit_message
    assert iterations(node) == COLD
    assert recovery(node) == {"starting_density": "atomic"}
    assert "icharg" not in last_parameters(node)


def test_damaged_wavecar(label, moved) -> None:
    """Fails where VASP stops on the WAVECAR that it is given, and the label is lost."""
    folder = label().outputs.remote_folder
    node = label("bad_wavecar", structure=moved, restart_folder=folder)
    assert node.is_finished_ok, node.exit_message
    assert [child.exit_status for child in node.called if isinstance(child, orm.CalcJobNode)] == [352, 0]
    assert iterations(node) == COLD
    assert recovery(node) == {"starting_density": "atomic"}


def test_convergence_recovery_starts_from_the_atoms(label, moved) -> None:
    """Fails where the orbitals that did not converge are taken along, or the label does not tell."""
    folder = label().outputs.remote_folder
    node = label("not_converged_normal", structure=moved, restart_folder=folder, algo="Fast")
    assert node.is_finished_ok, node.exit_message
    assert iterations(node) == COLD
    assert recovery(node) == {"algo": "Normal", "nelm": 200, "starting_density": "atomic"}


def test_files_that_are_retrieved(label) -> None:
    """Fails where large or licensed files travel; on the cluster they are there."""
    (child,) = (child for child in label(lcharg=True).called if isinstance(child, orm.CalcJobNode))
    scheduler = {"_scheduler-stdout.txt", "_scheduler-stderr.txt"}
    assert (
        set(child.outputs.retrieved.list_object_names())
        == {"CONTCAR", "OUTCAR", "vasprun.xml", "vasp_output"} | scheduler
    )
    assert "POTCAR" not in child.base.repository.list_object_names()
    on_cluster = {path.name for path in Path(child.outputs.remote_folder.get_remote_path()).iterdir()}
    assert {"WAVECAR", "CHGCAR", "POTCAR"} <= on_cluster

"""Densities of the walkers stay on the computer and start their next labels; all other work folders are removed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from aiida import orm
from run_examples import called, computed

from aiida_slhmc.calculations.mace_proposal import MaceProposalCalculation
from aiida_slhmc.targets.vasp import VaspLabelWorkChain
from aiida_slhmc.workflows.remote_folders import check_restart_folders, clean, start_from


@pytest.fixture
def folder(computer, tmp_path) -> orm.RemoteData:
    """A folder on the computer with a file in it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "WAVECAR").write_text("waves")
    return orm.RemoteData(remote_path=str(tmp_path / "work"), computer=computer).store()


def test_an_epoch_keeps_the_densities_of_its_walkers_only(cut_before_training) -> None:
    """Fails where folders pile up, or where one is removed from which a walker's next label would start."""
    (epoch,) = called(cut_before_training, "EpochWorkChain")
    kept = {node.uuid for node in epoch.outputs.restart_folders.values()}
    jobs = computed(epoch, "VaspCalculation") + computed(epoch, "MaceProposalCalculation")
    left = {job.outputs.remote_folder.uuid for job in jobs if not job.outputs.remote_folder.is_cleaned}
    assert left == kept & {job.outputs.remote_folder.uuid for job in jobs}
    for job in jobs:
        there = Path(job.outputs.remote_folder.get_remote_path(), "_aiidasubmit.sh").exists()
        assert there == (job.outputs.remote_folder.uuid in kept)


def test_labels_start_from_the_density_of_their_walkers_state(cut_before_training) -> None:
    """Fails where a label starts from the atoms, or from the density of another walker's or of a rejected state."""
    (epoch,) = called(cut_before_training, "EpochWorkChain")
    state = {k: epoch.inputs.restart_folders[f"walker_{k}"].uuid for k in range(2)}
    for cycle in range(2):
        names = {link.link_label: link.node for link in epoch.base.links.get_outgoing().all()}
        labels = [names[f"label_{cycle:05d}_{k}"] for k in range(2)]
        assert [label.inputs.restart_folder.uuid for label in labels] == [state[0], state[1]]
        accepted = names[f"decide_{cycle:05d}"].outputs.result["accepted"]
        state |= {k: labels[k].outputs.remote_folder.uuid for k in range(2) if accepted[k]}
    assert {k: epoch.outputs.restart_folders[f"walker_{k}"].uuid for k in range(2)} == state


def test_a_warm_start_saves_iterations(cut_before_training) -> None:
    """Fails where the density is handed on, but not used."""
    labels = called(cut_before_training, "VaspLabelWorkChain")
    first, *others = (node.outputs.label.base.attributes.get("scf_iterations") for node in labels)
    assert max(others) < first


def test_clean(folder) -> None:
    """Fails where what is to be removed stays, or a second time is an error."""
    assert clean([folder]) is None
    assert folder.is_cleaned
    assert not Path(folder.get_remote_path()).exists()
    assert clean([folder]) is None


def test_clean_without_a_connection(folder, monkeypatch) -> None:
    """Fails where a computer that is down takes a run along, or nobody is told."""
    monkeypatch.setattr(orm.RemoteData, "get_authinfo", lambda self: (_ for _ in ()).throw(OSError("no route")))
    assert "no route" in clean([folder])
    assert not folder.is_cleaned


def test_another_runs_folder_stays(folder, monkeypatch) -> None:
    """Fails where the folder of a job that was taken from the cache, which is the original's, is removed."""
    cached = SimpleNamespace(base=SimpleNamespace(caching=SimpleNamespace(is_created_from_cache=True)))
    monkeypatch.setattr(orm.RemoteData, "creator", cached)
    assert clean([folder]) is None
    assert Path(folder.get_remote_path()).exists()


def test_only_where_the_engine_can(folder) -> None:
    """Fails where an engine gets an input that it does not have."""
    assert start_from(VaspLabelWorkChain, folder.uuid)["restart_folder"].uuid == folder.uuid
    assert start_from(MaceProposalCalculation, folder.uuid) == {}
    assert start_from(VaspLabelWorkChain, None) == {}


def test_restart_folders_that_cannot_be(folder, vasp_code) -> None:
    """Fails where a density on another computer, or of no walker, is found out in the run only; the last is right."""
    elsewhere = SimpleNamespace(computer=SimpleNamespace(uuid="other", label="elsewhere"))
    inputs = {"target": {"code": vasp_code}, "restart_folders": {"walker_0": folder, "walker_1": elsewhere}}
    assert "'elsewhere'" in check_restart_folders(inputs, 2)
    assert "walker_1 belongs to no walker" in check_restart_folders(inputs, 1)
    inputs["restart_folders"].pop("walker_1")
    assert check_restart_folders(inputs, 2) is None

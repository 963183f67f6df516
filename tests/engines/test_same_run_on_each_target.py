"""One self-learning run, its target swapped by one argument: a stand-in for VASP, real DFT, tight binding.

Two walkers, two epochs of two cycles, a fine-tuning after each; the foundation knows LDA.
"""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from quantum_espresso import needs_pw

ENGINES = {"vasp": "vasp-standin", "quantum_espresso": "quantum_espresso", "ase": "tblite.ase.TBLite"}
TARGETS = [
    "vasp",
    pytest.param("ase", marks=[pytest.mark.slow, pytest.mark.long]),
    pytest.param("quantum_espresso", marks=[needs_pw, pytest.mark.slow]),
]


def labels_of(run: orm.WorkChainNode) -> list[orm.Data]:
    """All labels of a run, the start's first."""
    children = [child for child in run.called_descendants if child.process_label.endswith("LabelWorkChain")]
    return [child.outputs.label for child in sorted(children, key=lambda child: child.pk)]


@pytest.fixture(params=TARGETS)
def run(request, run_on) -> orm.WorkChainNode:
    if request.param == "ase":
        pytest.importorskip("tblite", reason="GFN1-xTB is missing: pip install tblite")
    return run_on(request.param)


def test_finishes_with_all_labels(run) -> None:
    """Fails where a target ends early, loses labels, or labels with something else than was asked for."""
    assert run.is_finished_ok, run.exit_message
    labels = labels_of(run)
    assert len(labels) == 1 + 8
    engine = ENGINES[run.inputs.target.engine.value]
    assert {label.base.attributes.get("engine") for label in labels} == {engine}
    assert len({label.base.attributes.get("functional") for label in labels}) == 1
    assert sum(block.n_frames for block in run.outputs.datasets.values()) == 8


def test_the_model_learns_the_target(run) -> None:
    """Fails where labels do not reach the training: the energies are off by eV, so one update must be seen."""
    first, second = run.outputs.history["epochs"]
    assert second["energy_rmse_mev_per_atom"] < 0.2 * first["energy_rmse_mev_per_atom"]
    assert len(run.outputs.model.creator.inputs.datasets) == 2


def test_stress_is_the_change_of_the_energy_with_the_cell(run) -> None:
    """Fails where a target's stress has the wrong sign or unit: pressures of one structure are within some GPa."""
    for label in labels_of(run):
        stress = label.arrays()["stress"]
        np.testing.assert_allclose(stress, stress.T, atol=1e-6)
        assert np.abs(stress).max() < 0.3  # eV/Å³: 48 GPa


@needs_pw
@pytest.mark.slow
def test_densities_start_the_next_labels_and_are_removed(run_on) -> None:
    """Fails where end points start from the atoms although they are to start from files, or folders pile up."""
    run = run_on("quantum_espresso")
    jobs = [child for child in run.called_descendants if isinstance(child, orm.CalcJobNode)]
    labels = [job for job in jobs if job.process_label == "PwCalculation"]
    assert sum("parent_folder" in job.inputs for job in labels) == len(labels) - 1
    ended_well = [job for job in jobs if job.is_finished_ok]
    left = {job.outputs.remote_folder.uuid for job in ended_well if not job.outputs.remote_folder.is_cleaned}
    assert left == {folder.uuid for folder in run.outputs.restart_folders.values()}


@needs_pw
@pytest.mark.slow
@pytest.mark.long
def test_npt_with_real_dft(run_on) -> None:
    """Fails where cells that move are not labelled, or the density of another cell cannot start them."""
    run = run_on("quantum_espresso", "npt", label_budget=4)
    assert run.is_finished_ok, run.exit_message
    labels = labels_of(run)
    assert len({round(label.base.attributes.get("volume"), 6) for label in labels}) == len(labels)
    assert all(label.base.attributes.get("recovery") == {} for label in labels)

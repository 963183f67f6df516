"""The epochs of a run side by side and as one chain."""

import json

import numpy as np
import pytest
from chains import ABOUT, KT, ar1, stationary_chain

from aiida_slhmc.analysis.convergence import effective_sample_size
from aiida_slhmc.analysis.epoch_summary import summarise
from aiida_slhmc.analysis.run_summary import summarise_chains


def run_of(n_epochs, n_cycles, **options):
    """Epochs cut from chains whose energies go on from one epoch to the next."""
    energy = ar1(np.random.default_rng(2), 0.5, n_epochs * n_cycles, 4)
    return [
        (
            stationary_chain(
                epoch, n_cycles=n_cycles, energy=energy[epoch * n_cycles : (epoch + 1) * n_cycles], **options
            ),
            ABOUT | {"epoch": epoch},
        )
        for epoch in range(n_epochs)
    ]


def test_epochs_and_labels():
    chains = run_of(3, 5)
    history = summarise_chains(chains)
    assert history["epochs"] == [summarise(*chain) for chain in chains]
    assert [epoch["epoch"] for epoch in history["epochs"]] == [0, 1, 2]
    assert history["labels"] == 60
    json.dumps(history, allow_nan=False)


def test_run_is_one_chain():
    """Short epochs say nothing about correlation; all of them together do."""
    chains = run_of(40, 5)
    history = summarise_chains(chains)
    run = history["run"]
    energy = np.concatenate([chain["energy"] for chain, _ in chains])
    assert all(epoch["energy_effective_sample_size"] is None for epoch in history["epochs"])
    assert run["energy_effective_sample_size"] == pytest.approx(effective_sample_size(energy))
    assert run["energy_autocorrelation_time"] == pytest.approx(3, rel=0.25)
    assert (run["n_cycles"], run["n_walkers"], run["labels"], run["failed_labels"]) == (200, 4, 800, 0)
    weights = np.exp(-np.concatenate([chain["delta_h"] for chain, _ in chains]) / KT)
    assert run["creutz"] == pytest.approx(weights.mean())
    assert run["acceptance"] == pytest.approx(np.mean([epoch["acceptance"] for epoch in history["epochs"]]))
    assert (run["diverged"], run["pressure"], run["cell_degrees_of_freedom"]) == (0, 0.0, "full")
    assert run["warnings"] == []


def test_models_that_improve_are_no_fault():
    """The spread of ΔH changes from epoch to epoch, so that one σ does not predict the acceptance."""
    good, poor = run_of(10, 5, sigma=0.1 * KT), run_of(10, 5, sigma=6 * KT)
    assert summarise_chains([*poor, *good])["run"]["warnings"] == []


def test_warnings_of_the_whole():
    """No epoch is long enough to be accused of its drift; the run is."""
    chains = run_of(20, 5)
    for i, (chain, _) in enumerate(chains):
        chain["energy"] += 0.3 * i
    history = summarise_chains(chains)
    assert all(epoch["warnings"] == [] for epoch in history["epochs"])
    assert any("R-hat of the energy" in sentence for sentence in history["run"]["warnings"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 400.0),
        ("ensemble", "nvt"),
        ("n_atoms", 12),
        ("pressure", 2.0),
        ("cell_degrees_of_freedom", "isotropic"),
    ],
)
def test_epochs_that_are_no_one_chain(key, value):
    chains = run_of(2, 5)
    chains[1][1][key] = value
    history = summarise_chains(chains)
    assert history["run"] == {"warnings": [f"The epochs differ in {key}: they were not read as one chain."]}
    assert history["labels"] == 40


def test_other_number_of_walkers():
    chains = [*run_of(1, 5), (stationary_chain(n_cycles=5, n_walkers=2), ABOUT)]
    assert "n_walkers" in summarise_chains(chains)["run"]["warnings"][0]

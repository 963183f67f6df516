"""The forward error of each epoch, against the epoch's summary and by hand."""

import json
import math

import numpy as np
import pytest
from chains import ABOUT, stationary_chain

from aiida_slhmc.analysis.epoch_summary import summarise
from aiida_slhmc.analysis.forward_errors import forward_error_curve

NAN = math.nan
NAMES = ("force_rmse_mev_per_angstrom", "energy_rmse_mev_per_atom", "energy_rmse_centred_mev_per_atom")


def gaps(n_cycles=20, n_walkers=3):
    """A chain in which every fifth label failed."""
    chain = stationary_chain(n_cycles=n_cycles, n_walkers=n_walkers)
    missing = (np.arange(n_cycles * n_walkers) % 5 == 0).reshape(n_cycles, n_walkers)
    return chain | {name: np.where(missing, NAN, chain[name]) for name in ("energy_error", "force_rmse", "delta_h")}


def errors_only(energy, force):
    """A chain of one walker with these errors and nothing else."""
    return {"energy_error": np.array([energy]).T, "force_rmse": np.array([force]).T}


def test_by_hand():
    """Errors of 6 and 18 meV in six atoms: mean 2, deviation 1 meV/atom. The first epoch saw no label, the next two."""
    chain = errors_only([0.006, NAN, 0.018], [0.03, NAN, 0.04])
    first, second = forward_error_curve([(chain, ABOUT), (chain, ABOUT | {"epoch": 4})])
    assert [first[name] for name in NAMES] == pytest.approx([math.sqrt(1250), math.sqrt(5), 1.0])
    assert first["energy_offset_mev_per_atom"] == pytest.approx(2.0)
    assert (first["epoch"], first["labels_before"], first["labels"]) == (3, 0, 2)
    assert (second["epoch"], second["labels_before"], second["labels"]) == (4, 2, 2)
    assert {key: value for key, value in first.items() if key not in ("epoch", "labels_before")} == {
        key: value for key, value in second.items() if key not in ("epoch", "labels_before")
    }


def test_is_what_the_summaries_say():
    chains = [(gaps(), ABOUT), (stationary_chain(1), ABOUT | {"epoch": 4}), (stationary_chain(2), ABOUT)]
    curve = forward_error_curve(chains)
    for (chain, about), row in zip(chains, curve, strict=True):
        summary = summarise(chain, about)
        assert [row[name] for name in (*NAMES, "labels")] == pytest.approx(
            [summary[name] for name in (*NAMES, "labels")]
        )
    assert [row["labels_before"] for row in curve] == [0, 48, 448]


def test_errors_of_the_errors():
    """Of n normal errors of mean zero: σ/√(2n) for both root mean squares, σ/√n for the offset."""
    n_labels, energy, force = 4000, np.random.default_rng(0).normal(0, 0.06, 4000), np.full(4000, 0.05)
    (row,) = forward_error_curve([(errors_only(energy, force), ABOUT)], n_resamples=1000)
    for name in NAMES[1:]:
        assert row[f"{name}_error"] == pytest.approx(10 / math.sqrt(2 * n_labels), rel=0.1)
    assert row["energy_offset_mev_per_atom_error"] == pytest.approx(10 / math.sqrt(n_labels), rel=0.1)
    assert row[f"{NAMES[0]}_error"] == pytest.approx(0, abs=1e-9)


def test_blocks_of_related_labels():
    """Each error ten times over; control: labels taken as independent are too sure of it."""
    energy = np.repeat(np.random.default_rng(0).normal(0, 0.06, 200), 10)
    chain = errors_only(energy, np.abs(energy))
    alone, blocks = (forward_error_curve([(chain, ABOUT)], block_length=length)[0] for length in (1, 10))
    for name in (f"{name}_error" for name in NAMES):
        assert blocks[name] == pytest.approx(math.sqrt(10) * alone[name], rel=0.2)


def test_walkers_are_all_counted():
    """Three walkers of one label each are as three cycles of one walker."""
    one = {"energy_error": np.array([[0.01, 0.02, 0.04]]), "force_rmse": np.array([[0.1, 0.2, 0.3]])}
    other = {name: values.T for name, values in one.items()}
    assert forward_error_curve([(one, ABOUT)]) == forward_error_curve([(other, ABOUT)])


def test_what_cannot_be_known():
    """No label, and one label: its error has no spread."""
    none = errors_only([NAN, NAN], [NAN, NAN])
    one = errors_only([0.006, NAN], [0.03, NAN])
    rows = forward_error_curve([(none, ABOUT), (one, ABOUT)])
    json.dumps(rows, allow_nan=False)
    assert (rows[0]["labels"], rows[0]["force_rmse_mev_per_angstrom"]) == (0, None)
    assert (rows[1]["labels"], rows[1]["labels_before"]) == (1, 0)
    assert rows[1]["force_rmse_mev_per_angstrom"] == pytest.approx(30)
    assert rows[1]["force_rmse_mev_per_angstrom_error"] is None


def test_nothing():
    assert forward_error_curve([]) == []

"""Energy references: fits, rank, and that the model really changes."""

import numpy as np
import pytest
from worker_examples import make_model, predict, rutile_frames

from aiida_slhmc.worker.references import fit, get_atomic_energies, set_atomic_energies

OLD = {"H": 0.5, "O": -4.0, "Ti": -7.0}
RUTILE = ["Ti"] * 2 + ["O"] * 4
MIXED = [RUTILE, ["Ti"] * 3 + ["O"] * 4, ["O"] * 2]


def total(table, frames):
    return np.array([sum(table[symbol] for symbol in frame) for frame in frames])


def test_keep():
    result = fit("keep", OLD, symbols=[RUTILE], target=np.array([1.0]))
    assert (result.table, result.rank, result.warning) == (OLD, None, None)


def test_average_recovers_a_table_where_the_data_determine_it():
    true = {"O": -3.0, "Ti": -9.0}
    result = fit("average", OLD, symbols=MIXED, target=total(true, MIXED))
    assert result.table == pytest.approx({"H": 0.5, **true})
    assert (result.rank, result.warning) == (2, None)


def test_rank_one_is_reported_and_solved_with_minimum_norm():
    result = fit("average", OLD, symbols=[RUTILE] * 3, target=np.full(3, -60.0))
    assert result.rank == 1
    assert "rank 1 for 2 elements (O, Ti)" in result.warning
    # minimum norm: proportional to the composition (4, 2), fixed by 4 a + 2 b = -60
    assert result.table["O"] == pytest.approx(-12.0)
    assert result.table["Ti"] == pytest.approx(-6.0)
    assert result.table["H"] == 0.5


def test_shift_adds_the_least_correction():
    predicted = np.array([-50.0, -51.0, -49.0])
    result = fit("shift", OLD, symbols=[RUTILE] * 3, target=predicted - 10.0, predicted=predicted)
    assert result.rank == 1
    assert result.table == pytest.approx({"H": 0.5, "O": -4.0 - 2.0, "Ti": -7.0 - 1.0})
    exact = fit("shift", OLD, symbols=MIXED, target=predicted + total({"O": 1, "Ti": -2}, MIXED), predicted=predicted)
    assert exact.table == pytest.approx({"H": 0.5, "O": -3.0, "Ti": -9.0})
    assert exact.warning is None


def test_explicit():
    result = fit("explicit", OLD, symbols=[RUTILE], target=np.zeros(1), table={"Ti": -1, "O": -2})
    assert result.table == {"H": 0.5, "O": -2.0, "Ti": -1.0}
    with pytest.raises(ValueError, match="lacks O"):
        fit("explicit", OLD, symbols=[RUTILE], target=np.zeros(1), table={"Ti": -1})
    with pytest.raises(ValueError, match="Fe, which the model does not know"):
        fit("explicit", OLD, symbols=[RUTILE], target=np.zeros(1), table={"Ti": -1, "O": -2, "Fe": 0})


def test_misuse():
    with pytest.raises(ValueError, match="unknown reference method 'averge'"):
        fit("averge", OLD, symbols=[RUTILE], target=np.zeros(1))
    with pytest.raises(ValueError, match="need the model's energies"):
        fit("shift", OLD, symbols=[RUTILE], target=np.zeros(1))


def test_setting_references_changes_the_energy_and_nothing_else(model):
    atoms = rutile_frames(1)[0]
    before, old = predict(model, atoms), get_atomic_energies(model)
    set_atomic_energies(model, {"Ti": old["Ti"] + 0.25})
    after = predict(model, atoms)
    assert after["energy"] - before["energy"] == pytest.approx(0.5, abs=1e-12)
    np.testing.assert_allclose(after["forces"], before["forces"], atol=1e-12)
    assert get_atomic_energies(model) == {"O": old["O"], "Ti": old["Ti"] + 0.25}
    with pytest.raises(ValueError, match="Fe"):
        set_atomic_energies(model, {"Fe": 1.0})


def test_several_heads_are_refused():
    with pytest.raises(ValueError, match="2 heads"):
        get_atomic_energies(make_model(heads=("a", "b")))

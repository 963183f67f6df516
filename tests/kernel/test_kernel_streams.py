"""Random streams: their key, all of it and nothing else, decides the numbers."""

from itertools import combinations

import numpy as np
import pytest

from aiida_slhmc.kernel.streams import Purpose, random_stream

RECORDED = [0.3896632161764211, 0.20547735287245794]
KEY = {"seed": 7, "epoch": 1, "cycle": 2, "purpose": Purpose.MOMENTA, "walker": 3}
CHANGES = [{"seed": 8}, {"epoch": 0}, {"cycle": 3}, {"purpose": Purpose.STEPS}, {"walker": 0}]


def numbers(**change):
    return random_stream(**{**KEY, **change}).random(5)


def test_same_key_same_numbers():
    """Would fail if a generator's state were carried from call to call."""
    first = numbers()
    np.random.default_rng(0).random(3)
    np.testing.assert_array_equal(numbers(), first)


def test_numbers_are_those_of_this_release():
    """Would fail if keys were derived differently: stored runs could then no longer be replayed."""
    np.testing.assert_array_equal(numbers()[:2], RECORDED)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_part_of_the_key_counts(change):
    assert not np.any(numbers(**change) == numbers())


def test_keys_that_share_their_integers_in_another_order_differ():
    """Would fail for a key that is a sum or a string of its parts: (epoch 1, cycle 12) and (epoch 11, cycle 2)."""
    places = [(1, 12), (11, 2), (2, 11), (12, 1), (112, 0), (0, 112)]
    streams = [numbers(epoch=epoch, cycle=cycle) for epoch, cycle in places]
    assert all(not np.any(one == other) for one, other in combinations(streams, 2))


def test_neighbouring_walkers_are_uncorrelated():
    """5000 pairs; |r| < 3.29 / sqrt(5000) fails one time in a thousand for true independence (the seed is fixed)."""
    first, second = (random_stream(0, 0, 0, Purpose.MOMENTA, walker).standard_normal(5000) for walker in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 3.29 / np.sqrt(5000)


@pytest.mark.parametrize("name", ["seed", "epoch", "cycle", "walker"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(ValueError, match="must not be negative"):
        numbers(**{name: -1})


def test_purposes_are_distinct_and_keep_their_numbers():
    """They are part of the key: a renumbering would change every stored run's replay."""
    assert {purpose.name: purpose.value for purpose in Purpose} == {"MOMENTA": 0, "METROPOLIS": 1, "STEPS": 2}

"""Which labels take part in a fine-tuning."""

import pytest
from worker_examples import rutile_frames

from aiida_slhmc.worker.dataset import Frame, split_blocks
from aiida_slhmc.worker.fine_tune_options import SelectionParameters
from aiida_slhmc.worker.selection import select


def blocks_of(n, size=10):
    frames = [Frame(atoms, 0.0, atoms.positions, None, None) for atoms in rutile_frames(n * size, seed=5)]
    return split_blocks([frames[i * size : (i + 1) * size] for i in range(n)], 0.1)


@pytest.fixture(scope="module")
def blocks():
    return blocks_of(6)


def contents(frames):
    return [frame.content for frame in frames]


def choose(blocks, method="all", size=None):
    return select(blocks, SelectionParameters(method, size))


def test_all(blocks):
    chosen = choose(blocks)
    assert (len(chosen.training), len(chosen.validation)) == (54, 6)


@pytest.mark.parametrize("method", ["window", "reservoir"])
def test_the_newest_block_whole_and_so_many_of_the_older_ones(blocks, method):
    chosen = choose(blocks, method, 18)
    assert (len(chosen.training), len(chosen.validation)) == (18 + 9, 2 + 1)
    assert contents(chosen.training)[-9:] == contents(blocks[-1].training)
    assert contents(chosen.validation)[-1:] == contents(blocks[-1].validation)
    everything = choose(blocks)
    assert set(contents(chosen.training)) <= set(contents(everything.training))  # roles are kept
    assert set(contents(chosen.validation)) <= set(contents(everything.validation))


def test_a_window_has_the_latest(blocks):
    assert contents(choose(blocks, "window", 12).training)[:12] == contents(choose(blocks[:-1]).training)[-12:]
    assert len(choose(blocks, "window", 0).training) == 9


def test_a_reservoir_changes_little_and_has_all_ages():
    """From one update to the next it loses only what newer labels displace."""
    blocks = blocks_of(20, size=6)
    before, after = (set(contents(choose(blocks[:n], "reservoir", 30).training[:30])) for n in (19, 20))
    newcomers = set(contents(blocks[18].training))
    assert before - after <= before
    assert after - before <= newcomers
    assert len(after & before) >= 30 - len(newcomers)
    ages = [contents(choose(blocks[:-1]).training).index(content) for content in after]
    assert min(ages) < 20
    assert max(ages) > 75
    # negative control: a window has no label of the first half
    window = contents(choose(blocks, "window", 30).training[:30])
    assert min(contents(choose(blocks[:-1]).training).index(content) for content in window) > 60


@pytest.mark.parametrize("size", [1000, 45])
def test_where_there_are_fewer_all_take_part(blocks, size):
    assert contents(choose(blocks, "reservoir", size).training) == contents(choose(blocks).training)


def test_one_block(blocks):
    assert contents(choose(blocks[:1], "window", 3).training) == contents(blocks[0].training)

"""Random streams that depend on nothing but (seed, epoch, cycle, walker) and what they are for.

A run can therefore be replayed bit for bit, resumed after a crash, and cached: no generator's state is
carried from one cycle to the next.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ("Purpose", "random_stream")


class Purpose(IntEnum):
    """What a stream's numbers are used for; each use has a stream of its own."""

    MOMENTA = 0
    METROPOLIS = 1
    STEPS = 2


def random_stream(seed: int, epoch: int, cycle: int, purpose: Purpose, walker: int = 0) -> np.random.Generator:
    """The generator of one (epoch, cycle, walker) and one *purpose*: Philox keyed through SeedSequence.

    :raises ValueError: if one of the integers is negative.
    """
    key = (epoch, cycle, walker, int(purpose))
    if seed < 0 or min(key) < 0:
        raise ValueError(f"seed, epoch, cycle and walker must not be negative: {seed}, {key}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))

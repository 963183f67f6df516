"""Adaptation of the proposal length, between epochs only: inside an epoch the kernel is frozen.

Each rule is an (init, update) pair over a small state, so that the state can be stored between epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ("AcceptanceRule", "LengthState")


@dataclass(frozen=True)
class LengthState:
    """log n is carried instead of n, so that small changes add up before n changes by one."""

    log_n_steps: float

    @property
    def n_steps(self) -> int:
        """The proposal length in steps."""
        return max(1, round(math.exp(self.log_n_steps)))


@dataclass(frozen=True, kw_only=True)
class AcceptanceRule:
    """log n ← log n + η (a − a*), clipped to [n_min, n_max].

    | symbol | variable | meaning |
    |---|---|---|
    | a* | ``target_acceptance`` | acceptance aimed at |
    | η | ``rate`` | gain |
    | n_min, n_max | ``n_steps_min``, ``n_steps_max`` | bounds in steps |

    :raises ValueError: for bounds or a target that make no sense.
    """

    target_acceptance: float = 0.65
    rate: float = 1.0
    n_steps_min: int = 5
    n_steps_max: int = 200

    def __post_init__(self) -> None:
        if not 0 < self.target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie between 0 and 1, not {self.target_acceptance}")
        if not 1 <= self.n_steps_min <= self.n_steps_max:
            raise ValueError(f"need 1 <= n_steps_min <= n_steps_max, got {self.n_steps_min}, {self.n_steps_max}")
        if self.rate < 0:
            raise ValueError(f"rate must not be negative, got {self.rate}")

    def init(self, n_steps: int) -> LengthState:
        """The state that starts at *n_steps* (clipped to the bounds)."""
        return self._clipped(math.log(n_steps))

    def update(self, state: LengthState, acceptance: float) -> LengthState:
        """The state after an epoch with the given *acceptance* (a)."""
        return self._clipped(state.log_n_steps + self.rate * (acceptance - self.target_acceptance))

    def _clipped(self, log_n_steps: float) -> LengthState:
        return LengthState(min(max(log_n_steps, math.log(self.n_steps_min)), math.log(self.n_steps_max)))

"""Rules of the proposal length: what one epoch says about the number of steps of the next.

Each rule is an (init, update) pair over a small state, which is stored between epochs as a dict. log n is carried
instead of n, so that small changes add up before n changes by one.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from aiida_slhmc.kernel.checks import is_number, is_whole

__all__ = ("AcceptanceRule", "JumpRule", "JumpState", "LengthState")


@dataclass(frozen=True)
class LengthState:
    """log n of the next epoch."""

    log_n_steps: float

    @property
    def n_steps(self) -> int:
        """The proposal length in steps."""
        return max(1, round(math.exp(self.log_n_steps)))

    def as_dict(self) -> dict[str, Any]:
        """The state as JSON; ``LengthState(**...)`` reads it back."""
        return asdict(self)


@dataclass(frozen=True)
class JumpState(LengthState):
    """log n, the jump that the last epoch gave (Å² per atom; None before the first), and whether n goes up or down."""

    last_jump: float | None = None
    direction: int = 1


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    """n_min and n_max in steps, both included."""

    n_steps_min: int = 5
    n_steps_max: int = 200

    def __post_init__(self) -> None:
        low, high = self.n_steps_min, self.n_steps_max
        if not (is_whole(low) and is_whole(high) and 1 <= low <= high):
            raise ValueError(f"need whole numbers 1 <= n_steps_min <= n_steps_max, got {low!r}, {high!r}")

    def clip(self, log_n_steps: float) -> float:
        """The log n within the bounds that is nearest."""
        return min(max(log_n_steps, math.log(self.n_steps_min)), math.log(self.n_steps_max))


@dataclass(frozen=True, kw_only=True)
class AcceptanceRule(_Bounds):
    """log n ← log n + η (a − a*), clipped to [n_min, n_max].

    | symbol | variable | meaning |
    |---|---|---|
    | a* | ``target_acceptance`` | acceptance aimed at |
    | η | ``rate`` | gain |
    | n_min, n_max | ``n_steps_min``, ``n_steps_max`` | bounds in steps |

    :raises ValueError: for bounds, a rate or a target that make no sense.
    """

    target_acceptance: float = 0.65
    rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.target_acceptance) and 0 < self.target_acceptance < 1):
            raise ValueError(f"target_acceptance must lie between 0 and 1, not {self.target_acceptance!r}")
        if not (is_number(self.rate) and self.rate >= 0):
            raise ValueError(f"rate must not be negative, got {self.rate!r}")

    def init(self, n_steps: int) -> LengthState:
        """The state that starts at *n_steps* (clipped to the bounds)."""
        return LengthState(self.clip(math.log(n_steps)))

    def restore(self, content: dict[str, Any]) -> LengthState:
        """The state that ``as_dict`` gave."""
        return LengthState(**content)

    def update(self, state: LengthState, acceptance: float, jump: float | None = None) -> LengthState:
        """The state after an epoch with the given *acceptance* (a); the jump says nothing to this rule."""
        return LengthState(self.clip(state.log_n_steps + self.rate * (acceptance - self.target_acceptance)))

    def explain(self, before: LengthState, acceptance: float, jump: float | None = None) -> str:
        """Why *update* did what it did."""
        side = "above" if acceptance > self.target_acceptance else "below"
        relation = "at" if acceptance == self.target_acceptance else side
        return f"acceptance {acceptance:.2f} is {relation} {self.target_acceptance:g}"


@dataclass(frozen=True, kw_only=True)
class JumpRule(_Bounds):
    """Climb the expected squared jump per label J(n): n ← n f while J grows, n ← n/f after it has fallen, and so on.

    J is the acceptance probability times the mean squared displacement of the proposal. It grows with n² for short
    proposals and falls where they are refused or come back on themselves; a label costs far more than the steps to it,
    so the n of the highest J is wanted. The climb is on log n with steps of log f. It keeps walking about the best n,
    within a factor f or so, and follows it where it moves as the model improves; one unlucky epoch costs one step.
    Where nothing moved (J or the acceptance is 0) n becomes shorter, and the climb begins anew from there, upwards. At
    a bound the climb turns round.

    :raises ValueError: for a factor or bounds that make no sense.
    """

    factor: float = 1.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.factor) and self.factor > 1):
            raise ValueError(f"factor must be above 1, not {self.factor!r}")

    def init(self, n_steps: int) -> JumpState:
        """The state that starts at *n_steps* (clipped to the bounds); the first epoch only sets the mark."""
        return JumpState(self.clip(math.log(n_steps)))

    def restore(self, content: dict[str, Any]) -> JumpState:
        """The state that ``as_dict`` gave."""
        return JumpState(**content)

    def update(self, state: JumpState, acceptance: float, jump: float | None) -> JumpState:
        """The state after an epoch with the given *acceptance* and *jump* (Å² per atom; None counts as no movement)."""
        if not jump or acceptance == 0:
            # nothing to compare with: whatever comes next was the model's doing, and the climb begins anew
            return JumpState(self._moved(state, -1))
        direction = state.direction
        if state.last_jump is not None and jump < state.last_jump:
            direction = -direction
        if self._moved(state, direction) == state.log_n_steps:
            direction = -direction
        return replace(state, log_n_steps=self._moved(state, direction), last_jump=jump, direction=direction)

    def _moved(self, state: JumpState, direction: int) -> float:
        return self.clip(state.log_n_steps + direction * math.log(self.factor))

    def explain(self, before: JumpState, acceptance: float, jump: float | None) -> str:
        """Why *update* did what it did."""
        if not jump or acceptance == 0:
            return "no proposal moved the chain, so the next are shorter"
        words = f"the expected squared jump per label is {jump:.3g} Å²"
        if before.last_jump is None:
            return f"{words}, the first to compare with"
        change = "fell from" if jump < before.last_jump else "has not fallen from"
        return f"{words}, it {change} {before.last_jump:.3g} Å²"

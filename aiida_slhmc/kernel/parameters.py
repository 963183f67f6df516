"""The numbers that define the kernel, checked in one place for people, nodes and workers alike."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ("KernelParameters",)


@dataclass(frozen=True, kw_only=True)
class KernelParameters:
    """Parameters of the kernel, frozen within an epoch:

    `temperature` (K), `timestep` (fs), `seed` (non-negative integer), `jitter` of the number of steps (fraction, 0.2),
    `max_integration_error` (eV per cell; above it the trajectory counts as divergent), `device` (auto, cpu or cuda).

    :raises ValueError: for a value that makes no sense; TypeError for an unknown name.
    """

    temperature: float
    timestep: float
    seed: int
    jitter: float = 0.2
    max_integration_error: float = 1.0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("temperature", "timestep", "max_integration_error"):
            value = getattr(self, name)
            if not _is_number(value) or value <= 0:
                raise ValueError(f"{name} must be a positive number, not {value!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be a non-negative integer, not {self.seed!r}")
        if not _is_number(self.jitter) or not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), not {self.jitter!r}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device must be auto, cpu or cuda, not {self.device!r}")

    def as_dict(self) -> dict[str, Any]:
        """All parameters, defaults included."""
        return asdict(self)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

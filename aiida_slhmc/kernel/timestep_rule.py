"""When the time step becomes shorter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiida_slhmc.kernel.checks import is_number
from aiida_slhmc.kernel.diagnostics import predicted_acceptance, sigma_for_acceptance

__all__ = ("INTEGRATION_ACCEPTANCE", "MIN_LABELS", "TimestepRule")

# an integrator that costs every tenth label is still cheaper than twice the steps for each
INTEGRATION_ACCEPTANCE = 0.9
# the time step never grows again, and a standard deviation of fewer values is off by more than a quarter (1/√2(n−1))
MIN_LABELS = 9


@dataclass(frozen=True, kw_only=True)
class TimestepRule:
    """Shorten Δt where the integration error, not the model, is what proposals are rejected for.

    Where σ_i > σ_m and erfc(βσ_i/2√2) < a_i:  Δt ← max(Δt √(σ*/σ_i), Δt/2, Δt_min), with erfc(βσ*/2√2) = a_i.

    Leapfrog is of second order: the energy error at the end of a trajectory of fixed length in time goes with Δt²
    (Leimkuhler and Reich, Simulating Hamiltonian Dynamics, 2004, ch. 4; Beskos et al., Bernoulli 19, 1501 (2013)), and
    σ with it. That holds for small Δt only, so that no change is by more than a half. Δt is never raised.

    | symbol | variable | meaning |
    |---|---|---|
    | a_i | ``integration_acceptance`` | acceptance that the integration error alone must leave |
    | Δt_min | ``timestep_min`` | bound in fs |
    | σ_i, σ_m | ``sigma_integration``, ``sigma_mismatch`` | standard deviations of the two parts of ΔH in eV |

    :raises ValueError: for numbers that make no sense.
    """

    integration_acceptance: float = INTEGRATION_ACCEPTANCE
    timestep_min: float = 0.1

    def __post_init__(self) -> None:
        if not (is_number(self.integration_acceptance) and 0 < self.integration_acceptance < 1):
            raise ValueError(f"integration_acceptance must lie between 0 and 1, not {self.integration_acceptance!r}")
        if not (is_number(self.timestep_min) and self.timestep_min > 0):
            raise ValueError(f"timestep_min must be positive, not {self.timestep_min!r}")

    def update(
        self, timestep: float, sigma_integration: float | None, sigma_mismatch: float | None, temperature: float
    ) -> float:
        """The time step after an epoch, in fs; the same where a σ (eV) is not known. The state is the time step."""
        if sigma_integration is None or sigma_mismatch is None or sigma_integration <= sigma_mismatch:
            return timestep
        if predicted_acceptance(sigma_integration, temperature) >= self.integration_acceptance:
            return timestep
        aim = sigma_for_acceptance(self.integration_acceptance, temperature)
        shorter = max(timestep * math.sqrt(aim / sigma_integration), timestep / 2, self.timestep_min)
        # a step that was chosen below the bound stays
        return min(timestep, shorter)

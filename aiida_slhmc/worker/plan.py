"""What a proposal starts from and where in the run it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.dynamics import jittered_steps
from aiida_slhmc.kernel.parameters import KernelParameters, Trajectory
from aiida_slhmc.kernel.streams import Purpose, random_stream

__all__ = ("Plan", "States")

Array = NDArray[np.float64]


class States(NamedTuple):
    """The walkers' present states: numbers (n_atoms,), masses (n_atoms,) in amu, positions (n_walkers, n_atoms, 3) and
    cells (n_walkers, 3, 3) in Å, and the reference cell (3, 3) that strains are measured from.
    """

    numbers: NDArray[np.int64]
    masses: Array
    positions: Array
    cells: Array
    reference_cell: Array


@dataclass(frozen=True)
class Plan:
    """What is proposed and where in the run: the kernel, the trajectory, and the epoch and cycle of the streams."""

    kernel: KernelParameters
    trajectory: Trajectory
    epoch: int
    cycle: int

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Plan:
        """Read ``kernel``, ``trajectory``, ``epoch`` and ``cycle``."""
        kernel, trajectory = KernelParameters(**content["kernel"]), Trajectory(**content["trajectory"])
        return cls(kernel, trajectory, content["epoch"], content["cycle"])

    def stream(self, purpose: Purpose, walker: int = 0) -> np.random.Generator:
        """The random stream of this cycle."""
        return random_stream(self.kernel.seed, self.epoch, self.cycle, purpose, walker)

    def n_steps(self) -> int:
        """The jittered number of steps, one draw for all walkers of a cycle, so that they advance in lock-step."""
        return jittered_steps(self.stream(Purpose.STEPS), self.trajectory.n_steps, self.kernel.jitter)

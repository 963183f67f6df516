"""Trajectories that mean nothing: how they are told, and why refusing their proposals leaves the chain exact.

A proposal is refused where, at any point that its trajectory passes, both ends included, the model is not finite or the
cell is too far from the *reference* cell (``MAX_STRETCH``, ``MAX_COMPRESSION``), or where the integration part of ΔH is
above the bound in absolute value. The leapfrog is reversible: from (end, −p') it passes the same points in the opposite
order and its ΔH has the opposite sign. So each of these says the same of the way back, and refusing (probability 0 for
both) keeps detailed balance; it makes the chain slower, not wrong. A bound on ΔH alone from above, or on a stretch
measured from the trajectory's own start, would not be symmetric and would change the ensemble.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.worker.job import JobError

__all__ = ("DIVERGENCES", "check_finite", "check_stretch", "integration_errors", "over_the_bound", "refused")

Array = NDArray[np.float64]

# the statuses of a JobError that are a trajectory's own fault, not the job's
DIVERGENCES = ("divergent", "not_finite")
# in a collapsing cell the neighbour list fills the memory long before the integration error is known; the bounds are
# far out, because what lies beyond them is outside the support of the chain: a gas in a soft cell may well be squeezed
# three-fold in one direction
MAX_STRETCH = 30.0  # of any direction, either way
MAX_COMPRESSION = 50.0  # of the volume


def check_stretch(cells: Array, reference_cell: Array) -> None:
    """Raise JobError ``divergent`` where a cell (…, 3, 3) has left what any trajectory can mean."""
    if np.all(np.isfinite(cells)):
        stretches = np.linalg.svd(np.linalg.solve(reference_cell, cells), compute_uv=False)
        is_stretched = stretches.min() < 1 / MAX_STRETCH or stretches.max() > MAX_STRETCH
        if not (is_stretched or stretches.prod(axis=-1).min() < 1 / MAX_COMPRESSION):
            return
    raise JobError(
        "divergent",
        f"a cell was stretched or squeezed more than {MAX_STRETCH:g}-fold, or its volume {MAX_COMPRESSION:g}-fold, from"
        " the reference cell: take a smaller timestep, a larger cell_time_constant, or a model that is stable at this"
        " temperature and pressure",
    )


def check_finite(*values: Array | None) -> None:
    """Raise JobError ``not_finite`` where something that the model gives is not a number."""
    if not all(np.all(np.isfinite(part)) for part in values if part is not None):
        raise JobError("not_finite", "the model gives energies or forces that are not finite")


def integration_errors(results: dict[str, Array]) -> Array:
    """Integration part of ΔH per walker (n_walkers,) in eV."""
    ends: Array = results["energies"] + results["cell_energies"] + results["kinetic_energies"]
    return ends[:, 1] - ends[:, 0]


def over_the_bound(errors: Array, bound: float) -> dict[int, JobError]:
    """Those of the integration *errors* that exceed *bound* (eV) on either side, by their index."""
    return {
        int(i): JobError(
            "divergent",
            f"the integration error is {errors[i]:.3g} eV, beyond the bound of {bound} eV: take a smaller timestep,"
            " or a model that is stable at this temperature",
        )
        # an error that is not finite is not below the bound either
        for i in np.flatnonzero(~(np.abs(errors) <= bound))
    }


def refused(positions: Array, cells: Array, n_cell: int, *, with_stress: bool) -> dict[str, Array]:
    """What stands for the proposals of walkers that diverged: their start, with zeros for all that was not computed.

    :param positions: (n, n_atoms, 3) in Å; *cells* (n, 3, 3) in Å; *n_cell*: degrees of freedom of the cell.
    """
    n = len(positions)
    arrays = {"positions": positions, "cells": cells, "cell_momenta": np.zeros((n, n_cell))}
    arrays |= {name: np.zeros_like(positions) for name in ("momenta", "forces")}
    arrays |= {name: np.zeros((n, 2)) for name in ("energies", "cell_energies", "kinetic_energies")}
    return arrays | ({"stresses": np.zeros_like(cells)} if with_stress else {})

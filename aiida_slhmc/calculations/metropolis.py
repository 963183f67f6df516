"""The Metropolis test of one cycle, for all walkers, as a calculation function."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from numpy.typing import NDArray

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.kernel.metropolis import Decision, decide, energy_change
from aiida_slhmc.kernel.streams import Purpose, random_stream

__all__ = ("metropolis",)

Arrays = dict[str, NDArray[Any]]
POSITION_TOLERANCE = 1e-10  # Å


@calcfunction
def metropolis(proposals: orm.ArrayData, **nodes: ConfigurationData) -> orm.Dict | ExitCode:
    """Decide for every walker whether the chain moves to its proposal.

    The kernel's functions do the work: :func:`~aiida_slhmc.kernel.metropolis.energy_change` and
    :func:`~aiida_slhmc.kernel.metropolis.decide`, with the stream of (seed, epoch, cycle, walker).

    :param proposals: output of MaceProposalCalculation.
    :param nodes: ``state_k`` and ``label_k`` of each walker k: the state proposed from and the labelled end point
        (or its unlabelled record, which counts as a rejection).
    :returns: a Dict of lists over walkers: ``accepted``, ``delta_h``, ``integration``, ``mismatch`` (eV; None without a
        label), ``probability``, ``random_number``, ``energy_error`` (eV per cell) and ``force_rmse`` (eV/Å) of the
        model at the end point (None without a label), ``squared_jump`` (Å², mean over atoms, 0 where rejected);
        and ``acceptance``, ``epoch``, ``cycle``, ``n_steps``, ``n_walkers``, ``n_atoms``, ``temperature``.
    """
    arrays = {name: proposals.get_array(name) for name in proposals.get_arraynames()}
    attributes = proposals.base.attributes
    n_walkers, n_atoms = arrays["positions"].shape[:2]
    rows = []
    for k in range(n_walkers):
        state, label = nodes[f"state_{k}"], nodes[f"label_{k}"]
        end = label.arrays()
        # AiiDA rounds a structure's coordinates to 14 digits, nothing else may come between proposal and label
        if not np.allclose(end["positions"], arrays["positions"][k], rtol=0, atol=POSITION_TOLERANCE):
            return ExitCode(410, f"the label of walker {k} is not of the configuration that was proposed")
        place = (attributes.get("seed"), attributes.get("epoch"), attributes.get("cycle"))
        stream = random_stream(*place, Purpose.METROPOLIS, k)
        rows.append(_decide_walker(k, state, label, arrays, stream, attributes.get("temperature")))
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    about = {key: attributes.get(key) for key in ("epoch", "cycle", "n_steps", "temperature")}
    acceptance = float(np.mean(columns["accepted"]))
    return orm.Dict({**columns, **about, "n_walkers": n_walkers, "n_atoms": n_atoms, "acceptance": acceptance})


def _decide_walker(
    k: int,
    state: ConfigurationData,
    label: ConfigurationData,
    arrays: Arrays,
    stream: np.random.Generator,
    temperature: float,
) -> dict[str, Any]:
    change = None
    errors: dict[str, float | None] = {"energy_error": None, "force_rmse": None}
    if label.is_labelled:
        model, kinetic = arrays["energies"][k], arrays["kinetic_energies"][k]
        change = energy_change((state.energy, label.energy), tuple(model.tolist()), tuple(kinetic.tolist()))
        force_errors = arrays["forces"][k] - label.arrays()["forces"]
        errors = {
            "energy_error": float(model[1] - label.energy),
            "force_rmse": float(np.sqrt(np.mean(force_errors**2))),
        }
    decision = decide(stream, change, temperature)
    jump = np.mean(np.sum((arrays["positions"][k] - state.arrays()["positions"]) ** 2, axis=-1))
    return _row(decision) | errors | {"squared_jump": float(jump) if decision.accepted else 0.0}


def _row(decision: Decision) -> dict[str, Any]:
    change = decision.change
    return {
        "accepted": decision.accepted,
        "probability": decision.probability,
        "random_number": decision.random_number,
        "delta_h": change.total if change else None,
        "integration": change.integration if change else None,
        "mismatch": change.mismatch if change else None,
    }

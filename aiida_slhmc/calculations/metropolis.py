"""The Metropolis test of one cycle, for all walkers, as a calculation function."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.data import atomic_masses
from numpy.typing import NDArray

from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.kernel.displacement import squared_displacement
from aiida_slhmc.kernel.ensembles import Ensemble, make_ensemble
from aiida_slhmc.kernel.metropolis import EnergyChange, decide, energy_change
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.kernel.streams import Purpose, random_stream
from aiida_slhmc.kernel.units import EV_PER_CUBIC_ANGSTROM_IN_GPA
from aiida_slhmc.worker.committee import COMMITTEE_ARRAYS

__all__ = ("metropolis",)

Arrays = dict[str, NDArray[Any]]
POSITION_TOLERANCE = 1e-10  # Å


class _Walker(NamedTuple):
    """One walker's part of a cycle: the state's arrays, those of the label's node, and the job's rows of this walker.

    ``end`` is None where the trajectory diverged and nothing was labelled; ``labelled`` is False there, and for a
    record of a label that failed.
    """

    state: Arrays
    end: Arrays | None
    job: Arrays
    labelled: bool


@calcfunction
def metropolis(proposals: orm.ArrayData, **nodes: ConfigurationData) -> orm.Dict | ExitCode:
    """Decide for every walker whether the chain moves to its proposal.

    The kernel's functions do the work: :func:`~aiida_slhmc.kernel.metropolis.energy_change` and
    :func:`~aiida_slhmc.kernel.metropolis.decide`, with the stream of (seed, epoch, cycle, walker).

    A walker whose trajectory diverged stays where it is: the criterion is symmetric under reversal (see
    :mod:`aiida_slhmc.worker.divergence`), so that this keeps detailed balance.

    :param proposals: output of MaceProposalCalculation.
    :param nodes: ``state_k`` of each walker k, the state proposed from, and ``label_k`` of each that did not diverge:
        the labelled end point, or its unlabelled record, which counts as a rejection.
    :returns: a Dict of lists over walkers: ``accepted``, ``diverged``, ``delta_h``, ``integration``, ``mismatch`` (eV;
        None without a label), ``probability``, ``random_number``; ``energy`` (eV) and ``volume`` (Å³) of the state that
        the chain is in after the decision; ``energy_error`` (eV per cell), ``force_rmse`` (eV/Å) and, in NPT,
        ``stress_rmse`` (GPa) of the model at the end point (None without a label), ``expected_squared_jump`` (Å² per
        atom: probability × squared displacement of the proposal); with a committee its ``committee_energy_spread``
        (eV/atom) and ``committee_force_spread`` (eV/Å) at the end point, labelled or not (None where not known);
        and ``acceptance``, ``epoch``, ``cycle``, ``n_steps``, ``timestep`` (fs), ``n_walkers``, ``n_atoms``,
        ``temperature``, ``ensemble``, ``pressure`` (GPa) and ``cell_degrees_of_freedom`` (both None in NVT).
        Instead, exit code 410 where a label is not of the proposal, 411 where it is of another functional or engine
        than the state.
    """
    arrays = {name: proposals.get_array(name) for name in proposals.get_arraynames()}
    attributes = proposals.base.attributes.all
    kernel = KernelParameters(**attributes["kernel"])
    reference_cell = arrays.pop("reference_cell", None)
    n_walkers, n_atoms = arrays["positions"].shape[:2]
    rows = []
    for k in range(n_walkers):
        state, label = nodes[f"state_{k}"], nodes.get(f"label_{k}")
        job = {name: values[k] for name, values in arrays.items()}
        end = None if label is None else label.arrays()
        walker = _Walker(state.arrays(), end, job, label is not None and label.is_labelled)
        problem = _problem(k, walker, state, label)
        if problem:
            return problem
        stream = random_stream(kernel.seed, attributes["epoch"], attributes["cycle"], Purpose.METROPOLIS, k)
        masses = atomic_masses[walker.state["numbers"]]
        ensemble = make_ensemble(kernel, masses, walker.state["cell"], reference_cell)
        rows.append(_decide_walker(walker, ensemble, masses, stream))
    columns: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    about = {key: attributes[key] for key in ("epoch", "cycle", "n_steps", "timestep", "temperature", "ensemble")}
    about |= {key: getattr(kernel, key) for key in ("pressure", "cell_degrees_of_freedom")}
    acceptance = float(np.mean(columns["accepted"]))
    return orm.Dict({**columns, **about, "n_walkers": n_walkers, "n_atoms": n_atoms, "acceptance": acceptance})


def _problem(k: int, walker: _Walker, state: ConfigurationData, label: ConfigurationData | None) -> ExitCode | None:
    """Why nothing can be decided for walker *k*, or None."""
    if not _is_of_proposal(walker):
        return ExitCode(410, f"the label of walker {k} is not of the configuration that was proposed")
    if label is None or not (state.is_labelled and label.is_labelled):
        return None
    sources = [tuple(node.base.attributes.get(key) for key in ("functional", "engine")) for node in (state, label)]
    if sources[0] == sources[1]:
        return None
    before, now = (f"{functional} ({engine})" for functional, engine in sources)
    return ExitCode(
        411,
        f"the state of walker {k} was labelled with {before}, its proposal with {now}: energies of two functionals "
        "cannot be compared; start from walkers labelled with this target",
    )


def _is_of_proposal(walker: _Walker) -> bool:
    """AiiDA rounds a structure's coordinates to 14 digits; nothing else may come between proposal and label.

    What diverged has no label, and all else has one.
    """
    if walker.end is None or walker.job["diverged"]:
        return walker.end is None and bool(walker.job["diverged"])
    pairs = ((walker.end["positions"], walker.job["positions"]), (walker.end["cell"], walker.job["cells"]))
    return all(np.allclose(*pair, rtol=0, atol=POSITION_TOLERANCE) for pair in pairs)


def _decide_walker(
    walker: _Walker, ensemble: Ensemble, masses: NDArray[np.float64], stream: np.random.Generator
) -> dict[str, Any]:
    state, job = walker.state, walker.job
    label = walker.end if walker.labelled else None
    change = None if label is None else _change(state, label, job, ensemble)
    decision = decide(stream, change, ensemble.temperature)
    now = state if label is None or not decision.accepted else label
    # the job's own end, which is the start where the trajectory diverged
    jump = squared_displacement((state["positions"], job["positions"]), (state["cell"], job["cells"]), masses)
    return {
        "accepted": decision.accepted,
        "diverged": bool(job["diverged"]),
        "probability": decision.probability,
        "random_number": decision.random_number,
        "delta_h": change.total if change else None,
        "integration": change.integration if change else None,
        "mismatch": change.mismatch if change else None,
        "energy": float(now["energy"]),
        "volume": float(abs(np.linalg.det(now["cell"]))),
        **_forward_errors(job, label),
        "expected_squared_jump": decision.probability * jump,
        **_spreads(job),
    }


def _change(state: Arrays, label: Arrays, job: Arrays, ensemble: Ensemble) -> EnergyChange:
    """ΔH from the labels, the job's energies and the cells."""
    ends = (state, label)
    return energy_change(
        _pair([end["energy"] for end in ends]),
        _pair(job["energies"]),
        _pair(job["kinetic_energies"]),
        _pair([ensemble.cell_energy(end["cell"]) for end in ends]),
    )


def _pair(values: Any) -> tuple[float, float]:
    first, last = (float(value) for value in values)
    return first, last


def _forward_errors(job: Arrays, label: Arrays | None) -> dict[str, float | None]:
    """The proposing model against the label at the end point, which it has never seen."""
    if label is None:
        return {"energy_error": None, "force_rmse": None, "stress_rmse": None}
    stress_rmse = None
    if "stresses" in job and "stress" in label:
        stress_rmse = EV_PER_CUBIC_ANGSTROM_IN_GPA * _rms(job["stresses"] - label["stress"])
    return {
        "energy_error": float(job["energies"][1] - label["energy"]),
        "force_rmse": _rms(job["forces"] - label["forces"]),
        "stress_rmse": stress_rmse,
    }


def _spreads(job: Arrays) -> dict[str, float | None]:
    """What the committee says of the end point; nothing without one."""
    return {name: float(job[name]) if np.isfinite(job[name]) else None for name in COMMITTEE_ARRAYS if name in job}


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(values**2)))

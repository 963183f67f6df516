"""Calculation functions around the analysis of trajectories: metrics, comparisons and forward errors as nodes."""

from __future__ import annotations

import math
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_slhmc.analysis.forward_errors import forward_error_curve
from aiida_slhmc.analysis.structure import analyse_structure as analyse
from aiida_slhmc.analysis.structure import compare_nearest
from aiida_slhmc.analysis.structure_parameters import StructureParameters
from aiida_slhmc.calculations.epoch import read_chain
from aiida_slhmc.calculations.port_checks import checked_by
from aiida_slhmc.calculations.trajectories import read_frames
from aiida_slhmc.data.dataset import DatasetData

__all__ = (
    "analyse_structure",
    "check_against_structure",
    "compare_structure",
    "forward_errors",
    "validate_analysis",
)

validate_analysis = checked_by(StructureParameters.from_dict)

ABOUT = ("temperature", "pressure")


def check_against_structure(parameters: orm.Dict, structure: orm.StructureData) -> str | None:
    """Why trajectories that start from *structure* could not be analysed in this way, or None."""
    options = StructureParameters.from_dict(parameters.get_dict())
    try:
        options.check_symbols([structure.get_kind(site.kind_name).symbol for site in structure.sites])
    except ValueError as error:
        return str(error)
    return None


@calcfunction
def analyse_structure(
    trajectory: orm.TrajectoryData,
    parameters: orm.Dict,
    functional: orm.Str | None = None,
    labels: orm.Int | None = None,
    is_final: orm.Bool | None = None,
    dataset: DatasetData | None = None,
) -> dict[str, Any]:
    """Structure and cell of a trajectory, see :func:`aiida_slhmc.analysis.structure.analyse_structure`.

    :param trajectory: of molecular dynamics or of :func:`~aiida_slhmc.calculations.trajectories.slhmc_trajectories`.
    :param parameters: of :class:`~aiida_slhmc.analysis.structure_parameters.StructureParameters`.
    :param functional: that the trajectory is a sample of, or that its model has learned; none for the foundation.
    :param labels: how many labels the model was trained on; none where no model decides what is sampled.
    :param is_final: whether this is the last model of its run.
    :param dataset: labels that the model was trained on, all or some: they say whether a stand-in made them. A
        trajectory that consists of labels says it itself.
    :returns: ``metrics`` (Dict), with the ``sample`` they are of, and ``curves`` (ArrayData).
    """
    attributes = trajectory.base.attributes
    frames = read_frames(trajectory)
    # the walkers of a chain, one after the other, are independent of each other: each is a block
    n_walkers = attributes.get("n_walkers", 1) if attributes.get("role", None) == "slhmc_chain" else 1
    length = frames.n_frames // n_walkers if n_walkers > 1 else None
    options = StructureParameters.from_dict(parameters.get_dict())
    metrics, curves = analyse(frames, options, cell_block_length=length)
    sample = {
        "functional": None if functional is None else functional.value,
        "ensemble": attributes.get("ensemble", None),
        "role": attributes.get("role", None),
        "labels": None if labels is None else labels.value,
        "is_final": True if is_final is None else is_final.value,
    }
    about = {key: attributes.get(key, None) for key in ABOUT}
    about["stand_in"] = (attributes if dataset is None else dataset.base.attributes).get("stand_in", None)
    node = orm.ArrayData(curves)
    node.base.attributes.set("sample", sample)
    return {"metrics": orm.Dict(_storable({"sample": sample, **about, **metrics})), "curves": node}


@calcfunction
def compare_structure(
    trajectory: orm.TrajectoryData,
    reference: orm.TrajectoryData,
    metrics: orm.Dict,
    reference_metrics: orm.Dict,
    parameters: orm.Dict,
) -> orm.Dict:
    """How far a sample is from its reference: Wasserstein-1 of the distances to the nearest neighbours.

    :param metrics: output of :func:`analyse_structure` for *trajectory*; *reference_metrics* for *reference*.
    :returns: ``sample``, ``reference``, ``wasserstein`` and ``floor`` (Å).
    """
    result = {"sample": metrics["sample"], "reference": reference_metrics["sample"]}
    frames = [read_frames(node) for node in (trajectory, reference)]
    result |= compare_nearest(frames[0], frames[1], StructureParameters.from_dict(parameters.get_dict()))
    return orm.Dict(_storable(result))


@calcfunction
def forward_errors(functional: orm.Str, **chains: orm.ArrayData) -> orm.Dict:
    """Forward errors of each model of a run: on labels that were made after it was trained.

    :param chains: the chains of the run's epochs, whose names sort as the epochs.
    :returns: ``functional``, ``ensemble`` and ``updates``, see
        :func:`aiida_slhmc.analysis.forward_errors.forward_error_curve`.
    """
    content = [read_chain(chains[name]) for name in sorted(chains)]
    about = {"functional": functional.value, "ensemble": content[0][1]["ensemble"]}
    return orm.Dict(_storable({**about, "updates": forward_error_curve(content)}))


def _storable(value: Any) -> Any:
    """None for numbers that JSON does not have, and lists for tuples."""
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

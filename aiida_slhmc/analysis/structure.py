"""The structure of a sampled ensemble, and how far one sample is from another: what the study's tables are made of.

The definitions are those of Thomsen, Shiga and Nagai (2026), section 4.4 and appendix, with species, windows, bins and
replication as parameters. Every value comes with a standard error, as ``[value, standard error]``.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.analysis.bootstrap import Estimate, block_bootstrap
from aiida_slhmc.analysis.cell import cell_block_length as choose_cell_block_length
from aiida_slhmc.analysis.cell import cell_metrics, propagated_volume_error
from aiida_slhmc.analysis.distributions import density_histogram, wasserstein_estimate, wasserstein_floor
from aiida_slhmc.analysis.frames import Frames
from aiida_slhmc.analysis.neighbours import coordination_numbers, nearest_distances, split_shell
from aiida_slhmc.analysis.radial_distribution import radial_distribution, refined_peak
from aiida_slhmc.analysis.structure_parameters import StructureParameters

__all__ = ("analyse_structure", "compare_nearest")

Metrics = dict[str, Any]
Curves = dict[str, NDArray[np.float64]]


def analyse_structure(
    frames: Frames, parameters: StructureParameters, *, cell_block_length: int | None = None
) -> tuple[Metrics, Curves]:
    """Averages with their errors, and the curves of the figures.

    :param cell_block_length: frames in a block for the errors of the cell, which forgets slowly; None: chosen from its
        autocorrelation time.
    :returns: metrics ``nearest_neighbour`` (mean over the centres of the distance to the nearest neighbour, Å),
        ``coordination``, ``split_shell`` (``short``, ``long``, ``mean``; Å), ``peaks`` by pair (Å) and, where the
        cell is not a fixed one, ``cell`` (``a``, ``b``, ``c`` of the unit cell in Å, angles in degrees, ``volume`` per
        formula unit in Å³, ``a_propagated``, …, ``volume_propagated`` with errors propagated from the fluctuations of
        the cell's diagonal, as in the paper, None where the cell is not nearly diagonal);
        and curves ``nearest_distance``, ``nearest_density``, ``rdf_distance`` and ``rdf_A_B`` of each pair.
    :raises ValueError: if a species is not there.
    """
    centre, neighbour = parameters.centre, parameters.neighbour
    nearest = nearest_distances(frames, centre, neighbour)
    metrics: Metrics = {
        "n_frames": frames.n_frames,
        "n_atoms": len(frames.symbols),
        "nearest_neighbour": {"pair": [centre, neighbour], "mean": _estimate(nearest.mean(axis=1), parameters)},
        "peaks": _peaks(frames, parameters),
    }
    if frames.n_frames == 1 or np.ptp(frames.cells, axis=0).any():
        metrics["cell"] = _cell(frames, parameters, cell_block_length)
    if parameters.coordination_cutoff is not None:
        counts = coordination_numbers(frames, centre, neighbour, parameters.coordination_cutoff)
        about = {"pair": [centre, neighbour], "cutoff": parameters.coordination_cutoff}
        metrics["coordination"] = about | {"mean": _estimate(counts, parameters)}
    if parameters.n_short:
        shell = split_shell(frames, centre, neighbour, parameters.n_short, parameters.n_long)
        metrics["split_shell"] = {name: _estimate(values, parameters) for name, values in shell.items()}
    distance, density = density_histogram(nearest, parameters.nearest_bin_width)
    return metrics, {"nearest_distance": distance, "nearest_density": density, **_rdf_curves(frames, parameters)}


def compare_nearest(frames: Frames, reference: Frames, parameters: StructureParameters) -> Metrics:
    """Wasserstein-1 distance (Å) between the distributions of nearest-neighbour distances of two samples.

    :returns: ``wasserstein``, and ``floor``: what samples of these sizes would give if the ensembles were the same (its
        second number is the standard deviation of such a distance).
    """
    samples = [nearest_distances(item, parameters.centre, parameters.neighbour) for item in (frames, reference)]
    errors = {"block_length": parameters.block_length, "n_resamples": parameters.n_resamples, "seed": parameters.seed}
    floors = [wasserstein_floor(sample, **errors) for sample in samples]
    floor = [math.sqrt(float(np.mean([item[i] ** 2 for item in floors]))) for i in range(2)]
    return {"wasserstein": _listed(wasserstein_estimate(*samples, **errors)), "floor": floor}


def _estimate(per_frame: NDArray[np.float64], parameters: StructureParameters) -> list[float]:
    return _listed(
        block_bootstrap(
            per_frame,
            block_length=parameters.block_length,
            n_resamples=parameters.n_resamples,
            seed=parameters.seed,
        )
    )


def _peaks(frames: Frames, parameters: StructureParameters) -> dict[str, list[float]]:
    peaks = {}
    for name, pair in parameters.pairs.items():
        low, high = parameters.peak_windows[name]
        peak = refined_peak(
            frames,
            pair,
            (low, high),
            bin_width=parameters.rdf_bin_width,
            block_length=parameters.block_length,
            n_resamples=parameters.n_peak_resamples,
            seed=parameters.seed,
        )
        peaks[name] = _listed(peak)
    return peaks


def _cell(frames: Frames, parameters: StructureParameters, block_length: int | None) -> Metrics:
    a, b, c = parameters.replication
    length = choose_cell_block_length(frames) if block_length is None else block_length
    metrics = cell_metrics(
        frames, (a, b, c), block_length=length, n_resamples=parameters.n_resamples, seed=parameters.seed
    )
    cell: Metrics = {name: _listed(value) for name, value in metrics.items()}
    cell |= dict.fromkeys(f"{name}_propagated" for name in (*"abc", "volume"))
    # of a cell that is not nearly diagonal only the bootstrap's errors have a meaning
    with contextlib.suppress(ValueError):
        propagated = propagated_volume_error(frames, (a, b, c))
        cell |= {f"{name}_propagated": _listed(value) for name, value in propagated.items()}
    return cell | {"block_length": length}


def _rdf_curves(frames: Frames, parameters: StructureParameters) -> Curves:
    curves: Curves = {}
    for name, pair in parameters.pairs.items():
        distance, density = radial_distribution(
            frames, pair, bin_width=parameters.rdf_bin_width, r_max=parameters.rdf_r_max
        )
        curves |= {"rdf_distance": distance, f"rdf_{name.replace('-', '_')}": density}
    return curves


def _listed(estimate: Estimate) -> list[float]:
    return [float(estimate.value), float(estimate.standard_error)]

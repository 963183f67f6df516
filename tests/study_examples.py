"""A made-up study: the paper's numbers where it gives any, else plausible ones; no trajectory is behind them."""

from __future__ import annotations

from typing import Any

import numpy as np

from aiida_slhmc.analysis.study.samples import Sample, Study

# mean of the nearest distance (Å), volume and lengths of the cell, all of the target
TARGETS = {
    "pbe": (1.824, 32.91, 4.680, 3.006),
    "r2scan": (1.833, 31.60, 4.598, 2.990),
    "hse06": (1.8175, 31.40, 4.595, 2.975),
}
FOUNDATION = (1.871, 32.41, 4.641, 3.010)
# (Å) sites of the peaks of each pair, with their neighbours
PEAKS = {
    "Ti-Ti": ((2.98, 2), (3.57, 8), (4.62, 4)),
    "O-O": ((2.55, 1), (2.79, 8), (3.3, 4)),
    "Ti-O": ((1.94, 6), (3.5, 4), (3.9, 8)),
}
EXPERIMENT = {"volume": 31.15, "a": 4.594, "c": 2.959, "short": 1.949, "long": 1.980, "source": "neutrons, 300 K"}
LABELS = (30, 150, 600)


def about(
    role: str, ensemble: str, functional: str | None = None, labels: int | None = None, is_final: bool = True
) -> dict[str, Any]:
    """The dictionary that names a sample."""
    return {"functional": functional, "ensemble": ensemble, "role": role, "labels": labels, "is_final": is_final}


def metrics(sample: dict[str, Any], target: tuple[float, float, float, float], seed: int) -> dict[str, Any]:
    """What the analysis of a trajectory says, around *target* within its errors."""
    generator = np.random.default_rng(seed)

    def near(value: float, error: float) -> list[float]:
        return [float(value + error * generator.normal()), error]

    nearest, volume, a, c = target
    return {
        "sample": sample,
        "temperature": 300.0,
        "pressure": 1.01325e-4 if sample["ensemble"] == "npt" else None,
        "stand_in": True if sample["functional"] else None,
        "n_frames": 500,
        "n_atoms": 48,
        "nearest_neighbour": {"pair": ["Ti", "O"], "mean": near(nearest, 0.0006)},
        "coordination": {"pair": ["Ti", "O"], "cutoff": 2.4, "mean": near(6.0, 0.001)},
        "peaks": {"Ti-O": near(nearest + 0.06, 0.014), "Ti-Ti": near(3.55, 0.02), "O-O": near(2.79, 0.02)},
        "split_shell": {"short": near(1.95, 0.001), "long": near(2.0, 0.002), "mean": near(1.967, 0.001)},
        "cell": {
            "a": near(a, 0.004),
            "b": near(a, 0.004),
            "c": near(c, 0.002),
            "volume": near(volume, 0.05),
            **{f"{name}_propagated": [value, 0.005] for name, value in (("a", a), ("b", a), ("c", c))},
            "volume_propagated": [volume, 0.06],
        },
    }


def curves(target: tuple[float, float, float, float], seed: int) -> dict[str, np.ndarray]:
    """Curves of the analysis: peaks of a Gaussian form with the noise of counting."""
    generator = np.random.default_rng(seed)
    nearest = np.arange(1.6, 2.1, 0.005) + 0.0025
    density = generator.poisson(300 * np.exp(-((nearest - target[0]) ** 2) / (2 * 0.04**2)))
    distance = np.arange(0.5, 1133.5) * 0.00529177
    found = {
        "nearest_distance": nearest,
        "nearest_density": density / (density.sum() * 0.005),
        "rdf_distance": distance,
    }
    for pair, peaks in PEAKS.items():
        shell = sum(n * np.exp(-((distance - r * target[2] / 4.6) ** 2) / (2 * 0.09**2)) for r, n in peaks)
        smooth = 3.5 * shell / np.maximum(distance, 0.5) ** 2 + 1 / (1 + np.exp(-4 * (distance - 4.5)))
        found[f"rdf_{pair.replace('-', '_')}"] = generator.poisson(600 * smooth) / 600
    return found


def between(first: Any, second: Any, fraction: float) -> tuple[float, float, float, float]:
    """A target on the way from one to the other."""
    a, b, c, d = np.array(first) + fraction * (np.array(second) - np.array(first))
    return float(a), float(b), float(c), float(d)


def named_targets(functionals: tuple[str, ...]) -> list[tuple[dict[str, Any], tuple[float, float, float, float]]]:
    """All samples of a whole study and where each of them lies."""
    found = []
    for ensemble in ("nvt", "npt"):
        found.append((about("foundation_md", ensemble, labels=0), FOUNDATION))
        for name in functionals:
            found.append((about("slhmc_chain", ensemble, name), TARGETS[name]))
            for labels in LABELS:
                target = between(FOUNDATION, TARGETS[name], 1 - 0.999 * np.exp(-labels / 60))
                found.append((about("adapted_md", ensemble, name, labels, labels == LABELS[-1]), target))
    found.append(
        (about("control_md", "npt", functionals[-1], LABELS[-1]), between(FOUNDATION, TARGETS[functionals[-1]], 0.2))
    )
    return found


def comparisons(samples: list[Sample]) -> list[dict[str, Any]]:
    """Every sample with the references of its ensemble; of the foundation with those of all functionals."""
    rows = []
    for reference in (sample for sample in samples if sample.role == "slhmc_chain"):
        for sample in samples:
            if (
                sample.ensemble == reference.ensemble
                and sample.functional in (None, reference.functional)
                and sample is not reference
            ):
                means = [item.metrics["nearest_neighbour"]["mean"][0] for item in (sample, reference)]
                rows.append(
                    {
                        "sample": sample.about,
                        "reference": reference.about,
                        "wasserstein": [abs(means[0] - means[1]) + 0.0006, 0.0004],
                        "floor": [0.0007, 0.0003],
                    }
                )
    return rows


def runs(functionals: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Forward errors and histories."""
    forward, histories = [], []
    for k, (name, ensemble) in enumerate((name, ensemble) for ensemble in ("nvt", "npt") for name in functionals):
        updates, epochs = [], []
        for epoch in range(13):
            force, energy = 15 + 85 * np.exp(-epoch / 2.5) + 4 * k, 2 + 8 * np.exp(-epoch / (2 + k)) + 0.3 * k
            updates.append(
                {
                    "epoch": epoch,
                    "labels_before": 30 * epoch,
                    "labels": 30,
                    "force_rmse_mev_per_angstrom": force,
                    "force_rmse_mev_per_angstrom_error": 0.05 * force,
                    "energy_rmse_mev_per_atom": energy,
                    "energy_rmse_mev_per_atom_error": 0.1 * energy,
                    "energy_rmse_centred_mev_per_atom": None if epoch == 0 else 0.4 * energy,
                    "energy_rmse_centred_mev_per_atom_error": None if epoch == 0 else 0.05 * energy,
                }
            )
            level = (0.72 if ensemble == "nvt" else 0.26) - 0.02 * k
            epochs.append(
                {
                    "epoch": epoch,
                    "labels": 30,
                    "n_cycles": 15,
                    "n_walkers": 2,
                    "acceptance": level * (1 - 0.8 * np.exp(-epoch)),
                    "n_steps": float(min(60 - 7 * k, 10 + 6 * epoch)),
                }
            )
        forward.append({"functional": name, "ensemble": ensemble, "updates": updates})
        histories.append({"functional": name, "ensemble": ensemble, "epochs": epochs})
    return forward, histories


def whole_study(functionals: tuple[str, ...] = ("pbe", "r2scan", "hse06")) -> Study:
    """Everything that a study can have; the control is far from the reference, the adapted models are at it."""
    samples = [
        Sample(metrics=metrics(name, target, seed), curves=curves(target, seed))
        for seed, (name, target) in enumerate(named_targets(functionals))
    ]
    forward, histories = runs(functionals)
    return Study(
        samples=samples, comparisons=comparisons(samples), forward=forward, histories=histories, experiment=EXPERIMENT
    )

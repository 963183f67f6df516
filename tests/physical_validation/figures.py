"""Figures of the validation, from the tests' own walks and laws: `python figures.py FOLDER`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import cell_toys  # noqa: E402
import matplotlib as mpl  # noqa: E402
import numpy as np  # noqa: E402
import wells  # noqa: E402
from exact_laws import ideal_gas_volume, strain_laws  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from scipy import stats  # noqa: E402

from aiida_slhmc.kernel.dynamics import Phase, kinetic_energy, leapfrog  # noqa: E402

mpl.use("Agg")
SAMPLE, EXACT, WRONG = "#9ec1de", "#1b1b1b", "#c8442f"
PRESSURE = 0.24  # GPa


def histogram(axes, samples, bins, label):
    axes.hist(np.ravel(samples), bins=bins, density=True, color=SAMPLE, label=label)


def finish(axes, x, path, y="probability density"):
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.figure.tight_layout()
    axes.figure.savefig(path, dpi=150)
    plt.close(axes.figure)
    print(path)


def new_axes():
    return plt.subplots(figsize=(5.6, 3.6))[1]


def ideal_gas(folder):
    """Ω of the isotropic ideal gas against Gamma(N + 1), and what N in its place would be."""
    chain = cell_toys.gas_walk(PRESSURE).run(*cell_toys.start(), 120).thinned(24, 4)
    axes, volumes = new_axes(), np.linspace(1, 320, 400)
    histogram(axes, chain.volumes, np.linspace(0, 320, 41), "sampled")
    for n_atoms, style, label in ((6, EXACT, "exact: Gamma(N + 1)"), (5, WRONG, "with N in place of N + 1")):
        law = ideal_gas_volume(n_atoms, PRESSURE, cell_toys.TEMPERATURE)
        axes.plot(volumes, law.pdf(volumes), color=style, ls="-" if n_atoms == 6 else "--", label=label)
    finish(axes, f"volume of the ideal gas / Å³ (N = 6, {PRESSURE} GPa, 300 K)", folder / "ideal_gas.png")


def full_cell(folder):
    """Ω and shear of the full toy, with and without J, against quadrature."""
    laws = [strain_laws("full", cell_toys.N_ATOMS + 1, 2.0, 5.0, jacobian) for jacobian in (True, False)]
    chains = [
        cell_toys.elastic_walk("full", 5.0, 1.1, **changes).run(*cell_toys.start(), 200).thinned(20, 4)
        for changes in ({}, {"cell_energy": cell_toys.without_jacobian})
    ]
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 3.6))
    samples = (lambda chain: chain.volumes / cell_toys.VOLUME, lambda chain: cell_toys.shear(chain.cells))
    names = ("volume Ω/Ω₀", "shear Σ(λᵢ − λ̄)²")
    for which, (axes, bins, sample, name) in enumerate(
        zip(panels, (np.linspace(0, 4.5, 46), np.linspace(0, 2.5, 41)), samples, names, strict=True)
    ):
        histogram(axes, sample(chains[0]), bins, "sampled")
        axes.stairs(
            np.histogram(sample(chains[1]), bins, density=True)[0], bins, color=WRONG, label="sampled without J"
        )
        for law, colour, label in ((laws[0], EXACT, "quadrature"), (laws[1], WRONG, "quadrature without J")):
            density = law[which].density / np.trapezoid(law[which].density, law[which].points)
            axes.plot(law[which].points, density, color=colour, ls="-" if colour == EXACT else "--", label=label)
        axes.set_xlim(bins[0], bins[-1])
        axes.set_xlabel(name)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("probability density")
    panels[1].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(folder / "full_cell.png", dpi=150)
    plt.close(figure)
    print(folder / "full_cell.png")


def harmonic_wells(folder):
    """The target's coordinate, which the chain has, and the model's, which it would have without the test."""
    stiffer = 0.75
    chain = wells.nvt_walk(stiffer).run(*wells.start(), 105).thinned(25, 4)
    coordinates = wells.WELLS.standardised(chain.positions, chain.cells, wells.TEMPERATURE)
    axes, x = new_axes(), np.linspace(-4.5, 4.5, 300)
    histogram(axes, coordinates, np.linspace(-4.5, 4.5, 61), "sampled")
    axes.plot(x, stats.norm.pdf(x), color=EXACT, label="target")
    axes.plot(x, stats.norm.pdf(x, scale=stiffer**-0.5), color=WRONG, ls="--", label="model that proposes")
    finish(axes, "coordinate / standard deviation of the target", folder / "harmonic_wells.png")


def energy_conservation(folder):
    """Root mean square of the integration error after one fixed time, against Δt, for NVT and NPT."""
    axes, timesteps = new_axes(), np.array([1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    cases = {"NVT": wells.nvt_walk(), **{f"NPT {mode}": wells.npt_walk(mode) for mode in ("isotropic", "full")}}
    for name, walk in cases.items():
        errors = [1e3 * np.sqrt(np.mean(integration_error(walk, timestep) ** 2)) for timestep in timesteps]
        axes.loglog(timesteps, errors, "o-", label=name)
    axes.loglog(timesteps, errors[0] * (timesteps / timesteps[0]) ** 2, color=EXACT, ls=":", label="∝ Δt²")
    axes.set_xticks(timesteps, [f"{timestep:g}" for timestep in timesteps])
    axes.minorticks_off()
    finish(axes, "time step / fs", folder / "energy_conservation.png", "root mean square ΔH / meV")


def integration_error(walk, timestep, duration=36.0):
    """ΔH of the model's own energy, for 64 walkers with thermal momenta."""
    ensemble, potential = walk.ensemble, walk.ensemble.potential(walk.model)
    generator = np.random.default_rng(0)
    coordinates = ensemble.coordinates(*(part[:64] for part in wells.start()))
    coordinates = coordinates + generator.normal(0, 0.05, coordinates.shape)
    momenta = np.stack([ensemble.draw_momenta(generator) for _ in coordinates])
    start = Phase(coordinates, momenta, *potential(coordinates))
    end = leapfrog(start, ensemble.masses, timestep, round(duration / timestep), potential)
    totals = [phase.energy + kinetic_energy(phase.momenta, ensemble.masses) for phase in (start, end)]
    return totals[1] - totals[0]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for draw in (ideal_gas, full_cell, harmonic_wells, energy_conservation):
        draw(target)

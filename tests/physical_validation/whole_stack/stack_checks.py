"""What is asked of every run through the whole stack: its labels and the model's numbers, and means of χ² samples.

The sampler's exact laws once more, through the whole stack: AiiDA, MACE's job, POSCAR, vasprun.xml, the decision.
The stand-in for VASP evaluates the formulas that ``stack_systems`` writes down independently. Sites are interleaved, so
that POSCAR's order is another one, and cells are triclinic in general directions. Walkers start with exact draws from
the target's ensemble: no cycle is spent on a burn-in, and each walker has the exact law at every cycle if the stack is
right.
"""

import numpy as np
import torch
from ase import Atoms, units
from evidence import correlation
from mace.calculators import MACECalculator
from scipy import stats

from aiida_slhmc.worker.checkpoint import default_dtype

N_WALKERS = 16
EV_PER_CUBIC_ANGSTROM = 1 / units.GPa  # in GPa
DIGITS = 1e-8  # eV, eV/Å and eV/Å³: labels against the formulas, and MACE against MACE


def largest(found, expected):
    return float(np.abs(np.asarray(found) - expected).max())


def scale_p(samples, degrees):
    """P value of the mean of *samples* (n_cycles, n_walkers) that are χ² distributed with these *degrees*.

    It uses all cycles: the mean's variance is that of independent samples times g = 1 + 2 Σ (1 − t/n) ρ_t, with ρ_t the
    measured correlation of t cycles. With as many samples as this takes minutes, no statistic sees a scale better.
    """
    n = len(samples)
    inflation = max(1.0, 1 + 2 * sum((1 - t / n) * correlation(samples, t) for t in range(1, n)))
    error = np.sqrt(2 * inflation / (degrees * samples.size))
    return float(2 * stats.norm.sf(abs(samples.mean() / degrees - 1) / error))


def check_labels(validation, system, chain, target, key):
    """*key* of every label against the formula at the label's own configuration."""
    pairs = [(label[key], target.label(label["positions"], label["cell"])[key]) for _, label in chain.ends()]
    worst = max(largest(*pair) for pair in pairs)
    validation.claim(system, f"{key} of {len(pairs)} labels, largest error", worst, below=DIGITS)


def check_model(validation, system, chain, model, numbers):
    """Energies, forces and, in NPT, stresses that the job gives at the end points, against MACE's own calculator."""
    with default_dtype(torch.float64):
        calculator = MACECalculator(models=[model], device="cpu", default_dtype="float64")
        worst = 0.0
        for job, label in chain.ends():
            atoms = Atoms(numbers, positions=label["positions"], cell=label["cell"], pbc=True, calculator=calculator)
            worst = max(worst, largest(job["energies"][1], atoms.get_potential_energy()))
            worst = max(worst, largest(job["forces"], atoms.get_forces()))
            if "stresses" in job:
                worst = max(worst, largest(job["stresses"], atoms.get_stress(voigt=False)))
    validation.claim(system, "model at the end points, largest difference", worst, below=DIGITS)

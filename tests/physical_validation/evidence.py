"""The statistics of the validation: p values, and how independent thinned samples are.

Every claim asks for p > 1e-3: with other seeds, a correct sampler would fail one claim in a thousand. Every negative
control asks for p < 1e-6 from the same statistic.
"""

import numpy as np
from scipy import stats

from aiida_slhmc.kernel.diagnostics import creutz

LEVEL, CONTROL = 1e-3, 1e-6
# of thinned samples: it widens the Kolmogorov-Smirnov statistic by a tenth, which p > 1e-3 can bear
LARGEST_CORRELATION = 0.1


def ks(samples, cdf):
    """P value of Kolmogorov and Smirnov's test of *samples* (any shape) against a distribution function."""
    return float(stats.kstest(np.ravel(samples), cdf).pvalue)


def creutz_p(delta_h, temperature):
    """P value of ⟨exp(−βΔH)⟩ = 1, from the mean and its standard error."""
    value, error = creutz(np.ravel(delta_h), temperature)
    return float(2 * stats.norm.sf(abs(value - 1) / error))


def mean_p(samples, expected):
    """P value of the mean of *samples* (n_cycles, n_walkers): t-test on the walkers' means, which are independent."""
    return float(stats.ttest_1samp(np.mean(samples, axis=0), expected).pvalue)


def correlation(series, lag):
    """Of *series* (n_cycles, n_walkers) with itself *lag* cycles later, over all walkers."""
    deviations = series - series.mean()
    return float(np.mean(deviations[:-lag] * deviations[lag:]) / np.mean(deviations**2))

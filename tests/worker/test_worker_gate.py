"""The rule of the gate, for the job and for the run."""

import math

import pytest

from aiida_slhmc.worker.gate import worse_errors

RATIOS = {"loss": 1.6, "force_rmse_mev_per_angstrom": 1.5, "unknown": None, "infinite": math.inf}


def test_what_is_worse_by_more_than_the_factor_is_named():
    """At the factor itself a model passes."""
    assert worse_errors(RATIOS, 1.5, from_scratch=False) == {"loss": 1.6, "infinite": math.inf}
    assert worse_errors(RATIOS, 1.4, from_scratch=False) == {
        "loss": 1.6,
        "force_rmse_mev_per_angstrom": 1.5,
        "infinite": math.inf,
    }


@pytest.mark.parametrize(("factor", "from_scratch"), [(None, False), (1.5, True)])
def test_no_gate(factor, from_scratch):
    assert worse_errors(RATIOS, factor, from_scratch=from_scratch) == {}

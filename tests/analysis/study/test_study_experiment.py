"""Values of experiments: names and numbers that tables cannot use are refused at submission."""

from __future__ import annotations

import dataclasses

import pytest
from study_examples import EXPERIMENT, whole_study

from aiida_slhmc.analysis.study.experiment import check_experiment
from aiida_slhmc.analysis.study.tables import table_1_npt, table_a2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Volume": 31.15}, "did you mean 'volume'"),
        ({"volume": [31.15]}, "volume must be a positive number"),
        ({"a": -1.0}, "a must be a positive number"),
        ({"source": 5}, "source must be words"),
    ],
)
def test_nonsense_is_refused(change, message) -> None:
    check_experiment(EXPERIMENT)
    with pytest.raises(ValueError, match=message):
        check_experiment(EXPERIMENT | change)


def test_two_experiments() -> None:
    """Cell and shell are from different ones. Fails where one is named for the other's numbers."""
    study = whole_study(("pbe",))
    both = dataclasses.replace(study, experiment=EXPERIMENT | {"shell_source": "X-rays, 290 K"})
    assert table_1_npt(both)[-1]["sample"] == "Experiment (neutrons, 300 K)"
    assert table_a2(both)[-1]["sample"] == "Experiment (X-rays, 290 K)"
    assert table_a2(study)[-1]["sample"] == "Experiment (neutrons, 300 K)"

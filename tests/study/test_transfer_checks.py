"""What a study and its transfers refuse at submission, in words, before anything is computed."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm

from aiida_slhmc.workflows.study import StudyWorkChain

# parts of the study of which the parameters are altered
PARTS = {
    "md": lambda builder: builder.functionals["pbe"]["nvt"]["md"],
    "reference": lambda builder: builder.functionals["pbe"]["nvt"]["reference"],
    "production": lambda builder: builder.functionals["pbe"]["relabel"]["production"]["npt"],
    "foundation": lambda builder: builder.foundation["npt"],
}


def problem(builder: Any) -> str:
    """What the validation of all inputs says."""
    ports = StudyWorkChain.spec().inputs
    error = ports.validate(ports.pre_process(builder._inputs(prune=True)))
    return "" if error is None else str(error.message)


def altered(node: orm.Dict, **changes: Any) -> orm.Dict:
    return orm.Dict({key: value for key, value in (node.get_dict() | changes).items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"centre": "Zr", "peak_windows": None}, "there is no Zr among the species O, Ti"),
        ({"replication": [3, 3, 3]}, "27 unit cells, which O4 Ti2 is not"),
        ({"peak_windows": {"O-O": [2.2, 3.2]}}, "give a window of Ti-O"),
    ],
)
def test_an_analysis_of_something_else(study_builder, changes, message) -> None:
    builder = study_builder()
    assert problem(builder) == ""
    builder.analysis = altered(builder.analysis, **changes)
    assert message in problem(builder)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("md", {"ensemble": "npt"}, "nvt.md: this is dynamics in the ensemble npt"),
        ("reference", {"ensemble": "npt"}, "nvt.reference.parameters are of the ensemble npt"),
        ("reference", {"temperature": -1.0}, "temperature"),
        ("production", {"ensemble": "nvt", "pressure": None}, "relabel.production.npt: this is dynamics in"),
        ("foundation", {"ensemble": "nvt", "pressure": None}, "foundation.npt: this is dynamics in the ensemble nvt"),
    ],
)
def test_dynamics_of_another_ensemble(study_builder, part, changes, message) -> None:
    builder = study_builder()
    of_npt = dict.fromkeys(("pressure", "cell_degrees_of_freedom", "cell_time_constant"))
    given = PARTS[part](builder)
    given["parameters"] = altered(given["parameters"], **(of_npt | changes))
    assert message in problem(builder)


def test_a_control_in_an_ensemble_without_a_reference(study_builder) -> None:
    builder = study_builder()
    del builder.functionals["pbe"]["npt"]
    assert "relabel.production has npt, and the control is compared in nvt" in problem(builder)


def test_the_studys_pool_is_the_controls(study_builder) -> None:
    """It needs none of its own; and the choice is checked against the dynamics that makes it."""
    builder = study_builder()
    control = builder.functionals["pbe"]["relabel"]
    control.pop("pool_md", None)
    assert problem(builder) == ""
    control["selection"] = altered(control["selection"], n_frames=1000)
    assert "selection: " in problem(builder)


def test_what_the_ports_refuse(study_builder) -> None:
    builder = study_builder()
    with pytest.raises(ValueError, match="did you mean 'volume'"):
        builder.experiment = orm.Dict({"Volume": 31.15})
    with pytest.raises(ValueError, match="seed must be a whole number"):
        builder.analysis = altered(builder.analysis, seed=-1)

"""The study from a protocol: each is valid, control and run have the same training, mistakes are answered in words."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.workflows.study import StudyWorkChain
from aiida_slhmc.workflows.study_inputs import get_study_protocol, study_protocol_names


def problem(builder) -> str:
    """What the validation of all inputs says."""
    error = StudyWorkChain.spec().inputs.validate(StudyWorkChain.spec().inputs.pre_process(builder._inputs(prune=True)))
    return "" if error is None else str(error.message)


@pytest.mark.parametrize("name", study_protocol_names())
def test_each_protocol_is_valid(study_builder, structure, foundation, python_code, vasp_code, family, name):
    builder = StudyWorkChain.get_builder_from_protocol(
        structure=structure,
        model=foundation,
        python_code=python_code,
        functionals=["pbe", "r2scan", "hse06"],
        analysis={"centre": "Ti", "neighbour": "O"},
        target_options={"code": vasp_code, "potential_family": family, "options": {"withmpi": False}},
        protocol=name,
    )
    assert problem(builder) == ""
    assert set(builder.functionals) == {"pbe", "r2scan", "hse06"}
    seeds = {name: inputs["npt"]["reference"]["parameters"]["seed"] for name, inputs in builder.functionals.items()}
    assert len(set(seeds.values())) == 3, "the references would deviate alike"
    dynamics = [builder.foundation[ensemble]["parameters"]["seed"] for ensemble in ("npt", "pool")]
    for inputs in builder.functionals.values():
        dynamics += [inputs["npt"]["md"]["parameters"]["seed"]]
        dynamics += [inputs["relabel"]["production"]["npt"]["parameters"]["seed"]]
    assert len(set(dynamics)) == len(dynamics) == 8, "the molecular dynamics would deviate alike"


def test_each_ensemble_may_have_a_structure_of_its_own(study_builder, structure):
    other = structure.clone()
    builder = study_builder(structure={"nvt": other, "npt": structure})
    assert builder.foundation["nvt"]["structure"].uuid == other.uuid
    assert builder.foundation["npt"]["structure"].uuid == builder.foundation["pool"]["structure"].uuid == structure.uuid
    inputs = builder.functionals["pbe"]
    assert inputs["nvt"]["slhmc"]["structure"].uuid == other.uuid
    assert inputs["relabel"]["structure"].uuid == inputs["npt"]["slhmc"]["structure"].uuid == structure.uuid
    assert problem(builder) == ""


def test_an_ensemble_without_a_structure(study_builder, structure):
    with pytest.raises(ValueError, match="no structure for npt"):
        study_builder(structure={"nvt": structure})


def test_the_papers_study():
    settings = get_study_protocol("paper")
    nvt, npt = settings["ensembles"]["nvt"], settings["ensembles"]["npt"]
    for ensemble in (nvt, npt):
        assert (ensemble["md"]["n_steps"], ensemble["md"]["sampling_interval"]) == (5000, 10)
        cycles = ensemble["reference"]
        assert cycles["n_cycles"] - cycles["n_equilibration_cycles"] == 600
    assert settings["temperature"] == 300.0
    assert npt["slhmc"]["kernel"]["temperature"] == settings["control"]["pool"]["temperature"] == 600.0
    assert settings["control"]["pool"]["n_steps"] == 130000
    assert get_study_protocol() == settings


def test_training_data_have_a_temperature_of_their_own(study_builder):
    builder = study_builder(
        ensembles={"npt": {"slhmc": {"kernel": {"temperature": 600.0}}}},
        control={"pool": {"temperature": 600.0}},
    )
    inputs = builder.functionals["pbe"]
    assert inputs["npt"]["slhmc"]["parameters"]["temperature"] == 600.0
    assert inputs["npt"]["reference"]["parameters"]["temperature"] == 300.0
    assert inputs["npt"]["md"]["parameters"]["temperature"] == 300.0
    assert builder.foundation["pool"]["parameters"]["temperature"] == 600.0


def test_control_has_the_target_and_training_of_its_run(study_builder):
    inputs = study_builder().functionals["pbe"]
    run, control = inputs["npt"]["slhmc"], inputs["relabel"]
    assert control["target"] == run["target"]
    assert control["fine_tune"]["parameters"].get_dict() == run["fine_tune"]["parameters"].get_dict()
    assert control["model"].uuid == run["model"].uuid
    MdParameters.from_dict(control["pool_md"]["parameters"].get_dict())


def test_an_ensemble_or_the_control_can_be_left_out(study_builder):
    builder = study_builder(ensembles={"npt": None}, control=None)
    assert set(builder.functionals["pbe"]) == {"functional", "nvt"}
    assert problem(builder) == ""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"ensemble": {}}, "did you mean 'ensembles'|ensembles"),
        ({"ensembles": {"nvt": None, "npt": None}}, "at least one of the ensembles"),
        ({"ensembles": {"npt": None}}, "control's production is in npt"),
        ({"ensembles": {"nvt": {"md": {"n_step": 5}}}}, "n_steps"),
        ({"ensembles": {"nvt": {"slhmc": {"n_walker": 5}}}}, "n_walkers"),
    ],
)
def test_mistakes_in_overrides(study_builder, overrides, message):
    with pytest.raises(ValueError, match=message):
        study_builder(**overrides)


def test_unknown_protocol():
    with pytest.raises(ValueError, match="there are paper, miniature"):
        get_study_protocol("fast")


def test_no_functional(study_builder):
    with pytest.raises(ValueError, match="at least one functional"):
        study_builder(functionals=())


def test_what_a_transfer_would_refuse_is_refused_at_submission(study_builder):
    builder = study_builder()
    builder.functionals["pbe"]["nvt"]["reference"]["n_equilibration_cycles"] = orm.Int(3)
    assert "functionals.pbe: nvt.reference: no cycle is left" in problem(builder)


def test_a_run_of_the_other_ensemble_is_refused(study_builder):
    builder = study_builder()
    builder.functionals["pbe"]["nvt"]["slhmc"] = builder.functionals["pbe"]["npt"]["slhmc"]
    assert "nvt.slhmc is a run in the ensemble npt" in problem(builder)

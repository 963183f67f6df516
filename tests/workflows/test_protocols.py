"""Protocols: each is valid, and mistakes in names are answered with what there is."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_slhmc.kernel.adaptation import make_rule
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.workflows.inputs import get_protocol, protocol_names
from aiida_slhmc.workflows.slhmc import SlhmcWorkChain


def test_names() -> None:
    assert protocol_names() == ["fast", "balanced", "stringent", "paper"]
    assert get_protocol() == get_protocol("balanced")


@pytest.mark.parametrize("name", ["fast", "balanced", "stringent", "paper"])
def test_each_protocol_is_valid(name: str) -> None:
    """Fails where a protocol has an option that its own calculation would refuse."""
    settings = get_protocol(name)
    KernelParameters(**settings["kernel"])
    make_rule(settings["adaptation"])
    FineTuneParameters.from_dict(settings["fine_tune"])
    assert settings["label_budget"] >= settings["n_walkers"] * settings["n_cycles"]


def test_the_papers_protocol() -> None:
    """Fails where `paper` is no longer what was published."""
    settings = get_protocol("paper")
    assert (settings["n_walkers"], settings["n_cycles"]) == (1, 30)
    assert settings["adaptation"]["rule"] == "acceptance"
    training = settings["fine_tune"]
    published = {"learning_rate": 0.01, "batch_size": 8, "max_epochs": 50, "patience": 10, "scheduler_patience": 5}
    assert published.items() <= training.items()
    assert (training["energy_weight"], training["forces_weight"]) == (1.0, 100.0)
    assert training["references"] == {"method": "average"}


def test_overrides_are_merged_key_by_key() -> None:
    """Fails where overriding one number drops its neighbours, or changes the protocol for the next run."""
    settings = get_protocol("fast", {"kernel": {"seed": 7}, "n_walkers": 9})
    plain = get_protocol("fast")
    assert settings["kernel"] == plain["kernel"] | {"seed": 7}
    assert settings["n_walkers"] == 9
    assert plain["kernel"]["seed"] == 0


def test_options_of_the_training_are_checked_with_the_protocol() -> None:
    """Fails where a mistake in a file of settings is only found out with structure, model and codes at hand."""
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        get_protocol("fast", {"fine_tune": {"scheduler": "cosin"}})
    with pytest.raises(ValueError, match="no option of selection 'sise'"):
        get_protocol("fast", {"fine_tune": {"selection": {"method": "window", "sise": 4}}})


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("quick", None, "no protocol 'quick'; there are fast, balanced, stringent, paper"),
        (None, {"n_walker": 2}, "no key of the protocol 'n_walker'; did you mean 'n_walkers'"),
        (None, {"zzz": 2}, "no key of the protocol 'zzz'; there are .*trajectory"),
    ],
)
def test_unknown_names(name: str | None, overrides: dict[str, int] | None, message: str) -> None:
    """Fails where a typing mistake silently leaves a default in place."""
    with pytest.raises(ValueError, match=message):
        get_protocol(name, overrides)


def test_builder(builder_of, structure, foundation) -> None:
    """Fails where a setting of the protocol does not arrive at the port that it is for."""
    builder = builder_of(convergence={"force_rmse_mev_per_angstrom": 30.0, "acceptance": 0.6})
    assert (builder.n_walkers.value, builder.n_cycles.value, builder.label_budget.value) == (2, 2, 8)
    assert builder.structure.uuid == structure.uuid
    assert builder.model.uuid == foundation.uuid
    assert builder.trajectory.get_dict() == {"n_steps": 5, "timestep": 2.0}
    assert builder.fine_tune.parameters["max_epochs"] == 2
    assert builder.target.engine.value == "vasp"
    assert builder.convergence["acceptance"] == 0.6
    assert builder.committee_size.value == 1


def test_deep_mistakes_are_found_with_the_builder(builder_of) -> None:
    """Fails where a mistake below the protocol's first level is only found out in the queue."""
    with pytest.raises(ValueError, match="did you mean 'max_epochs'"):
        builder_of(fine_tune={"max_epoch": 3})
    with pytest.raises(ValueError, match="did you mean 'temperature'"):
        builder_of(kernel={"temprature": 300.0})
    with pytest.raises(ValueError, match="timestep is a part of `trajectory`"):
        builder_of(kernel={"timestep": 1.0})
    with pytest.raises(ValueError, match="did you mean 'n_steps'"):
        builder_of(trajectory={"nsteps": 5})
    with pytest.raises(ValueError, match="no option of the rule 'jump' 'target_acceptance'"):
        builder_of(adaptation={"target_acceptance": 0.8})
    with pytest.raises(ValueError, match="pass ensemble='npt'"):
        builder_of(kernel={"ensemble": "npt"})


def test_builder_of_unknown_target_and_functional(structure, foundation, python_code, vasp_code, family) -> None:
    common = {"structure": structure, "model": foundation, "python_code": python_code}
    with pytest.raises(ValueError, match="no target 'castep'"):
        SlhmcWorkChain.get_builder_from_protocol(**common, functional="pbe", target="castep")
    options = {"code": vasp_code, "potential_family": family}
    with pytest.raises(ValueError, match="functional must be one of"):
        SlhmcWorkChain.get_builder_from_protocol(**common, functional="pbe0", target_options=options)
    assert isinstance(vasp_code, orm.InstalledCode)


def test_npt_settings_lie_between_what_is_common_and_the_protocols_own() -> None:
    """Fails where NPT runs in NVT, trains without stress, or the paper's protocol is not the paper's."""
    settings = get_protocol("fast", {"kernel": {"pressure": 2.0}}, ensemble="npt")
    assert settings["kernel"]["ensemble"] == "npt"
    assert settings["kernel"]["pressure"] == 2.0
    assert settings["kernel"]["cell_degrees_of_freedom"] == "orthorhombic"
    assert settings["fine_tune"]["loss"] == "energy_forces_stress"
    assert get_protocol("paper", ensemble="npt")["fine_tune"]["loss"] == "energy_forces"
    assert "loss" not in get_protocol("fast")["fine_tune"]
    with pytest.raises(ValueError, match="no ensemble 'nph'; there are nvt, npt"):
        get_protocol("fast", ensemble="nph")

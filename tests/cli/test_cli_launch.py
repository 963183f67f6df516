"""`aiida-slhmc launch`: from options and files to inputs, and what is written out leads to the same inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiida import orm
from aiida.engine import ProcessBuilder
from click.testing import CliRunner, Result
from fixtures import FOUNDATION_FILE, rutile_atoms

from aiida_slhmc.cli.launch import command
from aiida_slhmc.cli.launch_inputs import get_builder
from aiida_slhmc.cli.launch_settings import (
    FineTuneSettings,
    Kernel,
    MdParameterSettings,
    MdSettings,
    Overrides,
    RelabelSettings,
    SlhmcSettings,
)
from aiida_slhmc.cli.settings import Settings, check_settings
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.data.mace_model import MaceModelData
from aiida_slhmc.kernel.md_parameters import MdParameters
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.sharing.data_set import store_data_set
from aiida_slhmc.workflows.inputs import get_protocol


def called(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(result: Result, message: str, code: int = 1) -> None:
    """Ended with this exit status and one message, without a traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert message in result.output


def written(*arguments: Any) -> dict[str, Any]:
    """What `--dump` writes."""
    result = called(*arguments, "--dump")
    assert result.exit_code == 0, result.output
    return yaml.safe_load(result.stdout)


def plain(inputs: Any) -> Any:
    """The inputs of a builder as values that can be compared; nodes that are stored by their UUID."""
    if isinstance(inputs, orm.Node):
        if isinstance(inputs, orm.Dict):
            return inputs.get_dict()
        if inputs.is_stored:
            return inputs.uuid
        return {key: value for key, value in inputs.base.attributes.all.items() if not key.startswith("_")}
    if isinstance(inputs, dict) or hasattr(inputs, "items"):
        return {key: plain(value) for key, value in inputs.items() if key != "metadata"}
    return inputs


def inputs_of(kind: type[Settings], values: dict[str, Any]) -> Any:
    builder: ProcessBuilder = get_builder(check_settings(kind, values))
    return plain(builder._inputs(prune=True))


@pytest.fixture(scope="module")
def model(aiida_profile: Any) -> MaceModelData:
    return MaceModelData(checkpoint=FOUNDATION_FILE, label="launched foundation").store()


@pytest.fixture
def poscar(tmp_path: Path) -> Path:
    path = tmp_path / "rutile.vasp"
    rutile_atoms().write(path, format="vasp")
    return path


@pytest.fixture
def options(poscar: Path, model: MaceModelData, python_code: orm.Code, vasp_code: orm.Code, family: str) -> list[str]:
    """Those of a run at the stand-in."""
    pairs = {
        "--structure": str(poscar),
        "--model": "launched foundation",
        "--python-code": python_code.full_label,
        "--functional": "pbe",
        "--code": vasp_code.full_label,
        "--potential-family": family,
    }
    return [word for pair in pairs.items() for word in pair]


CHANGES = ["--set", "overrides.fine_tune.max_epochs=3", "--set", "target_options.incar={encut: 500}", "--seed", "7"]
MD = ["--set", "overrides.md={n_steps: 900, sampling_interval: 5}", "--set", "overrides.production=null"]


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("slhmc", SlhmcSettings, ["--protocol", "fast", "--temperature", "450", *CHANGES]),
        ("slhmc", SlhmcSettings, ["--ensemble", "npt", "--pressure", "0.5", "--n-walkers", "2"]),
        ("relabel", RelabelSettings, ["--protocol", "fast", "--label-budget", "9", *CHANGES, *MD]),
    ],
)
def test_what_is_dumped_gives_the_same_inputs(
    options: list[str], tmp_path: Path, name: str, kind: type[Settings], more: list[str]
) -> None:
    """Fails where the file that `--dump` writes is refused, or leads to other inputs than the options."""
    text = called(name, *options, *more, "--dump").stdout
    file = tmp_path / "elsewhere" / "run.yaml"
    file.parent.mkdir()
    file.write_text(text)
    assert called(name, "--config", file, "--dump").stdout == text
    values = yaml.safe_load(text)
    given = {"structure": values["structure"], "model": values["model"], "functional": "pbe"}
    given |= {"python_code": values["python_code"]}
    given["target_options"] = {
        "code": options[options.index("--code") + 1],
        "potential_family": options[options.index("--potential-family") + 1],
        **({"incar": {"encut": 500}} if CHANGES[0] in more else {}),
    }
    assert values["target_options"]["incar"]["ENCUT"] == (500 if CHANGES[0] in more else 520)
    if "fast" in more:
        given["protocol"] = "fast"
    if name == "relabel":
        md = {"n_steps": 900, "sampling_interval": 5}
        own = {"kernel": {"seed": 7}, "fine_tune": {"max_epochs": 3}, "label_budget": 9, "md": md, "production": None}
    elif "npt" in more:
        given["ensemble"] = "npt"
        own = {"kernel": {"pressure": 0.5}, "n_walkers": 2}
    else:
        own = {"kernel": {"temperature": 450.0, "seed": 7}, "fine_tune": {"max_epochs": 3}}
    assert inputs_of(kind, values) == inputs_of(kind, given | {"overrides": own})


def test_options_reach_the_inputs(options: list[str], tmp_path: Path) -> None:
    """Fails where an option, a key of the file or --set has no effect on what is launched."""
    values = written("slhmc", *options, "--temperature", 450, "--label-budget", 120, *CHANGES)
    values |= {"python_options": {"max_wallclock_seconds": 600}}
    inputs = inputs_of(SlhmcSettings, values)
    assert inputs["parameters"]["temperature"] == 450.0
    assert inputs["parameters"]["seed"] == 7
    assert inputs["fine_tune"]["parameters"]["max_epochs"] == 3
    assert inputs["target"]["parameters"]["encut"] == 500
    assert inputs["proposal"]["options"] == inputs["fine_tune"]["options"] == {"max_wallclock_seconds": 600}
    builder = get_builder(check_settings(SlhmcSettings, values))
    assert builder.label_budget.value == 120
    assert builder.n_walkers.value == get_protocol()["n_walkers"]
    assert builder.structure.get_ase().get_chemical_formula() == "O4Ti2"


def test_file_options_and_set_in_this_order(options: list[str], tmp_path: Path) -> None:
    """Fails where the file wins over an option, or an option over --set; or a path is not that of the file's folder."""
    rutile_atoms().write(tmp_path / "other.vasp", format="vasp")
    file = tmp_path / "run.yaml"
    overrides = {"kernel": {"temperature": 100.0, "seed": 1}, "n_cycles": 5}
    file.write_text(yaml.safe_dump({"structure": "other.vasp", "overrides": overrides}))
    more = ["--temperature", 200, "--seed", 2, "--set", "overrides.kernel.seed=3"]
    values = written("slhmc", *options[2:], "--config", file, *more)
    assert values["overrides"]["kernel"]["temperature"] == 200.0
    assert values["overrides"]["kernel"]["seed"] == 3
    assert values["overrides"]["n_cycles"] == 5
    assert values["structure"] == str(tmp_path / "other.vasp")


def test_dump_says_what_a_launch_would_refuse(foundation, python_code) -> None:
    """Fails where a mistake in the options is only seen when the file is launched, or spoils the file."""
    code = f"{python_code.label}@{python_code.computer.label}"
    given = {"--model": foundation.uuid, "--python-code": code, "--code": code, "--temperature": 300}
    options = [word for pair in given.items() for word in pair]
    poscar = Path(__file__).parents[2] / "examples" / "rutile.vasp"
    for wrong, message in (
        (["--structure", "POSCARX", "--target", "ase", "--functional", "gfn1"], "there is no file of this name"),
        (["--structure", poscar, "--target", "ase", "--functional", "pbe"], "the functional must be one of gfn1, gfn2"),
    ):
        result = called("slhmc", *options, *wrong, "--dump")
        assert result.exit_code == 0, result.output
        assert message in result.stderr
        assert yaml.safe_load(result.stdout)["functional"] == wrong[-1]
    right = called("slhmc", *options, "--structure", poscar, "--target", "ase", "--functional", "gfn1", "--dump")
    assert "Warning" not in right.stderr


def test_dump_without_anything_is_a_form(tmp_path: Path) -> None:
    """Fails where what is needed is not marked, or the form that was not filled in is taken."""
    result = called("slhmc", "--dump")
    assert result.exit_code == 0
    for name in ("structure", "model", "functional"):
        assert f"{name}:  # <- needed" in result.output
    file = tmp_path / "form.yaml"
    file.write_text(result.output)
    refused(called("slhmc", "--config", file), "`structure` is missing: give --structure")


@pytest.mark.parametrize("name", ["slhmc", "epoch", "md", "relabel", "finetune"])
def test_schema_form_and_help_have_the_same_keys(name: str) -> None:
    """Fails where one of them lacks a key, a description, or an example."""
    schema = json.loads(called(name, "--schema").output)
    assert set(schema["properties"]) == set(yaml.safe_load(called(name, "--dump").output)) | _without_value(name)
    assert all("description" in entry for entry in schema["properties"].values())
    text = " ".join(called(name, "--help").output.split())
    assert f"aiida-slhmc launch {name}" in text
    for required in schema["required"]:
        assert f"--{required.rstrip('s').replace('_', '-')}" in text or required == "parameters"


def _without_value(name: str) -> set[str]:
    """Keys without a default, which a form has commented out."""
    keys = {"epoch": {"seed"}, "md": {"structure", "state", "reference_structure", "role"}}
    return keys.get(name, {"protocol"} if name in ("slhmc", "relabel") else set())


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("strcture=x", "no key 'strcture'; did you mean 'structure'?"),
        ("overrides.kernel.temprature=3", "did you mean 'temperature'?"),
        ("overrides.fine_tune.max_epoch=3", "did you mean 'max_epochs'?"),
        ("overrides.adaptation.rule=jmp", "jmp"),
        ("target_options.incr={}", "did you mean 'incar'?"),
        ("protocol=fats", "there is no protocol 'fats'"),
        ("functional=pbee", "functional must be one of"),
        ("target=vsp", "there is no target 'vsp'"),
        ("ensemble=nve", "ensemble"),
        ("overrides.n_cycles=0", "overrides.n_cycles: Input should be greater than or equal to 1, not 0"),
        ("overrides.n_cycles.x=0", "overrides.n_cycles"),
        ("model=nobody", "model: there is no node 'nobody'; `aiida-slhmc model list`"),
        ("python_code=nobody", "python_code: there is no code 'nobody'; there are: "),
        ("structure=nowhere.cif", "there is no file of this name"),
        ("target_options.potential_family=none", "no POTCARs"),
        ("probes={a: 1000000000}", "probes.a: there is no node"),
        ("nonsense", "--set takes KEY=VALUE"),
        ("overrides=[", "is no YAML"),
    ],
)
def test_user_errors(options: list[str], assignment: str, message: str) -> None:
    """Fails where a slip gives a traceback, a message that does not help, or is not noticed before the launch."""
    refused(called("slhmc", *options, "--set", assignment, "--no-display"), message)


def test_a_structure_that_cannot_be_read(options: list[str], tmp_path: Path) -> None:
    """Fails where ASE's own errors come through."""
    file = tmp_path / "broken.cif"
    file.write_text("no structure")
    refused(called("slhmc", *options, "--structure", file), "ASE cannot read")


def test_models_have_the_fields_of_what_they_describe() -> None:
    """Fails where an option of the sampler or the dynamics cannot be given, or one is offered that is refused."""
    assert set(Kernel.model_fields) == {field.name for field in fields(KernelParameters)} - {"ensemble"}
    assert set(MdParameterSettings.model_fields) == {field.name for field in fields(MdParameters)}
    assert set(Overrides.model_fields) == set(get_protocol()) - {"description"} | {"convergence"}
    defaults = {field.name: field.default for field in fields(MdParameters)}
    for name, field in MdParameterSettings.model_fields.items():
        if name not in ("n_steps", "temperature", "seed"):
            assert field.default == defaults[name], name


def test_md_from_a_configuration_or_a_state(
    labelled: Callable[..., ConfigurationData], model: MaceModelData, python_code: orm.Code
) -> None:
    """Fails where a sampled configuration, a state or an option of the dynamics is not what is launched."""
    start = labelled(4)
    values = {"model": model.pk, "structure": start.pk, "python_code": python_code.full_label, "role": "adapted_md"}
    values |= {"parameters": {"n_steps": 20, "temperature": 350, "ensemble": "npt", "pressure": 1.0}}
    builder: Any = get_builder(check_settings(MdSettings, values))
    assert builder.structure.uuid == start.uuid
    assert builder.role.value == "adapted_md"
    options = MdParameters.from_dict(builder.parameters.get_dict())
    assert (options.temperature, options.pressure, options.seed) == (350.0, 1.0, 0)
    assert written("md", "--model", model.pk, "--temperature", 1, "--n-steps", 2, "--structure", start.pk)[
        "parameters"
    ]["chain_length"]


def test_finetune(labelled: Callable[..., ConfigurationData], model: MaceModelData, python_code: orm.Code) -> None:
    """Fails where the blocks lose their order, or options and probes do not reach the training."""
    labels = [[labelled(10 + 2 * k), labelled(11 + 2 * k)] for k in range(2)]
    blocks = [DatasetData(configurations=entries).store() for entries in labels]
    words = [word for block in reversed(blocks) for word in ("--dataset", block.pk)]
    code = ["--python-code", python_code.full_label, "--model", model.uuid]
    values = written(
        "finetune", *words, *code, "--set", "parameters.max_epochs=4", "--set", f"probes.own={blocks[0].pk}"
    )
    builder: Any = get_builder(check_settings(FineTuneSettings, values))
    order = [builder.datasets[name].uuid for name in sorted(builder.datasets)]
    assert order == [block.uuid for block in reversed(blocks)]
    assert builder.parameters["max_epochs"] == 4
    assert builder.probes["own"].uuid == blocks[0].uuid
    store_data_set("to-train-on", blocks[1], labels[1])
    builder = get_builder(check_settings(FineTuneSettings, values | {"datasets": ["to-train-on"]}))
    assert [node.uuid for node in builder.datasets.values()] == [blocks[1].uuid]
    refused(called("finetune", "--dataset", model.pk, *code), "is a MaceModelData, not a DatasetData")
    refused(called("finetune", *words, *code, "--set", "parameters.max_epoch=4"), "did you mean 'max_epochs'?")

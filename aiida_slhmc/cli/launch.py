"""`aiida-slhmc launch`: runs from options, a YAML file, or both."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from aiida_slhmc.cli.completion import runs
from aiida_slhmc.cli.errors import USER_ERRORS, load_database, user_errors
from aiida_slhmc.cli.examples import examples
from aiida_slhmc.cli.launch_settings import (
    EpochSettings,
    FineTuneSettings,
    MdSettings,
    RelabelSettings,
    SlhmcSettings,
)
from aiida_slhmc.cli.settings import Settings, Values, check_settings, commented_yaml, read_yaml
from aiida_slhmc.cli.settings_options import SET_OPTION, collect_values, settings_options

__all__ = ("command",)

FILES = ("structure", "reference_structure")


@click.group(
    "launch",
    epilog=examples(
        "aiida-slhmc launch slhmc --structure POSCAR --model foundation --functional r2scan \\",
        "    --code vasp@cluster --potential-family PBE.54 --temperature 300 --dump > run.yaml",
        "aiida-slhmc launch slhmc --config run.yaml --submit",
    ),
)
def command() -> None:
    """Launch a run, from options, a YAML file, or both.

    Options replace what the file says. `--dump` writes the file, with everything that the protocol decides and a
    comment for each key; launching it gives the same run.
    """


def _common(kind: type[Settings]) -> Any:
    """Decorator: the options of all commands, and those of *kind*."""

    def decorate(function: Any) -> Any:
        own = settings_options(kind)
        about = (
            click.option("--no-display", is_flag=True, help="Do not show the run while it lives."),
            click.option(
                "--submit", "to_daemon", is_flag=True, help="Hand it to the daemon instead of waiting for it."
            ),
            click.option("--dump", is_flag=True, help="Only write the YAML file of this launch, commented."),
            click.option("--schema", is_flag=True, help="Only write the JSON schema of the YAML file."),
            SET_OPTION,
        )
        for option in about:
            function = option(function)
        file = click.Path(exists=True, dir_okay=False, path_type=Path)
        config = click.option(
            "--config", type=file, help="YAML file with the settings; paths in it start at its folder."
        )
        return config(own(function))

    return decorate


@command.command(
    "slhmc",
    epilog=examples(
        "aiida-slhmc launch slhmc --structure rutile.cif --model foundation --functional pbe \\",
        "    --code vasp@cluster --potential-family PBE.54 --protocol balanced --submit",
        "aiida-slhmc launch slhmc --restart 1234",
        "aiida-slhmc launch slhmc --restart 1234 --label-budget 200 --set python_options.queue_name=long",
    ),
)
@_common(SlhmcSettings)
@click.option(
    "--restart",
    metavar="PK",
    shell_complete=runs,
    help="Go on from this run, finished or not, with its settings; --label-budget, --python-code, --code, and by --set "
    "python_options and target_options.options may be others.",
)
@user_errors
def launch_slhmc(restart: str | None, **given: Any) -> None:
    """A self-learning run: epochs of hybrid Monte Carlo, a fine-tuning after each."""
    if restart is not None:
        _restart(restart, given)
    else:
        _launch("slhmc", SlhmcSettings, given)


@command.command(
    "epoch",
    epilog=examples(
        "aiida-slhmc launch epoch --run 1234 --n-cycles 200 --submit",
    ),
)
@_common(EpochSettings)
@user_errors
def launch_epoch(**given: Any) -> None:
    """A long epoch with the last model of a finished run, frozen: a reference sample of the target's ensemble."""
    _launch("epoch", EpochSettings, given)


@command.command(
    "md",
    epilog=examples(
        "aiida-slhmc launch md --structure POSCAR --model 567 --temperature 300 --n-steps 100000 --role adapted_md",
    ),
)
@_common(MdSettings)
@user_errors
def launch_md(**given: Any) -> None:
    """Molecular dynamics with a frozen model."""
    _launch("md", MdSettings, given)


@command.command(
    "relabel",
    epilog=examples(
        "aiida-slhmc launch relabel --structure POSCAR --model foundation --functional pbe \\",
        "    --code vasp@cluster --potential-family PBE.54 --label-budget 100",
    ),
)
@_common(RelabelSettings)
@user_errors
def launch_relabel(**given: Any) -> None:
    """The control: label frames of the foundation model's own dynamics, and train on them once."""
    _launch("relabel", RelabelSettings, given)


@command.command(
    "finetune",
    epilog=examples(
        "aiida-slhmc launch finetune --model foundation --dataset 812 --dataset 1045 --set parameters.max_epochs=100",
    ),
)
@_common(FineTuneSettings)
@user_errors
def launch_finetune(**given: Any) -> None:
    """One fine-tuning of a model on blocks of labels."""
    _launch("finetune", FineTuneSettings, given)


def _launch(name: str, kind: type[Settings], given: Values) -> None:
    """Do what the options say, for the command *name*."""
    if given["schema"]:
        click.echo(json.dumps(kind.model_json_schema(), indent=1))
        return
    file = given["config"]
    base = _located(read_yaml(file), file.parent) if file is not None else {}
    values = _located(collect_values(kind, given, given["assignments"], base), Path.cwd())
    if given["dump"] and not _is_complete(kind, values):
        click.echo(commented_yaml(kind, values), nl=False)
        return
    settings = check_settings(kind, values)
    if given["dump"]:
        _dump(settings)
        return
    _start(name, settings, given)


def _located(values: Values, folder: Path) -> Values:
    """The *values* with the paths of files in *folder* in full; what is no file there may be a node."""
    paths = {name: folder / values[name] for name in FILES if isinstance(values.get(name), str)}
    return values | {name: str(path.resolve()) for name, path in paths.items() if path.is_file()}


def _is_complete(kind: type[Settings], values: Values) -> bool:
    """Whether all that is needed is given; what is not makes a dump a form to fill in."""
    return all(name in values for name, field in kind.model_fields.items() if field.is_required())


def _dump(settings: Settings) -> None:
    from aiida_slhmc.cli.launch_inputs import written_out

    click.echo(commented_yaml(type(settings), written_out(settings)), nl=False)
    problem = _problem(settings)
    if problem:
        click.echo(f"Warning: as it stands a launch refuses this file: {problem}", err=True)


def _problem(settings: Settings) -> str | None:
    """Why a launch with these settings is refused, as far as a builder can tell; None where there is no profile."""
    from aiida_slhmc.cli.launch_inputs import get_builder

    try:
        load_database()
    except USER_ERRORS:
        return None
    try:
        get_builder(settings)
    except USER_ERRORS as error:
        return str(error)
    return None


def _start(name: str, settings: Settings, given: Values) -> None:
    """Run or submit; on a terminal a self-learning run is shown while it lives."""
    load_database()
    from aiida_slhmc.cli import launch_run
    from aiida_slhmc.cli.launch_inputs import get_builder, written_out
    from aiida_slhmc.cli.output import make_console

    builder = get_builder(settings)
    console = make_console()
    if given["to_daemon"]:
        launch_run.submit(builder, take_over=False)
    elif name == "slhmc" and console.is_terminal and not given["no_display"]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.yaml"
            file.write_text(commented_yaml(type(settings), written_out(settings)))
            node = launch_run.run_watched([name, "--config", str(file)], console)
        launch_run.finish(node)
    else:
        launch_run.finish(launch_run.run_here(builder, take_over=False))


def _restart(pk: str, given: Values) -> None:
    """Go on from an earlier run; stored proposals and labels of an interrupted epoch are taken over."""
    from aiida_slhmc.cli.launch_restart import restart_settings

    if given["config"] or given["dump"] or given["schema"]:
        raise click.UsageError("--restart takes its settings from the run: leave out --config, --dump and --schema")
    settings = restart_settings(collect_values(SlhmcSettings, given, given["assignments"], {}))
    load_database()
    from aiida_slhmc.cli import launch_run
    from aiida_slhmc.cli.launch_restart import restart_arguments, restart_builder
    from aiida_slhmc.cli.output import make_console

    builder = restart_builder(pk, settings)
    console = make_console()
    if given["to_daemon"]:
        launch_run.submit(builder, take_over=True)
    elif console.is_terminal and not given["no_display"]:
        launch_run.finish(launch_run.run_watched(["slhmc", *restart_arguments(pk, settings)], console))
    else:
        launch_run.finish(launch_run.run_here(builder, take_over=True))

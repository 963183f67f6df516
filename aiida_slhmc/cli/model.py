"""`aiida-slhmc model`: bring models in, look at them, give them to other programs, compare them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from aiida_slhmc.cli.completion import data_sets, models
from aiida_slhmc.cli.errors import with_database
from aiida_slhmc.cli.examples import examples

__all__ = ("command",)

PYTHON = click.option(
    "--python",
    default=sys.executable,
    metavar="PATH",
    help="The Python with mace-torch and safetensors on this machine; by default the one of this command.",
)
# what users call it: what the worker calls it
FORMS = {"mace": "mace", "lammps": "lammps", "mliap": "lammps-mliap", "checkpoint": "checkpoint"}


@click.group(
    "model",
    epilog=examples(
        "aiida-slhmc model import small --elements Ti,O --label foundation    # MACE-MP-0 small",
        "aiida-slhmc model list",
        "aiida-slhmc model export foundation model.pt --format lammps",
    ),
)
def command() -> None:
    """Import, list, show, export and compare MACE models."""


@command.command(
    "import",
    epilog=examples(
        "aiida-slhmc model import my.model --label mine --elements Ti,O",
        "aiida-slhmc model import checkpoint.safetensors --label foundation",
    ),
)
@click.argument("source")
@click.option("--label", help="What to call it; by default the name of the source.")
@click.option("--elements", help="Keep only these elements, with commas between them: Ti,O.")
@click.option("--head", help="Keep this head of a model with several.")
@click.option("--trust", is_flag=True, help="Do not ask whether the file's origin is trusted.")
@PYTHON
@with_database
def import_model(
    source: str, label: str | None, elements: str | None, head: str | None, trust: bool, python: str
) -> None:
    """Make a model of the database.

    SOURCE is a checkpoint of this package (*.safetensors, data only), a `.model` file of MACE, or one of MACE's names
    of published models, such as small or medium, which MACE fetches.

    A `.model` file is a pickle: loading it runs the code in it, with your rights. It is loaded once, here, by the
    Python that you give, and what is stored is data only.
    """
    from aiida_slhmc.cli.model_files import import_foreign, store_checkpoint

    is_checkpoint = Path(source).suffix == ".safetensors"
    if is_checkpoint and (elements or head):
        raise click.UsageError("--elements and --head choose from a .model file; a checkpoint is taken as it is")
    if not is_checkpoint and not trust:
        click.echo(f"{source} is a pickle. Loading it runs whatever code is in it, with your rights.")
        click.confirm("Do you trust where it comes from? (--trust says so beforehand)", abort=True)
    if is_checkpoint:
        click.echo(store_checkpoint(Path(source), label, Path(source).stem))
    else:
        symbols = [symbol.strip() for symbol in (elements or "").split(",") if symbol.strip()]
        click.echo(import_foreign(source, label, symbols, head, python))


@command.command("list", epilog=examples("aiida-slhmc model list", "aiida-slhmc model list --last 5"))
@click.option("-n", "--last", type=click.IntRange(min=1), default=30, show_default=True, help="List so many models.")
@with_database
def list_models(last: int) -> None:
    """List the models: where each comes from, what it was trained on, its errors on labels it was not trained on."""
    from aiida_slhmc.cli.model_tables import list_table
    from aiida_slhmc.cli.output import make_console

    table = list_table(last)
    if table is None:
        click.echo("There are no models in this profile; `aiida-slhmc model import` makes one.")
    else:
        make_console().print(table)


@command.command("show", epilog=examples("aiida-slhmc model show foundation", "aiida-slhmc model show 1234"))
@click.argument("model", shell_complete=models)
@with_database
def show(model: str) -> None:
    """Show all that is known of MODEL (label, PK or UUID): its lineage back to the foundation, errors, references."""
    from aiida_slhmc.cli.model_tables import about_model
    from aiida_slhmc.cli.output import make_console
    from aiida_slhmc.cli.references import load_model

    make_console().print(about_model(load_model(model, "MODEL")))


@command.command(
    "export",
    epilog=examples(
        "aiida-slhmc model export 1234 my.model                     # MACE's own calculator",
        "aiida-slhmc model export 1234 my.pt --format lammps        # LAMMPS, pair_style mace",
        "aiida-slhmc model export 1234 my.pt --format mliap         # LAMMPS, pair_style mliap unified",
        "aiida-slhmc model export 1234 my.safetensors --format checkpoint",
    ),
)
@click.argument("model", shell_complete=models)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMS)), default="mace", show_default=True, help="Its form.")
@click.option("--dtype", type=click.Choice(["float64", "float32"]), default="float64", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@PYTHON
@with_database
def export(model: str, file: Path, form: str, dtype: str, overwrite: bool, python: str) -> None:
    """Write MODEL (label, PK or UUID) to FILE in a form that other programs run.

    The file is read back and has to give the checkpoint's energies and forces before it is kept.
    """
    from aiida_slhmc.cli.model_files import export_model
    from aiida_slhmc.cli.references import load_model

    if file.exists() and not overwrite:
        raise ValueError(f"{file} exists; --overwrite replaces it")
    click.echo(export_model(load_model(model, "MODEL"), file, FORMS[form], dtype, python))


@command.command(
    "compare",
    epilog=examples(
        "aiida-slhmc model compare foundation 1234",
        "aiida-slhmc model compare foundation 1234 --dataset rutile-pbe    # errors of both on these labels",
    ),
)
@click.argument("references", nargs=-1, required=True, metavar="MODEL MODEL...", shell_complete=models)
@click.option(
    "--dataset",
    multiple=True,
    metavar="NAME",
    shell_complete=data_sets,
    help="Data set (name), or block of labels (PK, UUID), on which all of them are evaluated; repeatable.",
)
@PYTHON
@with_database
def compare(references: tuple[str, ...], dataset: tuple[str, ...], python: str) -> None:
    """Put models beside each other: what their nodes say, and with --dataset their errors on the same labels."""
    from aiida_slhmc.cli.model_files import evaluate_models
    from aiida_slhmc.cli.model_tables import comparison_table, errors_table
    from aiida_slhmc.cli.output import make_console
    from aiida_slhmc.cli.references import load_block, load_model

    nodes = [load_model(model, "MODEL") for model in references]
    if len(nodes) < 2:
        raise click.UsageError("give two models or more")
    blocks = [load_block(reference, "--dataset") for reference in dataset]
    console = make_console()
    console.print(comparison_table(nodes))
    if blocks:
        console.print(errors_table(nodes, blocks, evaluate_models(nodes, blocks, python)))

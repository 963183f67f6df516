"""``aiida-slhmc dataset``: what its commands print, how they end, and a colleague's empty profile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ase.io import read, write
from click.testing import CliRunner, Result
from fixtures import label_of, rutile_atoms
from shared_labels import ACCOUNT, HOST, vasp_run

from aiida_slhmc.cli.dataset import command
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.sharing.collect import create_data_set
from aiida_slhmc.sharing.data_set import DataSet, load_data_set, store_data_set
from aiida_slhmc.sharing.leaks import find_leaks
from aiida_slhmc.sharing.settings import read_settings

pytestmark = pytest.mark.usefixtures("aiida_profile", "family")


def call(*arguments: object) -> Result:
    """The command's result; an error of ours, which is no sentence for the user, is raised."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def data_set(aiida_profile, family) -> DataSet:
    return create_data_set("cli", [vasp_run([81, 82])])


def test_create() -> None:
    run = vasp_run([83])
    result = call("create", "of-a-run", "--run", run.pk)
    assert result.exit_code == 0
    assert "data set 'of-a-run' with 1 labels" in result.output
    assert f"EpochWorkChain {run.pk}" in result.output
    data_set = load_data_set("of-a-run")
    result = call("create", "of-a-block", data_set.block.pk)
    assert result.exit_code == 0
    assert load_data_set("of-a-block").labels[0].uuid == data_set.labels[0].uuid


def test_create_refuses(labelled) -> None:
    """Fails where a user's mistake ends in a traceback, or in success."""
    result = call("create", "nothing")
    assert result.exit_code == 2
    assert "--run PK" in result.output
    result = call("create", "mixed", labelled(84).pk, labelled(84, "hse06").pk)
    assert result.exit_code == 1
    assert "Error: a data set is of one functional" in result.output
    assert call("create", "no-run", "--run", 10**8).exit_code == 1


def test_show(data_set) -> None:
    assert "cli" in call("show").output.split()
    result = call("show", "cli")
    assert result.exit_code == 0
    assert "yes: this is not DFT" in result.output
    assert "VERDICT" not in result.output
    result = call("show", "other")
    assert result.exit_code == 1
    assert "there is no data set 'other'" in result.output


def test_verify(data_set, labelled) -> None:
    """Fails where the exit status does not tell labels that agree from those that differ or cannot be checked."""
    result = call("show", "cli", "--verify")
    assert result.exit_code == 0
    assert "VERDICT: all 2 labels agree with their calculations" in result.output
    create_data_set("cli-wrong", [vasp_run([85], energy_error=0.01)])
    result = call("show", "cli-wrong", "--verify")
    assert result.exit_code == 1
    assert "DIFFERS  ConfigurationData" in result.output
    create_data_set("cli-believed", [labelled(86)])
    result = call("show", "cli-believed", "--verify")
    assert result.exit_code == 1
    assert "VERDICT: no label can be checked" in result.output


def test_verify_says_how_many_could_not_be_checked(labelled) -> None:
    """Fails where one label that agrees speaks for many that nobody can check."""
    (checked,) = create_data_set("cli-one", [vasp_run([88])]).labels
    believed = labelled(89)
    block = DatasetData(configurations=[checked, believed], about={"settings": read_settings(checked)}).store()
    store_data_set("cli-some", block, [checked, believed])
    result = call("show", "cli-some", "--verify")
    assert result.exit_code == 3
    assert "1 of 2 labels agree with their calculations; 1 could not be checked" in result.output


def test_export_of_a_run(tmp_path) -> None:
    """Fails where a run cannot be shared without making a data set of it, or leaves with what a data set leaves out."""
    run = vasp_run([90])
    path = tmp_path / "run.aiida"
    result = call("export-run", run.pk, path)
    assert result.exit_code == 0
    assert "private words is in it" in result.output
    assert find_leaks(path, [HOST]) == []
    assert call("export-run", run.pk, path).exit_code == 2
    assert call("export-run", run.pk, tmp_path / "run.zip").exit_code == 2
    result = call("export-run", run.inputs.parameters.pk, tmp_path / "x.aiida")
    assert result.exit_code == 2
    assert "is no run" in result.output


def test_a_common_word(tmp_path) -> None:
    """Fails where a word stops an export and nothing says how to go on, or --allow does not let it pass."""
    run = vasp_run([91], incar={"system": ACCOUNT})
    create_data_set("cli-word", [run])
    path = tmp_path / "word.aiida"
    # its settings have the word, and so the block, which cannot be left out
    result = call("export", "cli-word", path)
    assert result.exit_code == 1
    assert "--allow WORD" in result.output
    result = call("export-run", run.pk, path)
    assert result.exit_code == 0
    for text in (f"because of '{ACCOUNT}'", "--allow WORD", "1 calls of read_vasp_label cannot be executed again"):
        assert text in result.output
    result = call("export-run", run.pk, path, "--overwrite", "--allow", ACCOUNT)
    assert result.exit_code == 0
    assert f"because of '{ACCOUNT}'" not in result.output
    assert "read_vasp_label" not in result.output
    assert call("export", "cli-word", path, "--overwrite", "--allow", "x", "--private", "x").exit_code == 2


def test_options_that_would_be_ignored(data_set, tmp_path) -> None:
    """Fails where an option that has no effect on this kind of file is taken in silence."""
    path = tmp_path / "cli.aiida"
    path.write_text("text")
    result = call("import", path, "--name", "x", "--functional", "pbe", "--stress-key", "virial")
    assert result.exit_code == 2
    assert "leave out --name, --functional, --stress-key" in result.output
    result = call("export", "cli", tmp_path / "cli.extxyz", "--without-provenance")
    assert result.exit_code == 2
    assert "never has provenance" in result.output


def test_export(data_set, tmp_path) -> None:
    path = tmp_path / "cli.aiida"
    result = call("export", "cli", path)
    assert result.exit_code == 0
    assert "nodes left out: InstalledCode 1, RemoteData 2" in result.output
    assert "private words is in it" in result.output
    content = path.read_bytes()
    result = call("export", "cli", path)
    assert result.exit_code == 2
    assert "--overwrite" in result.output
    assert path.read_bytes() == content
    assert call("export", "cli", path, "--overwrite", "--without-provenance").exit_code == 0
    assert path.stat().st_size < len(content)
    assert call("export", "cli", tmp_path / "cli.extxyz").exit_code == 0
    assert len(read(tmp_path / "cli.extxyz", index=":")) == 2
    assert HOST not in (tmp_path / "cli.extxyz").read_text()


def test_export_refuses(data_set, tmp_path) -> None:
    """Fails where a word that the user calls private leaves, or an unknown kind of file is written."""
    result = call("export", "cli", tmp_path / "cli.zip")
    assert result.exit_code == 2
    assert ".aiida or .extxyz" in result.output
    result = call("export", "cli", tmp_path / "cli.extxyz", "--private", "Accurate")
    assert result.exit_code == 1
    assert "'Accurate'" in result.output
    assert list(tmp_path.iterdir()) == []


def test_import_of_frames(tmp_path) -> None:
    atoms, path = rutile_atoms(seed=87), tmp_path / "frames.extxyz"
    label = label_of(atoms)
    atoms.info["energy"], atoms.arrays["forces"] = label["energy"], label["forces"]
    write(path, atoms, format="extxyz")
    result = call("import", path)
    assert result.exit_code == 2
    assert "give --name, --functional, --units" in result.output
    declared = ("--name", "cli-outside", "--functional", "pbe", "--engine", "vasp")
    result = call("import", path, *declared, "--units", "eV/Furlong")
    assert result.exit_code == 1
    assert "ASE has no unit 'Furlong'" in result.output
    result = call("import", path, *declared, "--units", "eV/Angstrom")
    assert result.exit_code == 0
    assert "WITHOUT PROVENANCE" in result.output
    assert load_data_set("cli-outside").labels[0].energy == pytest.approx(label["energy"])


def test_import_of_no_archive(tmp_path) -> None:
    path = tmp_path / "text.aiida"
    path.write_text("text")
    result = call("import", path)
    assert result.exit_code == 1
    assert "no whole AiiDA archive" in result.output


def test_help_has_examples() -> None:
    for name in ("create", "show", "export", "export-run", "import"):
        result = call(name, "--help")
        assert result.exit_code == 0
        assert f"aiida-slhmc dataset {name}" in result.output


# the command itself, whether or not its script was installed
MAIN = "from aiida_slhmc.cli.dataset import command; command()"
COLLEAGUE = """
from aiida import load_profile, orm
load_profile("colleague")
from aiida_slhmc.sharing.data_set import load_data_set
block = load_data_set("cli").block
assert block.get_uuids() == {uuids}
assert len(block.get_frames()) == 2
"""


def test_a_colleague_with_an_empty_profile(data_set, tmp_path) -> None:
    """Fails where the archive cannot be imported, checked or read from elsewhere: a machine that never ran anything."""
    path = tmp_path / "cli.aiida"
    assert call("export", "cli", path).exit_code == 0
    binaries = Path(sys.executable).parent
    environment = os.environ | {"AIIDA_PATH": str(tmp_path)}

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(binaries / program), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("verdi", "profile", "setup", "core.sqlite_dos", "-n", "--profile-name", "colleague", "--email", "c@d.org")
    assert "data set 'cli' with 2 labels" in run("python", "-c", MAIN, "import", str(path))
    shown = run("python", "-c", MAIN, "show", "cli", "--verify")
    assert "VERDICT: all 2 labels agree with their calculations" in shown
    run("python", "-c", COLLEAGUE.format(uuids=data_set.block.get_uuids()))

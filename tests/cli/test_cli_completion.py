"""What the tab key offers, as the shell asks for it."""

from __future__ import annotations

from typing import Any

import pytest
from aiida import orm
from aiida.manage import get_manager
from click.shell_completion import ShellComplete
from fixtures import FOUNDATION_FILE
from run_graph import new_run

from aiida_slhmc.cli.root import main
from aiida_slhmc.data.mace_model import MaceModelData


def offered(*words: str, incomplete: str = "") -> dict[str, str]:
    """Type of each value that is offered after these words."""
    profile = get_manager().get_profile()
    arguments = ["-p", profile.name, *words] if profile is not None else list(words)
    complete = ShellComplete(main, {}, "aiida-slhmc", "_AIIDA_SLHMC_COMPLETE")
    return {item.value: item.type for item in complete.get_completions(arguments, incomplete)}


@pytest.mark.usefixtures("aiida_profile")
def test_models_by_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where labels are not offered, or models without one cannot be chosen."""
    labelled = MaceModelData(checkpoint=FOUNDATION_FILE, label="offered").store()
    other = MaceModelData(checkpoint=FOUNDATION_FILE).store()
    for words in (["launch", "slhmc", "--model"], ["model", "show"], ["model", "compare", "offered"]):
        assert {"offered", str(other.pk)} <= set(offered(*words)), words
        assert set(offered(*words, incomplete="off")) == {"offered"}
        assert str(labelled.pk) not in offered(*words)


def test_codes(python_code: orm.Code) -> None:
    assert python_code.full_label in offered("launch", "relabel", "--python-code")
    assert offered("launch", "slhmc", "--code", incomplete="nothing-like-it") == {}


@pytest.mark.usefixtures("aiida_profile")
def test_runs() -> None:
    """Fails where a run is not offered to a command that wants one."""
    pk = str(new_run().pk)
    for words in (["status"], ["chain"], ["report"], ["launch", "slhmc", "--restart"], ["launch", "epoch", "--run"]):
        assert pk in offered(*words), words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["launch", "slhmc", "--protocol"], {"fast", "balanced", "stringent", "paper"}),
        (["launch", "slhmc", "--target"], {"vasp", "quantum_espresso", "cp2k", "ase"}),
        (["launch", "slhmc", "--functional"], {"pbe", "r2scan", "hse06"}),
        (["launch", "slhmc", "--target", "ase", "--functional"], {"gfn1", "gfn2"}),
        (["launch", "md", "--ensemble"], {"nvt", "npt"}),
    ],
)
def test_names_of_the_package(words: list[str], expected: set[str]) -> None:
    """Fails where a name is not offered that is allowed, or another target's."""
    assert set(offered(*words)) == expected


def test_a_structure_is_a_file() -> None:
    assert offered("launch", "md", "--structure", incomplete="POS") == {"POS": "file"}


@pytest.mark.usefixtures("aiida_profile")
def test_errors_stay_out_of_the_line(monkeypatch: Any) -> None:
    """Fails where a database that is down writes a traceback into the shell."""

    def down() -> None:
        raise OSError("down")

    monkeypatch.setattr("aiida_slhmc.cli.errors.load_database", down)
    assert offered("status") == {}

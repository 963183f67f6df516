"""The reference has everything: processes, calculation functions, options, protocols."""

import importlib
import inspect
import pkgutil
import re
from importlib.metadata import entry_points

import pytest
from docs_pages import DOCS, ROOT

import aiida_slhmc.calculations

REFERENCE = {page.name: page.read_text() for page in (DOCS / "reference").glob("*.md")}
ALL = "\n".join(REFERENCE.values())


def processes():
    found = []
    for group in ("aiida.workflows", "aiida.calculations"):
        found += [entry for entry in entry_points(group=group) if entry.name.startswith("slhmc.")]
    return found


@pytest.mark.parametrize("entry", processes(), ids=lambda entry: f"{entry.group}:{entry.name}")
def test_every_process_has_a_directive(entry):
    """Fails where a process with an entry point is not in the reference, or under another name."""
    module, _, name = entry.value.partition(":")
    assert f"`{entry.name}`" in REFERENCE["index.md"]
    kind = "workchain" if entry.group == "aiida.workflows" else "calcjob"
    assert f"```{{aiida-{kind}}} {name}\n:module: {module}\n" in ALL


def test_every_calculation_function_is_listed():
    """Fails where a module with calculation functions of a run or the analysis is not among the functions."""
    package = aiida_slhmc.calculations
    modules = [
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    ]
    having = {
        module.__name__
        for module in modules
        for value in vars(module).values()
        if getattr(value, "is_process_function", False) and inspect.unwrap(value).__module__ == module.__name__
    }
    assert len(having) > 8
    assert having - set(re.findall(r"automodule:: (\S+)", REFERENCE["functions.md"])) == set()


def test_every_protocol_and_settings_file_is_shown():
    """Fails where a YAML file that decides inputs is not in the reference."""
    files = [*(ROOT / "aiida_slhmc/workflows/protocols").glob("*.yaml"), *(ROOT / "aiida_slhmc/targets").glob("*.yaml")]
    assert len(files) >= 7
    assert [file.name for file in files if f"../../{file.relative_to(ROOT)}" not in ALL] == []


def test_every_group_of_training_options_is_shown():
    """Fails where a group of options was added to the training and not to the page."""
    from aiida_slhmc.worker.fine_tune_parameters import GROUPS

    for group in GROUPS.values():
        assert f"{{parameters}} {group.__module__}.{group.__name__}\n" in REFERENCE["parameters.md"]

"""Versions and metadata that are written in several files agree."""

import re
from pathlib import Path

import pytest
import yaml
from docs_pages import ROOT

import aiida_slhmc

PYPROJECT = (ROOT / "pyproject.toml").read_text()


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def test_versions_agree():
    """Fails where a release has not changed the version everywhere."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'\nversion = "{aiida_slhmc.__version__}"\n' in PYPROJECT
    assert citation["version"] == aiida_slhmc.__version__
    assert citation["license"] == "MIT"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_python_versions_are_those_that_are_tested():
    """Fails where the package claims a Python that no workflow tests, or the other way round."""
    claimed = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)
    tested = workflow("python_versions.yml")["jobs"]["test"]["strategy"]["matrix"]["python-version"]
    assert claimed == tested
    assert f'requires-python = ">={tested[0]}"' in PYPROJECT


def test_workflow_runs_what_ci_runs():
    """Fails where the forge's workflow has steps of its own in the place of .ci/run."""
    steps = [step["run"] for step in workflow("ci.yml")["jobs"]["ci"]["steps"] if "run" in step]
    assert [step for step in steps if not step.startswith("git config")] == [".ci/run"]


def test_extras_of_the_hosted_pages_exist():
    """Fails where the pages are built elsewhere with extras that the package does not have."""
    content = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text())
    extras = content["python"]["install"][0]["extra_requirements"]
    section = PYPROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    defined = set(re.findall(r"^([\w-]+) = \[", section, re.MULTILINE))
    assert set(extras) <= defined


@pytest.mark.parametrize("hook", ["check-added-large-files", "ruff-check", "ruff-format", "mypy", "potcar"])
def test_hooks_are_there(hook: str):
    """Fails where the checks before a commit have lost one."""
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert hook in [entry["id"] for repository in content["repos"] for entry in repository["hooks"]]


def test_no_potcar_text_outside_the_stand_in():
    """Fails where the hook's pattern finds text of a POTCAR in a file that it does not leave out."""
    content = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [entry for repository in content["repos"] for entry in repository["hooks"]]
    hook = next(entry for entry in hooks if entry["id"] == "potcar")
    files = [path for path in ROOT.rglob("aiida_slhmc/**/*.py") if ".venv" not in path.parts]
    having = [str(path.relative_to(ROOT)) for path in files if re.search(hook["entry"], Path(path).read_text())]
    assert having
    assert [name for name in having if not re.search(hook["exclude"], name)] == []

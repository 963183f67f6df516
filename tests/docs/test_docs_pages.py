"""What pages say can be followed: links, code, commands."""

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from docs_pages import ROOT, Block, anchors, blocks, name_of, pages, without_code


def test_relative_links_lead_somewhere():
    """Fails where a page, picture or heading that a link names is not there, on the forge as in the built pages."""
    broken = []
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            other = (page.parent / path).resolve() if path else page
            is_there = other.exists() and (not anchor or anchor in anchors(other))
            broken += [] if is_there else [f"{name_of(page)}: {target}"]
    assert not broken


def test_a_broken_link_would_be_found(tmp_path):
    """Fails where the way links and headings are found sees nothing."""
    page = tmp_path / "page.md"
    page.write_text("# One, two: `three`\n\n[a](other.md) and `[b](no.md)`\n\n```\n# no heading [c](no.md)\n```\n")
    assert re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())) == ["other.md"]
    assert anchors(page) == {"one-two-three"}


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page)
def test_python_blocks_are_python_that_exists(block: Block):
    """Fails where a block does not compile, or imports a name that this package does not have."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("aiida_slhmc"):
            module = importlib.import_module(node.module)
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing, f"{block.page}: {node.module} has no {missing}"


@pytest.mark.parametrize("block", blocks("bash", "{executed}"), ids=lambda block: block.page)
def test_shell_blocks_are_bash(block: Block):
    """Fails where bash cannot read a block, such as for a quote that is not closed; placeholders in <> are words."""
    text = re.sub(r"<(\w[\w ]*)>", "WORD", block.text)
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{block.page}: {done.stderr}"


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.page)
def test_yaml_blocks_are_yaml(block: Block):
    """Fails where a block cannot be read as it stands."""
    assert yaml.safe_load(block.text) is not None


def test_named_make_targets_exist():
    """Fails where a page names a target of make that the Makefile does not have."""
    targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (name_of(page), target)
        for page in pages()
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(), re.MULTILINE)
    }
    assert [entry for entry in sorted(named) if entry[1] not in targets] == []
    assert len(named) > 5


def test_named_files_of_the_clone_exist():
    """Fails where a page names a script or a file of the package that has moved."""
    pattern = re.compile(r"(?<![\w/.-])((?:examples|benchmarks|aiida_slhmc|tests|docs)/[\w/.-]*\.\w+)")
    named = {(name_of(page), path) for page in pages() for path in pattern.findall(page.read_text())}
    assert [entry for entry in sorted(named) if not Path(ROOT, entry[1]).exists()] == []
    assert len(named) > 10

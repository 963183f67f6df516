"""The tutorial: what it shows was executed."""

from docs_pages import blocks

PAGE = "docs/tutorial.md"
# which of the two are there before the first command: the build has them in its environment
BEFORE = {"source .venv/bin/activate", "export AIIDA_PATH=$PWD/build/tutorial"}


def commands(text: str) -> set[str]:
    """The lines of a block without what is said beside them."""
    return {line.partition("   ")[0] for line in text.splitlines()}


def test_every_command_is_executed():
    """Fails where a command stands in the tutorial that nobody runs when the pages are built."""
    assert [commands(block.text) for block in blocks("bash", "sh", "console", "") if block.page == PAGE] == [BEFORE]


def test_the_run_and_its_use_are_among_them():
    """Fails where a step of the way from a structure to a checked archive is no longer executed."""
    executed = "\n".join(block.text for block in blocks("{executed}") if block.page == PAGE)
    steps = [
        *("verdi presto", "model import", "launch slhmc --config", "status", "report", "chain", "examples/query.py"),
        *("model list", "model export", "dataset create", "dataset export", "examples/rebuild_study.py"),
    ]
    assert [step for step in steps if step not in executed] == []

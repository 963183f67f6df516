"""The example of docs/how-to/new_target.md, run as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from aiida.engine import run_get_node
from fixtures import OPTIONS
from quantum_espresso import needs_pw

from aiida_slhmc.targets.base import load_target

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "new_target.md"
SOURCE = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]


@pytest.fixture
def example(tmp_path, monkeypatch) -> ModuleType:
    """The example as a module that can be imported, as from a package of one's own."""
    (tmp_path / "my_target.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    import my_target

    yield my_target
    del sys.modules["my_target"]


def test_is_short() -> None:
    """Fails where the page promises more than it holds: it says one small file."""
    assert len([line for line in SOURCE.splitlines() if line.strip()]) < 60


@needs_pw
def test_gives_the_label_of_the_built_in_target(example, own_options, structure) -> None:
    """Fails where the example does not run, or its energy, forces or stress (sign and unit) are not the target's."""
    functional, built_in_options = own_options["quantum_espresso"]()
    target = load_target("quantum_espresso")
    inputs = target.get_inputs(structure=structure, functional=functional, **built_in_options)
    built_in = run_get_node(target.get_work_chain(), structure=structure, **inputs)[1]
    options = {name: inputs[name] for name in ("code", "kpoints", "pseudos")} | {"options": OPTIONS}
    inputs = example.MyTarget.get_inputs(structure=structure, functional=functional, **options)
    node = run_get_node(example.MyTarget.get_work_chain(), structure=structure, **inputs)[1]
    assert node.is_finished_ok, node.exit_message
    mine, theirs = (chain.outputs.label for chain in (node, built_in))
    assert mine.energy == pytest.approx(theirs.energy, abs=1e-6)
    np.testing.assert_allclose(mine.arrays()["forces"], theirs.arrays()["forces"], atol=1e-3)
    np.testing.assert_allclose(mine.arrays()["stress"], theirs.arrays()["stress"], atol=1e-4)
    assert mine.base.attributes.get("engine") == "my-engine"

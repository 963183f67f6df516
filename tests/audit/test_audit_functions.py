"""Executing calls again: only this package's own functions, and whatever they end with is a result."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode

from aiida_slhmc.audit.functions import execute_again, find_function, module_names
from aiida_slhmc.calculations.epoch import collect_chain
from aiida_slhmc.calculations.metropolis import metropolis
from aiida_slhmc.calculations.update import smaller_batch
from aiida_slhmc.targets.vasp_label import change_electronic_settings

pytestmark = pytest.mark.usefixtures("aiida_profile")


def test_own_functions_are_found() -> None:
    """Fails where one is missing from where calls are looked up, or still makes a node when it is called."""
    for function in (collect_chain, metropolis, smaller_batch, change_electronic_settings):
        name = f"{function.__module__}.{function.__name__}"
        found = find_function(name)
        assert found is function.__wrapped__
        assert not hasattr(found, "run_get_node")
    assert "aiida_slhmc.calculations.metropolis" in module_names()


STRANGE = "import pathlib\npathlib.Path(__file__).with_suffix('.executed').touch()\ndef f(**_): pass\n"


def test_no_other_module_is_imported(tmp_path, monkeypatch) -> None:
    """An archive may name any module. Fails where one is imported that is not among this package's."""
    (tmp_path / "strange_module.py").write_text(STRANGE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("strange_module.f", "aiida_slhmc.calculations..strange_module.f", "strange_module", "os.system"):
        assert find_function(name) is None
    assert "strange_module" not in sys.modules
    assert not (tmp_path / "strange_module.executed").exists()
    __import__("strange_module")
    assert (tmp_path / "strange_module.executed").exists(), "control: importing it would have been seen"


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "metropolis",
        "aiida_slhmc.calculations.metropolis",
        "aiida_slhmc.calculations.metropolis.no_such_function",
        "aiida_slhmc.calculations.metropolis.random_stream",  # no calculation function
        "aiida_slhmc.workflows.outcomes.result_once",  # of a part that has none
        "aiida_slhmc.calculations.history.read_chain",  # imported there
        "aiida_slhmc.standin.main.main",
        "aiida_slhmc.calculations.epoch.__builtins__.eval",
    ],
)
def test_what_is_no_calculation_function(name: str | None) -> None:
    assert find_function(name) is None


def test_equal_outputs() -> None:
    _, node = smaller_batch.run_get_node(parameters=orm.Dict({"batch_size": 8}))
    execution = execute_again(node, smaller_batch.__wrapped__)
    assert execution.is_done
    assert execution.n_equal == 1
    assert execution.comparison.differences == []
    assert not execution.outputs["result"].is_stored


def test_an_exit_code_is_a_result() -> None:
    """Fails where a call that refused its input counts as different, or one that did not refuse as equal."""
    inputs = {"parameters": orm.Dict({"encut": 400}), "changes": orm.Dict({"encut": 300})}
    _, node = change_electronic_settings.run_get_node(**inputs)
    assert node.exit_status == 420
    assert not execute_again(node, change_electronic_settings.__wrapped__).comparison.differences
    (difference,) = execute_again(node, lambda **_: orm.Dict({})).comparison.differences
    assert difference == "exit code: stored 420, rebuilt 0"
    (difference,) = execute_again(node, lambda **_: ExitCode(411, "why")).comparison.differences
    assert difference == "exit code: stored 420, rebuilt 411 why"


def call(outputs: dict[str, orm.Data], inputs: dict[str, orm.Data]) -> orm.CalcFunctionNode:
    """A finished call with these links."""
    node = orm.CalcFunctionNode(process_type="aiida_slhmc.calculations.made.up")
    for label, data in inputs.items():
        node.base.links.add_incoming(data.store(), link_type=LinkType.INPUT_CALC, link_label=label)
    node.store()
    for label, data in outputs.items():
        data.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label=label)
        data.store()
    node.set_exit_status(0)
    return node


def test_namespaces() -> None:
    """Fails where inputs or outputs of a namespace are not those of the links' labels."""

    def function(**nodes: Any) -> dict[str, Any]:
        return {"sums.all": orm.Int(nodes["a"].value + nodes["b"]["c"].value), "sums": {"a": orm.Int(nodes["a"].value)}}

    node = call({"sums__all": orm.Int(3), "sums__a": orm.Int(1)}, {"a": orm.Int(1), "b__c": orm.Int(2)})
    execution = execute_again(node, function)
    assert execution.comparison.differences == []
    assert execution.n_equal == 2


def test_outputs_that_are_missing_or_more() -> None:
    node = call({"a": orm.Int(1), "b": orm.Int(2)}, {})
    execution = execute_again(node, lambda: {"a": orm.Int(1), "c": orm.Int(2)})
    assert execution.comparison.differences == [
        "output b: stored there, rebuilt absent",
        "output c: stored absent, rebuilt there",
    ]
    assert execution.n_equal == 1


def test_a_function_that_raises() -> None:
    """On altered inputs. Fails where this ends the check."""

    def function() -> orm.Dict:
        raise RuntimeError("no such key\nand more")

    execution = execute_again(call({"result": orm.Int(1)}, {}), function)
    assert not execution.is_done
    assert execution.comparison.differences == ["it raises RuntimeError: no such key"]

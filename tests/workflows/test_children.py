"""Children are launched once, however often a step is executed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode, WorkChain, calcfunction, run_get_node

from aiida_slhmc.workflows.children import failure_reason, find_child, find_children, launch_once, run_once


@calcfunction
def double(number: orm.Int) -> orm.Int:
    return orm.Int(2 * number.value)


@calcfunction
def refuse(number: orm.Int) -> ExitCode:
    return ExitCode(410, f"{number.value} is refused")


@calcfunction
def explode(number: orm.Int) -> orm.Int:
    raise ValueError(f"no {number.value}")


class Child(WorkChain):
    """Does nothing."""

    @classmethod
    def define(cls, spec: Any) -> None:
        super().define(spec)
        spec.outline(cls.nothing)

    def nothing(self) -> None:
        """Nothing."""


class Parent(WorkChain):
    """Executes each of its steps twice, as a daemon does that was killed before it had saved the first time."""

    @classmethod
    def define(cls, spec: Any) -> None:
        super().define(spec)
        spec.outline(
            cls.launch,
            cls.launch,
            cls.replace,
            cls.replace,
            cls.calculate,
            cls.calculate,
            cls.raise_inside,
            cls.raise_inside,
            cls.launch_again_without_care,
        )

    def launch(self) -> None:
        """Two children whose labels begin alike."""
        pks = [launch_once(self, Child, label, {}).pk for label in ("child_1", "child_10")]
        self.ctx.setdefault("pks", pks)
        assert self.ctx.pks == pks
        self.to_context(**{label: orm.load_node(pk) for label, pk in zip(("one", "ten"), pks, strict=True)})

    def replace(self) -> None:
        """Another child in the place of one that counts for lost, and no third one."""
        lost = orm.load_node(self.ctx.pks[0])
        self.to_context(one=launch_once(self, Child, "child_1", {}, lost=lost))

    def calculate(self) -> None:
        """One function that finishes well and one that does not."""
        assert run_once(self, double, "double", {"number": orm.Int(3)}).outputs.result == 6
        assert run_once(self, refuse, "refuse", {"number": orm.Int(3)}).exit_status == 410

    def raise_inside(self) -> None:
        """A function that raises is a call that failed; what has no record of it, raises here."""
        node = run_once(self, explode, "explode", {"number": orm.Int(3)})
        assert node.is_excepted
        assert failure_reason(node) == f"explode<{node.pk}> excepted: ValueError: no 3"
        self.ctx.setdefault("exploded", []).append(node.pk)
        for label in ("explode", "never_called"):
            with pytest.raises(ValueError, match="Error occurred validating"):
                run_once(self, explode, label, {"number": orm.Str("three")})

    def launch_again_without_care(self) -> None:
        """What ``run_once`` prevents."""
        for number in (5, 6):
            double(orm.Int(number), metadata={"call_link_label": "twice"})


def test_steps_executed_twice_make_one_child() -> None:
    """Fails where a restarted daemon pays for a label twice, or mixes up children whose names begin alike."""
    _, node = run_get_node(Parent)
    assert node.is_finished_ok, node.exit_message
    labels = sorted(link.link_label for link in node.base.links.get_outgoing() if link.node in node.called)
    assert labels == ["child_1", "child_1", "child_10", "double", "explode", "explode", "refuse", "twice", "twice"]
    assert set(find_children(node, "child_")) == {"child_1", "child_10"}
    assert find_child(node, "child_1").pk != find_child(node, "child_10").pk
    assert find_child(node, "child_2") is None
    assert find_child(node, "twice").outputs.result == 12, "the last one counts"


def test_reasons() -> None:
    """Fails where a failure is reported as 'None'."""
    _, node = refuse.run_get_node(orm.Int(1))
    assert failure_reason(node) == f"refuse<{node.pk}> ended with exit code 410: 1 is refused"


def test_children_of_an_import_are_in_the_order_of_time(aiida_profile) -> None:
    """Fails where a colleague goes on from the wrong epoch, because an import has numbered the nodes anew."""
    parent = orm.WorkChainNode().store()
    now = datetime.now(tz=timezone.utc)
    for age, label in enumerate(("epoch_0002", "epoch_0001", "epoch_0000")):
        child = orm.WorkChainNode(ctime=now - timedelta(hours=age))
        child.base.links.add_incoming(parent, link_type=LinkType.CALL_WORK, link_label=label)
        child.store()
    assert list(find_children(parent, "epoch_")) == ["epoch_0000", "epoch_0001", "epoch_0002"]

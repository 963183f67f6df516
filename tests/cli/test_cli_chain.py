"""`aiida-slhmc chain` on runs and epochs, finished or not."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from aiida import orm
from click.testing import CliRunner, Result
from run_graph import add_epoch, chain_of, decision, end, new_run, process

from aiida_slhmc.cli.chain import command
from aiida_slhmc.cli.chain_rows import read_rows

DECISIONS = [decision(0, 0, (True, False)), decision(0, 1, (False, False), diverged=(1,)), decision(0, 2, (True, True))]


def called(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(aiida_profile: Any) -> orm.WorkChainNode:
    """Epoch 0 finished, epoch 1 in its second cycle."""
    node = new_run()
    add_epoch(node, 0, DECISIONS, is_finished=True)
    add_epoch(node, 1, [decision(1, 0, (True, True))], is_finished=False)
    return node


def table(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.output)))


def test_csv_has_every_decision_in_order(run: orm.WorkChainNode) -> None:
    """Fails where an epoch, cycle or walker is missing, in another place, or has another's numbers."""
    rows = table(called(run.pk, "--csv"))
    places = [(int(row["epoch"]), int(row["cycle"]), int(row["walker"])) for row in rows]
    assert places == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 2, 0), (0, 2, 1), (1, 0, 0), (1, 0, 1)]
    assert [row["accepted"] for row in rows] == ["True", "False", "False", "False", "True", "True", "True", "True"]
    row = rows[5]
    expected = {"delta_h": 0.5021, "integration": 0.1021, "mismatch": 0.4021, "energy": -100.21, "volume": 61.0}
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected, abs=1e-12)
    assert int(row["n_steps"]) == 9


def test_what_diverged_has_no_numbers(run: orm.WorkChainNode) -> None:
    """Fails where the lack of a label is shown as a number, or the divergence is not."""
    row = table(called(run.pk, "--csv", "--walker", 1))[1]
    assert (row["delta_h"], row["force_rmse"], row["diverged"]) == ("", "", "True")
    shown = called(run.pk, "--walker", 1).output
    assert shown.count("diverged") == 1
    assert "nan" not in shown


def test_finished_and_unfinished_epochs_read_alike(aiida_profile: Any) -> None:
    """Fails where the chain of a finished epoch and the decisions of a running one give other rows."""
    finished, unfinished = (
        add_epoch(new_run(), 0, DECISIONS, is_finished=is_finished) for is_finished in (True, False)
    )
    assert "chain" in finished.outputs
    assert "chain" not in unfinished.outputs
    assert read_rows(finished) == read_rows(unfinished)


def test_choices(run: orm.WorkChainNode) -> None:
    """Fails where other walkers or epochs are shown than those asked for."""
    rows = table(called(run.pk, "--csv", "--walker", 1, "--epoch", 0))
    assert {(row["epoch"], row["walker"]) for row in rows} == {("0", "1")}
    assert len(rows) == 3


def test_a_restart_shows_the_epochs_before_it(aiida_profile: Any) -> None:
    """Fails where the chains that a restart was given are left out."""
    node = new_run(chains__epoch_0000=chain_of(DECISIONS))
    add_epoch(node, 1, [decision(1, 0, (True, False))], is_finished=False)
    assert [row["epoch"] for row in read_rows(node)] == [0] * 6 + [1] * 2


def test_table(run: orm.WorkChainNode) -> None:
    """Fails where the table lacks a row, or the decision in words."""
    output = called(run.pk, "--epoch", 1).output
    assert output.count("accepted") == 2
    assert "+0.5100" in output


@pytest.mark.parametrize(("arguments", "message"), [(("--walker", 7), "no decisions of this walker"), ((), "yet")])
def test_nothing_to_show(run: orm.WorkChainNode, arguments: tuple[Any, ...], message: str) -> None:
    """Fails where an empty table is printed as if all was well."""
    node = run if arguments else new_run()
    result = called(node.pk, *arguments)
    assert result.exit_code == 1
    assert message in result.output


def test_other_nodes_are_refused(aiida_profile: Any) -> None:
    """Fails where a wrong PK gives a traceback, or no reason."""
    other = process(orm.WorkChainNode, "MdWorkChain", {})
    for reference, message in ((other.pk, "neither"), (orm.Int(1).store().pk, "is a Int"), (10**9, "no node")):
        result = called(reference)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        assert message in result.output


def test_help_has_an_example() -> None:
    assert "aiida-slhmc chain 1234" in called("--help").output


def test_ended_runs_are_read_too(aiida_profile: Any) -> None:
    """Fails where a killed run loses its decisions."""
    node = new_run()
    add_epoch(node, 0, DECISIONS, is_finished=False)
    end(node, {}, state="killed")
    assert len(read_rows(node)) == 6

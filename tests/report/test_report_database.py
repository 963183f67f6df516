"""Reading on after the database was away."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.manage import get_manager
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from aiida_slhmc.report.database import read_patiently, reason_of

DOWN = OperationalError("SELECT 1", {}, Exception("connection refused\nIs the server running?"))


def test_it_waits_and_says_so_once() -> None:
    """Fails where the first error ends it, or each try is told."""
    answers, said = [DOWN, DOWN, DOWN, 7], []

    def read() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert read_patiently(read, interval=0.0, say=said.append) == 7
    assert said == [
        "the database does not answer (connection refused); waiting for it",
        "the database answers again",
    ]


@pytest.mark.usefixtures("aiida_profile")
def test_a_broken_session_is_given_up() -> None:
    """Fails where the session goes on to refuse what is asked after a failure in a transaction."""
    node = orm.Int(3).store()
    pk, tries = node.pk, []

    def read() -> int:
        tries.append(1)
        if len(tries) == 1:
            session = get_manager().get_profile_storage().get_session()
            session.execute(text("SELECT * FROM no_such_table"))
        return orm.load_node(pk).value

    assert read_patiently(read, interval=0.0, say=print) == 3
    assert len(tries) == 2


def test_defects_are_no_outage() -> None:
    """Fails where an error of ours is tried again for ever."""

    def read() -> None:
        raise KeyError("a defect")

    with pytest.raises(KeyError, match="a defect"):
        read_patiently(read, interval=0.0, say=print)


def test_reason_of_an_error_without_words() -> None:
    assert reason_of(OperationalError("", {}, Exception())) == "Exception"

"""Text and files: each form in which a name, a path or a host can be there, and files that nobody can look into."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import numpy as np
import pytest

from aiida_slhmc.sharing.private import _forms, _host
from aiida_slhmc.sharing.schedulers import expand_hosts, names_in_job
from aiida_slhmc.sharing.search import Search

BOB = Search(_forms("bob"))


@pytest.mark.parametrize(
    "text",
    [
        "cd /work2/bob",
        "cd /work2/bob/run && ls",
        "export USER=bob",
        "SLURM_JOB_USER=bob",
        "bob@login7",
        '{"job_owner": "bob"}',
    ],
)
def test_a_short_name(text) -> None:
    """Fails where a user of three letters is overlooked in text, or in text in a file of bytes."""
    assert BOB.text(text)
    assert BOB.content(text.encode())
    assert BOB.content(np.arange(9.0).tobytes() + f"{text:20}".encode() + b"\xff\0")


@pytest.mark.parametrize("text", ["kebob", "bob", "the /bobsleigh", "USER=bobby", "a bob of string"])
def test_a_short_name_in_words(text) -> None:
    assert BOB.text(text) == []


@pytest.mark.parametrize(
    ("text", "is_home"),
    [
        ("/home/jane", True),
        ("/gpfs/Home/jane", True),
        ("/users/jane", True),
        ("/home2/jane/x", True),
        ("cd /u/jane", True),
        ("/root/x", True),
        ("kJ/u/mol", False),
        ("abc/u/xyz", False),
        ("/homework/x", False),
        ("/usr/lib", False),
    ],
)
def test_homes(text, is_home) -> None:
    """Fails where a home on another system is overlooked, or a unit is taken for one."""
    assert bool(Search().text(text)) == is_home


@pytest.mark.parametrize(
    "text",
    [
        "slurmstepd: error: *** JOB 4711 ON n0117 CANCELLED AT 2025-01-01T00:00:00 DUE TO TIME LIMIT ***",
        "srun: error: n0117: task 0: Exited with exit code 1",
        "Job was executed on host(s) <n0117>, in queue <normal>",
    ],
)
def test_messages_of_schedulers(text) -> None:
    """Fails where a node that the profile does not know of leaves in what a scheduler wrote to a job's output."""
    assert Search().text(text)


def test_words_in_lines_and_in_json() -> None:
    """Fails where JSON's letter n of a line break is taken for a part of the word after it."""
    search = Search(["secret-host"])
    assert search.json({"a": ["first\nsecret-host"]})
    assert search.json({"secret-host": 1})
    assert search.text("first\nsecret-host")


def test_characters_that_are_not_ascii() -> None:
    """Fails where a name is found in UTF-8 only, and not where JSON or an old program writes it."""
    search = Search(["Jörg Müller"])
    once = json.dumps({"by": "Jörg Müller"})
    for content in (once.encode(), json.dumps({"record": once}).encode(), "by Jörg Müller".encode("latin-1")):
        assert search.content(content), content
    assert not search.content(b"Jorg Muller")


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ"])
def test_a_file_that_only_begins_as_a_container(start) -> None:
    """Fails where it ends the search, hides what is in it, or counts as looked into."""
    found = Search().content(start + b" /home/jane/x")
    assert found[0] == "a home folder"
    assert found[1].startswith("a compressed file that cannot be opened")


def test_damaged_and_closed_files() -> None:
    """Fails where a file that nobody can look into passes as clean, or ends in a traceback."""
    packed = gzip.compress(b"text" * 100)
    # a damaged stream, which zlib has an error of its own for
    damaged = packed[:12] + bytes([packed[12] ^ 255, packed[13] ^ 255]) + packed[14:]
    for content in (damaged, packed[:-9]):
        assert "cannot be opened" in Search().content(content)[0]
    assert Search().content(packed) == []
    assert "Zstandard" in Search().content(b"\x28\xb5\x2f\xfd\0\0")[0]
    encrypted = io.BytesIO()
    with zipfile.ZipFile(encrypted, "w") as archive:
        archive.writestr("a", "text")
    content = bytearray(encrypted.getvalue())
    # bit 0 of the flags, in the file's header and in the list
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "cannot be opened" in Search().content(bytes(content))[0]


def test_files_in_files_in_files() -> None:
    """Fails where so many layers that nobody looks into them pass as clean."""
    content = b"on secret-host"
    for _ in range(4):
        content = gzip.compress(content)
    assert Search(["secret-host"]).content(content) == ["'secret-host'"]
    content = gzip.compress(content)
    assert Search(["secret-host"]).content(content) == ["files in files, more than 4 deep"]


def test_numbers_are_no_names() -> None:
    """Fails where bytes of numbers are taken for a short name or an address, which come up by chance."""
    numbers = np.random.default_rng(1).integers(0, 256, 4_000_000, dtype=np.uint8).tobytes()
    assert Search([*_forms("bo"), *_forms("bob"), "ab/"]).content(numbers) == []


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("node[01-04,07],gpu1", {"node[01-04,07]", "node01", "node02", "node03", "node04", "node07", "gpu1"}),
        ("r[0-1]n[8-9]", {"r[0-1]n[8-9]", "r0n8", "r0n9", "r1n8", "r1n9"}),
        ("node1/0*4+node2/0*4", {"node1", "node2"}),
        ("4*node1:4*node2", {"node1", "node2"}),
        ("hidden-node-0117", {"hidden-node-0117"}),
        ("", set()),
    ],
)
def test_lists_of_hosts(text, hosts) -> None:
    assert set(expand_hosts(text)) == hosts


def test_a_job_of_slurm() -> None:
    """Fails where what Slurm says of a job, as AiiDA stores it, gives no names."""
    job = {"job_owner": "jdoe", "account": "project7", "allocated_machines_raw": "n[01-02]"}
    record = {
        "retval": 0,
        "stdout": "AllocCPUS|Account|NodeList|User|\n64|project8|m[3-4]|asmith|\n64|project8|m3||",
        "stderr": "",
    }
    users, hosts = names_in_job(json.dumps(job), record)
    assert users == {"jdoe", "project7", "project8", "asmith"}
    assert hosts == {"n[01-02]", "n01", "n02", "m[3-4]", "m3", "m4"}
    for nothing in (None, "", "no json", [], {"stdout": None}):
        assert names_in_job(nothing, nothing) == (set(), set())


def test_short_names_of_hosts() -> None:
    assert set(_host("n17.cluster.site.org")) == {"n17.cluster.site.org", "n17"}
    assert set(_host("10.0.0.7")) == {"10.0.0.7"}
    assert set(_host("login.site.org")) == {"login.site.org"}
    assert list(_host("localhost")) == []

"""The search for what must not be passed on: everything planted is found, and what may stay is not called a leak."""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest
from aiida import orm
from aiida.tools.archive import create_archive
from aiida_vasp.data.potcar import PotcarFileData
from altered_archive import Tampered
from shared_labels import ACCOUNT, HOST, NODE, SECRETS, WORKDIR, vasp_run

from aiida_slhmc.sharing.leaks import find_leaks
from aiida_slhmc.sharing.private import private_words
from aiida_slhmc.sharing.sanitise import sanitise
from aiida_slhmc.sharing.search import Search
from aiida_slhmc.sharing.unpacked import Unpacked
from aiida_slhmc.standin.potcar import TEMPLATE

POTCAR = TEMPLATE.format(
    titel="PAW_PBE O", element="O", valence=6.0, mass=16.0, radius=1.5, cutoff=400.0, minimum=300.0
)
# what VASP repeats of a POTCAR in OUTCAR
OUTCAR = """ POTCAR:    PAW_PBE O 08Apr2002
   VRHFIN =O: s2p4
   LEXCH  = PE
   TITEL  = PAW_PBE O 08Apr2002
   ENMAX  =  400.000; ENMIN  =  300.000 eV
  local pseudopotential read in
  non local Contribution for L=           0  read in
    PAW grid and wavefunctions read in
"""


def packed(text: str) -> bytes:
    """In a tar in a gzip in a zip."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        entry = tarfile.TarInfo("O/POTCAR")
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.tar.gz", gzip.compress(inner.getvalue()))
    return outer.getvalue()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (POTCAR, "POTCAR"),
        ("Warning: /home/jane/env/lib/python3.12/x.py:3", "a home folder"),
        ("/Users/jane", "a home folder"),
        ("mail to jane.doe@institute.org", "jane.doe@institute.org"),
        ("mail to jane.doe@institute.org.The", "jane.doe@institute.org.The"),
        (" PROGRAM RAN ON                                   somewhere", "CP2K"),
        ("mpirun on node17.cluster", "node17.cluster"),
        ("cd /scratch/x/y && run", "/scratch/x"),
    ],
)
def test_leaks_are_found(text, found) -> None:
    """Fails where a kind of leak is overlooked, in plain text or in files in files."""
    search = Search(["node17.cluster", "/scratch/x"])
    for content in (text.encode(), gzip.compress(text.encode()), packed(text)):
        assert any(found in what for what in search.content(content))
    assert search.text(text)


@pytest.mark.parametrize(
    "text",
    [
        OUTCAR,
        "forces in eV/Å, a@b",
        "the node17.clusters",
        "user-1@removed.invalid",
        "/homework/x",
        "gfn1@tblite.ase.TBLite",
    ],
)
def test_what_may_stay(text) -> None:
    """Fails where an OUTCAR, a part of a longer word or a removed address stops a data set."""
    assert Search(["node17.cluster"]).content(text.encode()) == []


def test_what_the_profile_knows(aiida_profile, family) -> None:
    """Fails where a host, an account, a folder, an address or a name of the profile is not looked for."""
    vasp_run([1])
    words = private_words()
    texts = (
        f"x {HOST} x",
        f"{WORKDIR}/0a",
        "the jdoe42",
        NODE,
        SECRETS[3],
        "by Jane Doe",
        "/appl/soft/jdoe42-builds/vasp",
    )
    search = Search(words)
    assert [text for text in texts if not search.text(text)] == []
    # what is on every machine says nothing
    assert not words & {"localhost", "root", "/tmp", "/usr/bin", "aiida"}


def test_names_that_are_common_words(aiida_profile, family) -> None:
    """Fails where the name of a computer or user cannot be allowed, or lets others through."""
    label = "rutile.cluster.site.org"
    _, made = orm.Computer.collection.get_or_create(
        label=label, hostname=label, transport_type="core.ssh", scheduler_type="core.slurm", workdir="/scratch/x"
    )
    if not made.is_stored:
        made.store()
    try:
        assert {"rutile", label} <= private_words()
        assert private_words() - private_words(["rutile"]) == {"rutile"}
        vasp_run([4])
        without = private_words([ACCOUNT])
        assert not Search(without).text(f"USER={ACCOUNT} {ACCOUNT}@x")
        assert Search(without).text(HOST)
    finally:
        orm.Computer.collection.delete(made.pk)


@pytest.fixture(scope="module")
def clean(aiida_profile, family, tmp_path_factory) -> Path:
    """A run's archive without anything private."""
    folder = tmp_path_factory.mktemp("clean")
    raw = create_archive([vasp_run([2])], filename=folder / "raw.aiida")
    archive = Unpacked(raw, folder / "content")
    sanitise(archive, Search(private_words()))
    archive.write(folder / "clean.aiida")
    return folder / "clean.aiida"


def test_a_raw_archive_is_full_of_leaks(aiida_profile, family, tmp_path) -> None:
    """Fails where the search needs to be told what to look for."""
    leaks = [str(leak) for leak in find_leaks(create_archive([vasp_run([3])], filename=tmp_path / "raw.aiida"))]
    for what in ("a folder on a computer", "a code on a computer", "the work folder of a job", "the name of a host"):
        assert any(leak.endswith(what) for leak in leaks), what
    assert any(leak.endswith("a home folder") for leak in leaks)


def test_planted_leaks(clean, tmp_path) -> None:
    """Fails where one of these in an archive is not found."""
    words = private_words()
    assert find_leaks(clean, words) == []

    def planted(number: int) -> Tampered:
        return Tampered(clean, tmp_path / str(number))

    def found(archive: Tampered) -> str:
        return "\n".join(map(str, find_leaks(archive.write(), words)))

    archive = planted(1)
    folder = archive.column("SELECT uuid FROM db_dbnode WHERE node_type LIKE '%FolderData%'")[0]
    archive.file(folder, "vasp_output", packed(POTCAR))
    assert "POTCAR" in found(archive)
    archive = planted(2)
    node = archive.column("SELECT uuid FROM db_dbnode WHERE node_type LIKE '%Dict%'")[0]
    # so long that it lies on several pages of the database, where no search of bytes finds it
    archive.attributes(node, lambda values: values.update(text="x" * 4000 + " ".join([HOST] * 2000)))
    assert HOST in found(archive)
    archive = planted(3)
    archive.sql("UPDATE db_dbnode SET extras = ? WHERE uuid = ?", f'{{"a": "{WORKDIR}/x"}}', node)
    assert WORKDIR in found(archive)
    archive = planted(4)
    archive.sql("UPDATE db_dbcomputer SET hostname = 'other.site.org'")
    assert "the name of a host" in found(archive)
    archive = planted(5)
    job = archive.column("SELECT uuid FROM db_dbnode WHERE node_type LIKE '%CalcJob%'")[0]
    archive.attributes(job, lambda values: values.update(remote_workdir="/x"))
    assert "the work folder of a job" in found(archive)


def test_fields_of_aiida_itself(clean, tmp_path) -> None:
    """Fails where a computer called like AiiDA's name of a calculation stops an archive, or hides a real leak."""
    words = ["VaspCalculation", "read_vasp_label"]
    assert find_leaks(clean, words) == []
    archive = Tampered(clean, tmp_path)
    node = archive.column("SELECT uuid FROM db_dbnode WHERE node_type LIKE '%Dict%'")[0]
    archive.attributes(node, lambda values: values.update(process_label="VaspCalculation"))
    assert any(node in leak.where for leak in find_leaks(archive.write(), words))


def test_names_that_are_not_ascii(clean, tmp_path) -> None:
    """Fails where JSON hides a character behind its number: AiiDA stores it so."""
    archive = Tampered(clean, tmp_path)
    node = archive.column("SELECT uuid FROM db_dbnode WHERE node_type LIKE '%Dict%'")[0]
    archive.attributes(node, lambda values: values.update(text="line\nJörg Müller"))
    stored = archive.row("SELECT attributes FROM db_dbnode WHERE uuid = ?", node)[0]
    assert "Müller" not in stored
    assert any(leak.where.endswith(node) for leak in find_leaks(archive.write(), ["Jörg Müller"]))


def test_a_deleted_row_is_still_in_the_file(clean, tmp_path) -> None:
    """Fails where only rows are searched: SQLite leaves what it deletes in the file."""
    archive = Tampered(clean, tmp_path)
    with sqlite3.connect(archive.folder / "db.sqlite3") as database:
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("CREATE TABLE notes (text TEXT)")
        database.executemany("INSERT INTO notes VALUES (?)", [(f"on {HOST}",)] * 1000)
        database.commit()
        database.execute("DROP TABLE notes")
    leaks = [str(leak) for leak in find_leaks(archive.write(), [HOST])]
    assert leaks == [f"db.sqlite3, its bytes: '{HOST}'"]


def test_a_potcar_node(aiida_profile, family, tmp_path) -> None:
    """Fails where aiida-vasp's node with the licensed text is taken for one that may be shared."""
    potcar = orm.QueryBuilder().append(PotcarFileData).first(flat=True)
    path = create_archive([potcar], filename=tmp_path / "potcar.aiida")
    leaks = [str(leak) for leak in find_leaks(path)]
    assert any(leak.endswith(f"node {potcar.uuid}: a POTCAR") for leak in leaks)
    assert any(leak.startswith("repo/") and "POTCAR (End of Dataset)" in leak for leak in leaks)


def test_text_files(tmp_path) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_text(f"1\ncomment={HOST}\nH 0 0 0\n")
    assert [leak.what for leak in find_leaks(path, [HOST])] == [f"'{HOST}'"]

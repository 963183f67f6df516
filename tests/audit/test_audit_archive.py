"""Opening what may be no archive, a damaged one, or one in which there is nothing to check."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest
from aiida import orm
from aiida.tools.archive import create_archive
from altered_archive import Tampered

from aiida_slhmc.audit.archive import ArchiveError, damaged_files, nodes_of, open_archive
from aiida_slhmc.audit.rebuild import rebuild

SCRIPT = Path(__file__).parents[2] / "examples" / "rebuild_study.py"


@pytest.fixture(scope="module")
def archive(aiida_profile, tmp_path_factory) -> Path:
    """A file and two numbers."""
    folder = orm.FolderData()
    folder.base.repository.put_object_from_bytes(b"some text", "file.txt")
    nodes = [folder.store(), orm.Int(1).store(), orm.Int(2).store()]
    return create_archive(nodes, filename=tmp_path_factory.mktemp("archive") / "small.aiida")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "broken.aiida"
    path.write_bytes(content)
    return path


def test_nodes_are_read_without_an_import(archive) -> None:
    """Fails where the profile's nodes are read instead, or the archive's are put into it."""
    before = orm.QueryBuilder().append(orm.Node).count()
    with open_archive(archive) as storage:
        assert [node.value for node in nodes_of(storage, orm.Int)] == [1, 2]
        assert all(node.backend is storage for node in nodes_of(storage, orm.Int))
        assert [problem for _, problem in damaged_files(storage)] == [None]
    assert orm.QueryBuilder().append(orm.Node).count() == before


def test_no_file(tmp_path) -> None:
    with pytest.raises(ArchiveError, match="there is no file"), open_archive(tmp_path / "none.aiida"):
        pass


def test_no_archive(tmp_path, archive) -> None:
    """Fails where one of these gives anything but a sentence: text, nothing, a half, another zip, a broken database."""
    content = archive.read_bytes()
    broken = [b"some text", b"", content[: len(content) // 2], content[:-30]]
    for part in broken:
        with pytest.raises(ArchiveError, match="is no whole AiiDA archive"), open_archive(written(tmp_path, part)):
            pass
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as handle:
        handle.writestr("readme.txt", "hello")
    with pytest.raises(ArchiveError, match="is no whole AiiDA archive"), open_archive(other):
        pass
    tampered = Tampered(archive, tmp_path)
    database = tampered.folder / "db.sqlite3"
    database.write_bytes(database.read_bytes()[:5000])
    with pytest.raises(ArchiveError, match="is no whole AiiDA archive"), open_archive(tampered.write()):
        pass


def test_a_damaged_page(tmp_path, archive) -> None:
    """Fails where damage that is found late, in the middle of the check, ends in a traceback."""
    tampered = Tampered(archive, tmp_path)
    uuid = tampered.column("SELECT uuid FROM db_dbnode WHERE node_type LIKE '%Int%'")[0]
    tampered.sql("UPDATE db_dbnode SET attributes = '{' WHERE uuid = ?", uuid)
    with (
        pytest.raises(ArchiveError, match="is no whole AiiDA archive"),
        open_archive(tampered.write()) as storage,
    ):
        list(nodes_of(storage, orm.Int))


def test_another_schema(tmp_path, archive) -> None:
    """Fails where an archive of another version of AiiDA is called damaged."""
    tampered = Tampered(archive, tmp_path)
    metadata = tampered.folder / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"export_version": "main_', '"export_version": "main_9'))
    with pytest.raises(ArchiveError, match="verdi archive migrate"), open_archive(tampered.write()):
        pass


def test_nothing_to_check_is_not_good(archive, tmp_path) -> None:
    """Fails where an archive in which nothing can be executed passes as rebuilt."""
    verdict = rebuild(archive, tmp_path)
    assert not verdict.executed
    assert verdict.differences == []
    assert not verdict.is_good


def test_script(tmp_path, archive, monkeypatch, capsys) -> None:
    """Fails where the exit status or the message does not tell the three outcomes apart."""
    spec = importlib.util.spec_from_file_location("rebuild_study", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    outcomes = {}
    for name, path in {"none": tmp_path / "none.aiida", "empty": archive}.items():
        monkeypatch.setattr(sys, "argv", ["rebuild_study.py", str(path), "--folder", str(tmp_path / "rebuilt")])
        outcomes[name] = script.main(), capsys.readouterr().out
    status, text = outcomes["none"]
    assert status == 2
    assert text.startswith("there is no file")
    status, text = outcomes["empty"]
    assert status == 1
    assert "nothing of this package could be executed again" in text.splitlines()[-1]

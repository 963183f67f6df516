"""Archives of data sets: nothing private is in them, and what is left can be checked, trained from and continued."""

from __future__ import annotations

import gzip
import os
import signal
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import ProcessState
from aiida.tools.archive import create_archive
from altered_archive import Tampered
from shared_labels import ACCOUNT, HOST, NODE, SECRETS, WORKDIR, vasp_run, words_in

from aiida_slhmc.audit.archive import ArchiveError, nodes_of, open_archive
from aiida_slhmc.data.configuration import ConfigurationData
from aiida_slhmc.sharing import archive as sharing_archive
from aiida_slhmc.sharing.archive import export_archive, export_processes, import_data_sets
from aiida_slhmc.sharing.collect import create_data_set
from aiida_slhmc.sharing.data_set import PREFIX, DataSet, store_data_set
from aiida_slhmc.sharing.describe import describe
from aiida_slhmc.sharing.leaks import find_leaks
from aiida_slhmc.sharing.private import private_words
from aiida_slhmc.sharing.sanitise import LeftOut, SharingError
from aiida_slhmc.sharing.verify import verify
from aiida_slhmc.standin.potcar import TEMPLATE

pytestmark = pytest.mark.usefixtures("aiida_profile", "family")


@pytest.fixture(scope="module")
def data_set(aiida_profile, family) -> DataSet:
    """Three labels of one run; the standard output of one more job tells where it ran."""
    run = vasp_run([21, 22])
    talking = vasp_run([23], script=f"running on {NODE}\n")
    talking.base.extras.set("seen by", HOST)
    return create_data_set("archived", [run, talking])


@pytest.fixture(scope="module")
def exported(data_set, tmp_path_factory) -> tuple[Path, LeftOut]:
    """With provenance, and what was left out."""
    path = tmp_path_factory.mktemp("exported") / "archived.aiida"
    return path, export_archive(data_set, path, private_words())


def in_archive(storage) -> DataSet:
    query = orm.QueryBuilder(backend=storage).append(orm.Group, filters={"label": {"like": f"{PREFIX}%"}})
    return DataSet(query.one()[0])


def test_nothing_private_is_in_it(exported, data_set, tmp_path) -> None:
    """Fails where a host, account, name or path is left in a file, a row or a free page of the database.

    The archive as AiiDA makes it has them all.
    """
    secrets = (*SECRETS[:3], WORKDIR, "_aiidasubmit", "test@aiida.net")
    raw = create_archive([data_set.group], filename=tmp_path / "raw.aiida")
    assert words_in(raw, tmp_path / "1", (HOST, ACCOUNT, NODE, WORKDIR)) == [HOST, ACCOUNT, NODE, WORKDIR]
    assert words_in(exported[0], tmp_path / "2", (*secrets, *SECRETS)) == []
    assert find_leaks(exported[0], private_words()) == []


def gunzipped(folder: Path) -> bytes:
    """All that is compressed in the files of an unpacked archive."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"".join(gzip.decompress(content) for content in contents if content.startswith(b"\x1f\x8b"))


def test_potcars_that_got_into_other_files(tmp_path) -> None:
    """Fails where a POTCAR leaves in a retrieved folder or a job's repository, as it is or compressed.

    What is in the archives is told by Python's zip and gzip alone.
    """
    text = TEMPLATE.format(titel="PAW_PBE O", element="O", valence=6, mass=16, radius=1.5, cutoff=400, minimum=300)
    packed = gzip.compress(text.encode())
    data_set = create_data_set("potcars", [vasp_run([28], script=text), vasp_run([29], notes=packed)])
    potential = text[text.index("END of PSCTR") :].splitlines()
    raw, clean, path = tmp_path / "raw", tmp_path / "clean", tmp_path / "potcars.aiida"
    create_archive([data_set.group], filename=tmp_path / "raw.aiida")
    left_out = export_archive(data_set, path, private_words())
    assert words_in(tmp_path / "raw.aiida", raw, potential[:1]) == potential[:1]
    assert potential[0].encode() in gunzipped(raw)
    assert words_in(path, clean, [potential[0], potential[-1]]) == []
    assert gunzipped(clean) == b""
    assert left_out.nodes["FolderData"] == 1
    assert any(what.startswith("POTCAR") for what in left_out.found)


def test_a_run_that_was_killed(tmp_path) -> None:
    """Fails where a process without an end is a traceback of AiiDA's, or keeps its labels from being shared at all."""
    killed = vasp_run([30], has_ended=False)
    data_set = create_data_set("killed", [killed])
    for export in (
        lambda: export_processes([killed], tmp_path / "run.aiida"),
        lambda: export_archive(data_set, tmp_path / "labels.aiida", private_words()),
    ):
        with pytest.raises(SharingError, match=r"has not ended.*verdi process kill.*--without-provenance"):
            export()
    assert list(tmp_path.iterdir()) == []
    export_archive(data_set, tmp_path / "labels.aiida", private_words(), with_provenance=False)
    killed.set_process_state(ProcessState.KILLED)
    killed.seal()
    export_processes([killed], tmp_path / "run.aiida")


def test_nothing_is_left_where_others_read(data_set, tmp_path, monkeypatch) -> None:
    """Fails where what is not yet cleaned lies beside the target, is readable by others, or outlives a signal."""
    places, private = [], tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))

    def look(archive, search):
        places.extend([archive.folder.parent, archive.folder.parent.stat().st_mode & 0o077, *target.iterdir()])
        assert not list(archive.folder.parent.glob("*.aiida")), "the archive as AiiDA wrote it is still there"
        os.kill(os.getpid(), signal.SIGTERM)

    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.setattr(sharing_archive, "sanitise", look)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        export_archive(data_set, target / "x.aiida", private_words())
    assert places[0].parent == private
    assert places[1:] == [0]
    assert list(private.iterdir()) == list(target.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == handler


def test_calls_that_cannot_be_made_again_are_counted(tmp_path) -> None:
    """Fails where an input that was left out takes a check from a referee, and nobody says so."""
    run = vasp_run([20], incar={"system": f"on {HOST}"})
    left_out = export_processes([run], tmp_path / "cut.aiida", {HOST})
    assert left_out.nodes["Dict"] == 1
    assert left_out.incomplete == {"read_vasp_label": 1}
    assert left_out.found[f"'{HOST}'"] >= 1


def test_what_is_left_out_is_said(exported) -> None:
    """Fails where more, or less, is missing than the export says, or it does not say why."""
    path, left_out = exported
    assert dict(left_out.nodes) == {"RemoteData": 3, "InstalledCode": 2, "FolderData": 1}
    assert left_out.files == {"_aiidasubmit.sh": 3, ".aiida": 3, "notes": 3}
    (reason,) = left_out.reasons
    assert reason.startswith("FolderData ")
    assert NODE in reason
    assert reason.endswith("in vasp_output")
    with open_archive(path) as storage:
        kinds = [type(node).__name__ for node in nodes_of(storage, orm.Data)]
        assert kinds.count("FolderData") == 2
        jobs = list(nodes_of(storage, orm.CalcJobNode))
        assert [job.base.repository.list_object_names() for job in jobs] == [["INCAR"]] * 3
        assert all("potential__Ti" in {link.link_label for link in job.base.links.get_incoming()} for job in jobs)
        assert all(not job.base.extras.all.get("seen by") for job in nodes_of(storage, orm.ProcessNode))


def test_labels_in_the_archive_can_be_checked(exported, data_set) -> None:
    """Fails where what was left out takes a label from its calculation."""
    with open_archive(exported[0]) as storage:
        shared = in_archive(storage)
        assert [label.uuid for label in shared.labels] == [label.uuid for label in data_set.labels]
        result = verify(shared)
        assert result.problems == []
        assert result.n_checked == 3
        # the folder of one job was left out
        assert list(result.unchecked.values()) == [1]
        assert result.is_good
        assert dict(describe(shared))["functional"] == "pbe"


def test_files_are_those_of_their_hashes(exported) -> None:
    """Fails where a file was altered instead of left out."""
    from aiida_slhmc.audit.archive import damaged_files

    with open_archive(exported[0]) as storage:
        problems = [problem for _, problem in damaged_files(storage)]
    assert problems
    assert not any(problems)


def test_a_node_that_lost_what_was_hashed_has_no_hash(exported) -> None:
    """Fails where a job without its prepended text may be the source of a cached one with it."""
    with open_archive(exported[0]) as storage:
        for job in nodes_of(storage, orm.CalcJobNode):
            assert "prepend_text" not in job.base.attributes.all
            assert "_aiida_hash" not in job.base.extras.all
        assert all("_aiida_hash" in node.base.extras.all for node in nodes_of(storage, orm.Dict))


def test_without_provenance(data_set, tmp_path) -> None:
    """Fails where anything but labels and block is in it, or their settings are lost."""
    path = tmp_path / "labels.aiida"
    export_archive(data_set, path, private_words(), with_provenance=False)
    with open_archive(path) as storage:
        assert sorted(type(node).__name__ for node in nodes_of(storage, orm.Node)) == [
            *["ConfigurationData"] * 3,
            "DatasetData",
        ]
        shared = in_archive(storage)
        assert shared.block.settings == data_set.block.settings
        result = verify(shared)
        assert result.problems == []
        assert not result.is_good
        assert "calculations are not here" in result.verdict


def test_options_for_one_computer_are_left_out(tmp_path) -> None:
    """Fails where an account or text for a shell leaves in a work chain's `options`, or plain options are left out."""
    for number, more in enumerate(({}, {"account": "ab"}, {"prepend_text": "module load vasp"})):
        run = vasp_run([27 + number], options={"withmpi": True} | more)
        data_set = create_data_set(f"options-{number}", [run])
        path = tmp_path / f"{number}.aiida"
        left_out = export_archive(data_set, path, private_words())
        with open_archive(path) as storage:
            found = {node.uuid for node in nodes_of(storage, orm.Dict)}
        assert (run.inputs.options.uuid not in found) == bool(more)
        assert [text.partition(": ")[2] for text in left_out.reasons] == [f"the option {name}" for name in more]


def test_a_label_with_something_private_is_refused(labelled, tmp_path) -> None:
    """Fails where a label is left out in silence, or leaves with it; nothing is left of the file."""
    run = vasp_run([24])
    good = create_data_set("good", [run]).labels
    bad = labelled(25, unlabelled_reason=f"not on {HOST}")
    data_set = store_data_set("refused", create_data_set("bad", [bad]).block, [bad])
    with pytest.raises(SharingError, match=f"ConfigurationData {bad.uuid} has .*'{HOST}' in it"):
        export_archive(data_set, tmp_path / "refused.aiida", private_words())
    assert list(tmp_path.iterdir()) == []
    assert good


def test_the_last_search_decides(data_set, tmp_path, monkeypatch) -> None:
    """Fails where an archive that the cleaning has missed something in gets its name."""
    monkeypatch.setattr(sharing_archive, "sanitise", lambda archive, search: LeftOut())
    with pytest.raises(SharingError, match="in it is still"):
        export_archive(data_set, tmp_path / "raw.aiida", private_words())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(data_set, tmp_path) -> None:
    path = tmp_path / "precious.aiida"
    path.write_text("precious")
    with pytest.raises(SharingError, match="--overwrite"):
        export_archive(data_set, path, [])
    assert path.read_text() == "precious"
    export_archive(data_set, path, private_words(), overwrite=True, with_provenance=False)
    assert path.stat().st_size > 1000


def test_what_is_no_archive_of_a_data_set(tmp_path, labelled) -> None:
    """Fails where another archive is imported before it is refused."""
    label = labelled(26)
    path = create_archive([label], filename=tmp_path / "other.aiida")
    with pytest.raises(ArchiveError, match="there is no data set in"):
        import_data_sets(path)
    (tmp_path / "text.aiida").write_text("text")
    with pytest.raises(ArchiveError, match="no whole AiiDA archive"):
        import_data_sets(tmp_path / "text.aiida")


def test_an_archive_that_is_here_already(exported, data_set) -> None:
    """Fails where an import of what is here makes it twice."""
    before = orm.QueryBuilder().append(ConfigurationData).count()
    (again,) = import_data_sets(exported[0])
    assert again.group.uuid == data_set.group.uuid
    assert orm.QueryBuilder().append(ConfigurationData).count() == before


def test_an_altered_archive_is_found(exported, tmp_path) -> None:
    """Fails where the check of an archive believes labels that were changed in it."""
    archive = Tampered(exported[0], tmp_path)
    misc = archive.outputs(archive.processes("vasp.vasp")[0])["misc"]
    archive.attributes(misc, lambda values: values["total_energies"].update(energy_free=-1.0))
    with open_archive(archive.write()) as storage:
        result = verify(in_archive(storage))
    assert any("-1.0 eV" in problem for problem in result.problems)
    assert not result.is_good

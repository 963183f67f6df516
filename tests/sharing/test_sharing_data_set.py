"""Making data sets: which labels they have, what does not go together, and how labels are checked."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from fixtures import configuration, label_of, rutile_atoms
from shared_labels import INCAR, vasp_run

from aiida_slhmc.calculations.epoch import collect_block
from aiida_slhmc.data.dataset import DatasetData
from aiida_slhmc.sharing.collect import create_data_set, labels_of
from aiida_slhmc.sharing.data_set import PREFIX, DataSet, data_set_names, load_data_set, store_data_set
from aiida_slhmc.sharing.describe import describe, origins
from aiida_slhmc.sharing.settings import differences, read_settings
from aiida_slhmc.sharing.verify import verify
from aiida_slhmc.workflows.fine_tune import FineTuneWorkChain

pytestmark = pytest.mark.usefixtures("aiida_profile", "family")


def test_labels_of_a_run() -> None:
    """Fails where a label of the run is missing, in another order, or the block is not of these labels."""
    run = vasp_run([31, 32, 33])
    data_set = create_data_set("three", [run])
    assert [label.uuid for label in data_set.labels] == [label.uuid for label in labels_of(run)]
    assert len(data_set.labels) == 3
    assert data_set.block.is_stored
    assert data_set.block.get_uuids() == [label.uuid for label in data_set.labels]
    assert load_data_set("three").block.uuid == load_data_set(f"{PREFIX}three").block.uuid == data_set.block.uuid
    assert "three" in data_set_names()


def test_a_block_can_be_trained_from(foundation, python_code) -> None:
    """Fails where a work chain does not take the block of a data set as `datasets`, `replay` or `probes`."""
    block = create_data_set("trained", [vasp_run([34])]).block
    inputs = {"code": python_code, "model": foundation, "parameters": orm.Dict({"max_epochs": 1})}
    for extra in ({}, {"probes": {"shared": block}}):
        assert FineTuneWorkChain.spec().inputs.validate(inputs | {"datasets": {"shared": block}} | extra) is None


def test_blocks_and_single_labels(labelled) -> None:
    """Fails where a block's labels are others than its own, or one that is given twice is there twice."""
    labels = {f"label_{k}": labelled(40 + k) for k in range(3)}
    block, _ = collect_block.run_get_node(**labels)
    written = DatasetData(configurations=list(labels.values())).store()
    for given in ([block], [written], [*labels.values(), block], [labels["label_0"], written]):
        assert {label.uuid for label in create_data_set(f"blocks-{len(data_set_names())}", given).labels} == {
            label.uuid for label in labels.values()
        }
    # the same label, as AiiDA's cache makes it for a restart
    copy = labels["label_0"].clone().store()
    assert len(create_data_set("cached", [*labels.values(), copy]).labels) == 3


def test_settings_are_those_of_the_calculation() -> None:
    """Fails where a tag, the k-points or a potential is missing, or the text of a POTCAR is there."""
    settings = create_data_set("settings", [vasp_run([35], incar={"algo": "All", "ncore": 4})]).block.settings
    assert settings["parameters"] == INCAR
    assert settings["kpoints"] == {"mesh": [2, 2, 3], "offset": [0.0, 0.0, 0.0]}
    assert sorted(settings["potentials"]) == ["O", "Ti"]
    assert settings["potentials"]["Ti"].startswith("PAW_PBE Ti_pv 00dummy0000 (")
    assert len(settings["potentials"]["Ti"]) < 60


def test_settings_that_move_no_energy_may_differ() -> None:
    """Fails where a recovery, which changes ALGO or NELM only, splits a run's labels."""
    runs = [vasp_run([36]), vasp_run([37], incar={"algo": "All", "nelm": 200, "kpar": 2})]
    assert len(create_data_set("recovered", runs).labels) == 2


def test_what_does_not_belong_together(labelled) -> None:
    """Fails where labels of two functionals, engines or cutoffs become one data set, or no word says which."""
    run = vasp_run([38])
    with pytest.raises(ValueError, match=r"parameters.encut: 520 or 400"):
        create_data_set("mixed", [run, vasp_run([39], incar={"encut": 400})])
    with pytest.raises(ValueError, match="1 of hse06 by vasp-standin, 1 of pbe by vasp-standin"):
        create_data_set("mixed", [labelled(38), labelled(38, "hse06")])
    other = configuration(rutile_atoms(seed=9), label_of(rutile_atoms(seed=9)) | {"engine": "vasp"}).store()
    with pytest.raises(ValueError, match="1 of pbe by vasp, 1 of pbe by vasp-standin"):
        create_data_set("mixed", [labelled(38), other])
    with pytest.raises(ValueError, match="the settings of some are known, of others not"):
        create_data_set("mixed", [run, labelled(38)])
    assert "mixed" not in data_set_names()


def test_nothing_to_make_a_data_set_of(structure) -> None:
    failed = configuration(rutile_atoms(), unlabelled_reason="VASP failed").store()
    with pytest.raises(ValueError, match="there is no label"):
        create_data_set("empty", [failed])
    with pytest.raises(ValueError, match=r"StructureData<\d+> is no run"):
        create_data_set("empty", [structure])


def test_names(labelled) -> None:
    """Fails where a name is taken twice, or one that no command line can take is accepted."""
    create_data_set("taken", [labelled(50)])
    with pytest.raises(ValueError, match="verdi group delete slhmc/dataset/taken"):
        create_data_set("taken", [labelled(51)])
    for name in ("", "a b", "../x", "-x"):
        with pytest.raises(ValueError, match="is no name for a data set"):
            create_data_set(name, [labelled(50)])
    with pytest.raises(ValueError, match=r"there is no data set 'other'; there are: .*taken"):
        load_data_set("other")


def test_a_group_that_is_no_data_set(labelled) -> None:
    """Fails where a group that somebody has taken nodes from is shown as whole."""
    data_set = create_data_set("broken", [labelled(52), labelled(53)])
    data_set.group.remove_nodes([data_set.labels[0]])
    with pytest.raises(ValueError, match="lacks 1 labels of its block"):
        DataSet(data_set.group)
    data_set.group.remove_nodes([data_set.block])
    with pytest.raises(ValueError, match="has 0 blocks"):
        DataSet(data_set.group)


def test_labels_agree_with_their_calculations() -> None:
    """Fails where a sound data set does not pass, or passes without having been looked at."""
    calls = []
    result = verify(create_data_set("sound", [vasp_run([54, 55])]), lambda done, total: calls.append((done, total)))
    assert result.problems == []
    assert (result.n_labels, result.n_checked, dict(result.unchecked)) == (2, 2, {})
    assert result.is_good
    assert result.verdict == "all 2 labels agree with their calculations"
    assert calls == [(1, 2), (2, 2)]


def test_a_label_that_is_not_its_calculations() -> None:
    """Fails where an energy that is 1 meV off its calculation's passes."""
    result = verify(create_data_set("wrong", [vasp_run([56, 57], energy_error=1e-3)]))
    assert not result.is_good
    assert len({problem.partition(":")[0] for problem in result.problems}) == 2
    assert "misc" in result.problems[0]


def test_a_block_that_is_not_its_labels() -> None:
    """Fails where the frames that a training reads are not compared with the labels."""
    data_set = create_data_set("other-block", [vasp_run([58])])
    label = data_set.labels[0]
    moved = DatasetData(configurations=[label], about={"settings": data_set.block.settings})
    text = moved.base.repository.get_object_content(moved.FILENAME)
    number = f"{label.arrays()['positions'][0, 0]:.8f}"
    assert number in text
    changed = text.replace(number, f"{label.arrays()['positions'][0, 0] + 0.1:.8f}", 1)
    moved.base.repository.put_object_from_bytes(changed.encode(), moved.FILENAME)
    result = verify(store_data_set("moved", moved.store(), [label]))
    assert [problem.partition(": ")[2] for problem in result.problems] == ["its positions in the block are others"]


def test_other_settings_than_it_says() -> None:
    data_set = create_data_set("says", [vasp_run([59])])
    settings = data_set.block.settings
    settings["parameters"]["encut"] = 800
    block = DatasetData(configurations=data_set.labels, about={"settings": settings}).store()
    result = verify(store_data_set("says-800", block, data_set.labels))
    (problem,) = result.problems
    assert "parameters.encut: 800 or 520" in problem


def test_what_cannot_be_checked_is_said(labelled) -> None:
    """Fails where labels without calculations count as checked."""
    result = verify(create_data_set("believed", [labelled(60)]))
    assert result.problems == []
    assert result.n_checked == 0
    assert not result.is_good
    assert "must be believed" in result.verdict
    unread = verify(create_data_set("unread", [vasp_run([61], vasprun=False)]))
    assert unread.is_good
    assert [reason for reason in unread.unchecked if "vasprun.xml" in reason]


def test_description() -> None:
    """Fails where the table has not what one needs to know before training from a data set."""
    run = vasp_run([62, 63])
    data_set = create_data_set("described", [run])
    rows = dict(describe(data_set))
    energies = [label.energy / 6 for label in data_set.labels]
    assert rows["functional"] == "pbe"
    assert rows["stand-in"].startswith("yes")
    assert rows["labels"] == "2"
    assert rows["energy"] == f"{min(energies):.6f} to {max(energies):.6f} eV/atom"
    assert "encut 520" in rows["parameters"]
    assert rows["from"] == f"EpochWorkChain {run.pk} ({run.uuid}): 2"
    assert rows["block for training"].startswith(f"DatasetData {data_set.block.pk} ")
    assert np.isclose(
        float(rows["largest force"].split()[0]),
        max(x.base.attributes.get("max_force") for x in data_set.labels),
        atol=1e-4,
    )


def test_origin_of_labels_without_calculations(labelled) -> None:
    assert origins(create_data_set("unknown", [labelled(64)])) == ["not known, their calculations are not here: 1"]


def test_differences_of_settings() -> None:
    assert differences(None, None) == []
    assert differences({"a": {"b": 1}}, {"a": {"b": 1, "c": [2]}}) == ["a.c: not set or [2]"]


def test_settings_of_a_label_without_a_calculation(labelled) -> None:
    assert read_settings(labelled(65)) is None

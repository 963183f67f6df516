"""A referee's check of a real run's archive: it passes as it is, and every way of tampering is found and named."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida.tools.archive import create_archive
from altered_archive import Tampered
from run_examples import called

from aiida_slhmc.audit.rebuild import Verdict, rebuild

SCRIPT = Path(__file__).parents[2] / "examples" / "rebuild_study.py"
FUNCTIONS = {"read_vasp_label": 9, "metropolis": 4, "collect_chain": 2, "summarise_epoch": 2, "adapt_trajectory": 2}
FUNCTIONS |= {"collect_block": 2, "summarise_run": 1}


@pytest.fixture(scope="session")
def archive(finished, tmp_path_factory) -> Path:
    """What the authors of a study publish."""
    return create_archive([finished], filename=tmp_path_factory.mktemp("published") / "study.aiida", include_logs=False)


@pytest.fixture
def tampered(archive, tmp_path) -> Tampered:
    return Tampered(archive, tmp_path)


@pytest.fixture
def verdict_on(tmp_path) -> Callable[[Tampered], Verdict]:
    """Function: write the tampered archive and check it."""
    return lambda content: rebuild(content.write(), tmp_path / "rebuilt")


def named(verdict: Verdict, *words: str) -> list[str]:
    """The differences in which all of these words are."""
    assert not verdict.is_good
    return [text for text in verdict.differences if all(word in text for word in words)]


def script(archive: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The example, in a process of its own that knows no profile."""
    home = folder / "home"
    home.mkdir(parents=True)
    command = [sys.executable, str(SCRIPT), str(archive), "--folder", str(folder / "rebuilt")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AIIDA")}
    environment |= {"AIIDA_PATH": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_everything_is_rebuilt_without_a_profile(archive, tmp_path) -> None:
    """Fails where a profile, a daemon or anything that is not in the archive is needed, or a function is left out."""
    before = archive.read_bytes()
    done = script(archive, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERDICT: everything is equal" in done.stdout
    verdict = json.loads((tmp_path / "rebuilt" / "verdict.json").read_text())
    assert verdict["executed"] == FUNCTIONS
    assert verdict["outputs_equal"] == sum(FUNCTIONS.values())
    assert verdict["largest"] == 0, "it is the same machine"
    assert verdict["given"] == {"MaceModelData": 1}, "the foundation model; all else is made in the archive"
    checked = {"EpochWorkChain", "SlhmcWorkChain", "MaceProposalCalculation", "metropolis", "read_vasp_label", "file"}
    assert checked <= set(verdict["links"])
    assert json.loads((tmp_path / "home" / ".aiida" / "config.json").read_text())["profiles"] == {}
    assert archive.read_bytes() == before, "it is only read"


def test_restarted_runs_and_single_epochs(restarted, with_divergence, finished, tmp_path) -> None:
    """Fails where a sound archive of another shape is said to differ.

    One has nodes from the cache and the chains of earlier runs, one a trajectory that diverged, one no run.
    """
    epochs = called(finished, "EpochWorkChain")
    for name, node in {"restarted": restarted, "divergence": with_divergence[0], "epoch": epochs[1]}.items():
        path = create_archive([node], filename=tmp_path / f"{name}.aiida", include_logs=False)
        verdict = rebuild(path, tmp_path / name)
        assert verdict.is_good, (name, verdict.differences)
        assert verdict.links["EpochWorkChain"] > 0
        assert verdict.executed["metropolis"] > 0


def test_a_decision(tampered, tmp_path) -> None:
    """One number in the sixth digit. Fails where the script does not name the node, or its exit status is 0."""
    (result,) = tampered.outputs(tampered.processes(".metropolis")[1]).values()
    tampered.attributes(result, lambda values: values["delta_h"].__setitem__(0, values["delta_h"][0] * (1 + 1e-6)))
    done = script(tampered.write(), tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if result in line]
    assert any("delta_h[0]" in line and line.startswith("DIFFERS  metropolis") for line in lines)
    assert "differences" in done.stdout.splitlines()[-1]


def altered_label(tampered: Tampered, uuid: str, shift: float) -> None:
    """Let a label have another energy, in its file and in its attributes."""
    content = np.load(io.BytesIO(tampered.content(uuid, "configuration.npz")))
    arrays = {key: content[key] for key in content.files}
    arrays["energy"] = arrays["energy"] + shift
    handle = io.BytesIO()
    np.savez(handle, **arrays)
    tampered.file(uuid, "configuration.npz", handle.getvalue())
    tampered.attributes(uuid, lambda values: values.__setitem__("energy", float(arrays["energy"])))


def test_a_label(tampered, verdict_on) -> None:
    """Fails where an energy that is not the calculation's passes."""
    reading = tampered.processes(".read_vasp_label")[3]
    label = tampered.outputs(reading)["result"]
    altered_label(tampered, label, 1e-3)
    verdict = verdict_on(tampered)
    assert named(verdict, reading, label, "configuration.npz.energy")
    assert named(verdict, reading, "misc")
    assert named(verdict, "metropolis", "energy"), "what was decided with it is not what its numbers say"


def test_a_label_and_the_parsed_output(tampered, verdict_on) -> None:
    """Fails where VASP's own file is not asked: here the label is what the function makes of the altered output."""
    reading = tampered.processes(".read_vasp_label")[3]
    altered_label(tampered, tampered.outputs(reading)["result"], 1e-3)

    def shift(values: dict[str, Any]) -> None:
        values["total_energies"]["energy_free"] += 1e-3

    tampered.attributes(tampered.inputs(reading)["misc"], shift)
    verdict = verdict_on(tampered)
    assert named(verdict, reading, "vasprun.xml")
    assert not named(verdict, reading, "configuration.npz")


def test_what_no_function_covers(tampered, verdict_on) -> None:
    """Four alterations that calculation functions do not see. Fails where one of them passes, or is not named."""
    job, reading, other = tampered.processes("mace_proposal")[0], *tampered.processes(".read_vasp_label")[1:3]
    model, structure = tampered.inputs(job)["model"], tampered.outputs(job)["structures__walker_0"]
    key = tampered.key(tampered.outputs(tampered.processes("vasp.vasp")[0])["retrieved"], "OUTCAR")

    def move(values: dict[str, Any]) -> None:
        values["sites"][0]["position"][0] += 1e-3

    tampered.attributes(structure, move)
    # the foundation model, which nothing in the archive made
    tampered.attributes(model, lambda values: values.__setitem__("cutoff", 9.0))
    tampered.link(reading, "calculated", tampered.inputs(other)["calculated"])
    with (tampered.folder / "repo" / key).open("ab") as handle:
        handle.write(b"more, under the old sha256")
    verdict = verdict_on(tampered)
    assert named(verdict, job, "walker_0", "positions differ by 0.001")
    assert named(verdict, model, "cutoff")
    assert named(verdict, reading, "its calculated is not the structure")
    assert named(verdict, key, "sha256")


def test_a_chain_of_chosen_cycles(tampered, verdict_on) -> None:
    """Functions give what they were given, so only the links tell. Fails where a state is put in, or a cycle left out.

    In the first epoch a cycle starts where the chain was not, in the second one is left out, and in the history the
    second epoch.
    """
    decisions, collections = tampered.processes(".metropolis"), tampered.processes(".collect_chain")
    (history,) = tampered.processes(".summarise_run")
    tampered.link(decisions[1], "state_0", tampered.inputs(decisions[3])["label_0"])
    tampered.unlink(collections[1], "decide_00001")
    tampered.unlink(history, "epoch_0001")
    verdict = verdict_on(tampered)
    first, second = tampered.processes("slhmc.epoch")
    assert named(verdict, first, "cycle 1 does not start walker_0")
    assert named(verdict, decisions[1], "did not start walker 0 from its state_0")
    assert named(verdict, second, "its chain", "decide_00001")
    assert named(verdict, "SlhmcWorkChain", "history", "epoch_0001")


def test_what_cannot_be_checked(tampered, verdict_on) -> None:
    """A file is missing, a function unknown, another a stranger's.

    Fails where this ends the check with a traceback, is passed over in silence, or the stranger's is executed.
    """
    label = tampered.outputs(tampered.processes(".read_vasp_label")[3])["result"]
    (tampered.folder / "repo" / tampered.key(label, "configuration.npz")).unlink()
    calls = tampered.processes(".summarise_epoch")
    for uuid, name in zip(calls, ("aiida_slhmc.calculations.epoch.no_more", "os.getcwd"), strict=True):
        tampered.sql("UPDATE db_dbnode SET process_type = ? WHERE uuid = ?", name, uuid)
    verdict = verdict_on(tampered)
    assert named(verdict, tampered.processes(".read_vasp_label")[3])
    assert named(verdict, "ConfigurationData", label, "cannot be checked")
    assert named(verdict, calls[0], "this version has no", "no_more")
    assert verdict.skipped == {"of another package: os.getcwd": 1}

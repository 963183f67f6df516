"""QuantumEspressoLabelWorkChain with the real pw.x where something goes wrong: each recovery, each way to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.manage.caching import enable_caching
from quantum_espresso import (
    PW,
    SMALL_CUTOFFS,
    Label,
    assert_same_label,
    calculations,
    make_code,
    moved,
    needs_pw,
    silicon,
)

from aiida_slhmc.targets.quantum_espresso import QuantumEspressoLabelWorkChain

pytestmark = [needs_pw, pytest.mark.slow]
CODES = QuantumEspressoLabelWorkChain.exit_codes
SILICON = {"SYSTEM": SMALL_CUTOFFS, "ELECTRONS": {"startingpot": "file", "startingwfc": "file"}}
TWO_ITERATIONS = SILICON | {"ELECTRONS": SILICON["ELECTRONS"] | {"electron_maxstep": 2}}
# the pipe breaks in the middle of the self-consistency, which ends pw.x
BROKEN = f'"{PW}" "$@" | head -n 60\n'


@pytest.fixture(scope="module")
def undisturbed(pw_label: Label) -> orm.WorkChainNode:
    """The label to compare with."""
    return pw_label(silicon(), SILICON)


@pytest.fixture
def script(computer: orm.Computer, tmp_path: Path) -> Callable[[str], orm.InstalledCode]:
    """Function that makes a code of a shell script."""

    def make(text: str) -> orm.InstalledCode:
        path = tmp_path / "pw.sh"
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(0o755)
        return make_code(f"script-{tmp_path.name}", str(path), computer)

    return make


def test_recovery(pw_label: Label, undisturbed: orm.WorkChainNode) -> None:
    """Fails where too few iterations are the end, or the label does not say what was changed."""
    node = pw_label(silicon(), TWO_ITERATIONS)
    assert_same_label(node, undisturbed)
    jobs = calculations(node)
    assert [job.exit_status for job in jobs] == [410, 0]
    changes = QuantumEspressoLabelWorkChain.CONVERGENCE_RECOVERIES[0]
    assert node.outputs.label.base.attributes.get("recovery") == changes
    used = node.outputs.label.creator.inputs.parameters
    assert changes.items() <= used["ELECTRONS"].items()
    assert used["ELECTRONS"]["conv_thr"] == 1e-8
    assert used.creator.process_label == "change_electronic_settings"


def test_recovery_from_an_earlier_density(pw_label: Label, undisturbed: orm.WorkChainNode) -> None:
    """Fails where the recovery goes on from the density that did not lead to the ground state, or hides its change."""
    folder = undisturbed.outputs.remote_folder
    atoms = moved(silicon(), seed=2, amplitude=0.1)
    node = pw_label(atoms, TWO_ITERATIONS, restart_folder=folder)
    assert node.is_finished_ok, node.exit_message
    first, second = calculations(node)
    assert first.exit_status == 410
    assert first.inputs.parent_folder.uuid == folder.uuid
    assert "parent_folder" not in second.inputs
    changes = QuantumEspressoLabelWorkChain.CONVERGENCE_RECOVERIES[0]
    expected = changes | {"starting_density": "atomic"}
    assert node.outputs.label.base.attributes.get("recovery") == expected


def test_never_converges(pw_label: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where it tries for ever, gives up early, or takes the unconverged energy, which pw.x prints, too."""
    ways = ({"electron_maxstep": 2, "mixing_beta": 0.2}, {"electron_maxstep": 3, "diagonalization": "cg"})
    monkeypatch.setattr(QuantumEspressoLabelWorkChain, "CONVERGENCE_RECOVERIES", ways)
    node = pw_label(silicon(), TWO_ITERATIONS)
    assert node.exit_status == CODES.ERROR_NOT_CONVERGED.status
    jobs = calculations(node)
    assert [job.exit_status for job in jobs] == [410, 410, 410]
    assert [job.inputs.parameters["ELECTRONS"]["electron_maxstep"] for job in jobs] == [2, 2, 3]
    assert jobs[0].outputs.output_parameters["energy"] < 0
    assert "label" not in node.outputs


def test_broken_runs(pw_label: Label, script: Callable[[str], orm.InstalledCode]) -> None:
    """Fails where a run that was killed is not tried again, or (with caching) its failure is taken as the answer."""
    with enable_caching():
        node = pw_label(silicon(), SILICON, code=script(BROKEN))
    assert node.exit_status == CODES.ERROR_CALCULATION_FAILED.status
    jobs = calculations(node)
    assert len(jobs) == 2
    assert all(job.exit_status for job in jobs)
    assert f"exit code {jobs[1].exit_status}" in node.exit_message
    assert not any(job.base.caching.is_created_from_cache for job in jobs)
    assert "label" not in node.outputs


def test_broken_run_is_repeated(
    pw_label: Label,
    undisturbed: orm.WorkChainNode,
    script: Callable[[str], orm.InstalledCode],
    tmp_path: Path,
) -> None:
    """Fails where one bad node costs the label."""
    mark = tmp_path / "failed-once"
    code = script(f'if [ -e "{mark}" ]; then exec "{PW}" "$@"; fi\ntouch "{mark}"\n{BROKEN}')
    node = pw_label(silicon(), SILICON, code=code)
    assert_same_label(node, undisturbed)
    assert [bool(job.exit_status) for job in calculations(node)] == [True, False]
    assert node.outputs.label.base.attributes.get("recovery") == {}


def test_missing_restart_folder(
    pw_label: Label,
    undisturbed: orm.WorkChainNode,
    computer: orm.Computer,
    tmp_path: Path,
) -> None:
    """Fails where a folder that was cleaned up, or went with the scratch disk, costs the label."""
    gone = orm.RemoteData(computer=computer, remote_path=str(tmp_path / "gone")).store()
    node = pw_label(silicon(), SILICON, restart_folder=gone)
    assert_same_label(node, undisturbed)


@pytest.mark.parametrize("damage", ["density", "orbitals", "description"])
def test_damaged_restart_folder(
    pw_label: Label,
    undisturbed: orm.WorkChainNode,
    computer: orm.Computer,
    tmp_path: Path,
    damage: str,
) -> None:
    """Fails where a file that was written by half costs the label, or changes it."""
    name = {"density": "charge-density.dat", "orbitals": "wfc1.dat", "description": "data-file-schema.xml"}[damage]
    folder = Path(undisturbed.outputs.remote_folder.get_remote_path()) / "out" / "aiida.save"
    copied = tmp_path / "out" / "aiida.save"
    copied.mkdir(parents=True)
    for path in folder.iterdir():
        content = path.read_bytes()
        (copied / path.name).write_bytes(content[: len(content) // 2] if path.name == name else content)
    damaged = orm.RemoteData(computer=computer, remote_path=str(tmp_path)).store()
    assert_same_label(pw_label(silicon(), SILICON, restart_folder=damaged), undisturbed)

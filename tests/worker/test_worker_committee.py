"""The committee's spread: that of the models asked one by one, zero for equal models, and no part in the proposals."""

import json
import os

import numpy as np
import pytest
from worker_examples import make_model, predict, strained_frames

from aiida_slhmc.analysis.epoch_summary import COMMITTEE_SERIES
from aiida_slhmc.worker import propose
from aiida_slhmc.worker.checkpoint import save_checkpoint
from aiida_slhmc.worker.committee import COMMITTEE_ARRAYS, member_files, spreads
from aiida_slhmc.worker.job import run_worker

N_WALKERS = 3
SPREADS = ("committee_energy_spread", "committee_force_spread")
KERNEL = {"temperature": 300.0, "seed": 3, "jitter": 0.5, "device": "cpu"}
NPT = {"ensemble": "npt", "pressure": 5.0, "cell_degrees_of_freedom": "full", "cell_time_constant": 60.0}
FRAMES, REFERENCE = strained_frames(N_WALKERS, "full", seed=5)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Function: run a job in a folder of its own with these members and return its result and its arrays."""
    # one process, here: torch's autograd does not survive a fork after the tests before
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})

    def run(name, members=(), bound=1.0, **kernel):
        folder = tmp_path / name
        (folder / "committee").mkdir(parents=True)
        np.savez(
            folder / propose.STATES_FILE,
            numbers=FRAMES[0].numbers,
            masses=FRAMES[0].get_masses(),
            positions=np.stack([atoms.positions for atoms in FRAMES]),
            cells=np.stack([atoms.cell.array for atoms in FRAMES]),
            reference_cell=REFERENCE,
        )
        save_checkpoint(make_model(seed=1), folder / propose.MODEL_FILE)
        for number, model in dict(members).items():
            save_checkpoint(model, folder / "committee" / f"member_{number}.safetensors")
        content = {"kernel": KERNEL | {"max_integration_error": bound} | kernel, "epoch": 1, "cycle": 2}
        content["trajectory"] = {"n_steps": 2, "timestep": 1.0}
        (folder / "parameters.json").write_text(json.dumps(content))
        monkeypatch.chdir(folder)
        run_worker(propose._run)
        result = json.loads((folder / "result.json").read_text())
        if result["status"] != "finished":
            return result, {}
        with np.load(folder / propose.PROPOSALS_FILE, allow_pickle=False) as archive:
            return result, dict(archive)

    return run


@pytest.mark.parametrize("kernel", [{}, NPT], ids=["nvt", "npt"])
def test_spread_is_that_of_the_models_asked_one_by_one(job, kernel):
    """NumPy's standard deviation of independent evaluations. Fails where walkers, models or ddof are mixed up."""
    models = [make_model(seed=seed) for seed in (1, 2, 4)]
    _, arrays = job("with", {1: models[1], 2: models[2]}, **kernel)
    for k in range(N_WALKERS):
        atoms = FRAMES[k].copy()
        atoms.set_cell(arrays["cells"][k])
        atoms.positions = arrays["positions"][k]
        answers = [predict(model, atoms) for model in models]
        energy = np.std([answer["energy"] / len(atoms) for answer in answers], ddof=1)
        variance = np.var([answer["forces"] for answer in answers], axis=0, ddof=1)
        assert arrays["committee_energy_spread"][k] == pytest.approx(energy, rel=1e-9)
        assert arrays["committee_force_spread"][k] == pytest.approx(np.sqrt(variance.mean()), rel=1e-9)
    assert arrays["committee_force_spread"].min() > 1e-3
    assert np.ptp(arrays["committee_force_spread"]) > 1e-6, "or walkers could be exchanged unseen"


def test_members_have_no_part_in_the_proposals(job):
    """Without them the file is as it was before there were committees; with them all else is the same to the bit."""
    _, without = job("without")
    assert not [name for name in without if name.startswith("committee")]
    result, with_members = job("with", {1: make_model(seed=2)})
    assert set(with_members) == set(without) | set(SPREADS)
    for name, values in without.items():
        np.testing.assert_array_equal(with_members[name], values)
    assert set(result) == {"status", "message", "seconds", "n_steps", "device", "integration_errors", "divergences"}


def test_equal_models_agree(job):
    """To the bit: members are evaluated as the main model is. The control is the first test."""
    _, arrays = job("equal", {1: make_model(seed=1), 2: make_model(seed=1)})
    for name in SPREADS:
        np.testing.assert_array_equal(arrays[name], 0.0)


def test_diverged_walkers_have_no_spread(job):
    """NaN, and the others' are what they were."""
    members = {1: make_model(seed=2)}
    result, clean = job("clean", members)
    errors = np.abs(result["integration_errors"])
    _, arrays = job("bound", members, bound=float(np.sort(errors)[-2:].mean()))
    guilty = int(errors.argmax())
    assert arrays["diverged"].tolist() == [k == guilty for k in range(N_WALKERS)]
    for name in SPREADS:
        assert np.isnan(arrays[name][guilty])
        others = np.delete(np.arange(N_WALKERS), guilty)
        np.testing.assert_array_equal(arrays[name][others], clean[name][others])
    _, arrays = job("all", members, bound=1e-12)
    assert arrays["diverged"].all()
    assert all(np.isnan(arrays[name]).all() for name in SPREADS)


def test_a_member_that_is_not_finite_spoils_nothing(job, monkeypatch):
    """Fails where a member, which decides nothing, makes the proposals of the main model fail."""
    spoilt = make_model(seed=2)
    with_nan = next(iter(spoilt.parameters()))
    with_nan.data.fill_(np.nan)
    result, arrays = job("spoilt", {1: spoilt})
    assert result["status"] == "finished"
    assert not arrays["diverged"].any()
    assert all(np.isnan(arrays[name]).all() for name in SPREADS)


def test_number_of_processes_does_not_matter(job, monkeypatch):
    """The shares are put together in the members' order; here one after the other, as forks are not safe in tests.

    In real processes: tests/calculations/test_proposal_committee.py.
    """
    members = {number: make_model(seed=number + 1) for number in (1, 2, 3)}
    _, alone = job("alone", members)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    calls = []

    def in_turn(function, jobs):
        calls.append((function.__name__, len(jobs)))
        return propose._here(function, jobs)

    monkeypatch.setattr(propose, "_in_processes", in_turn)
    _, shared = job("shared", members)
    assert calls == [("_batch", 2), ("predict_members", 2)]
    for name, values in alone.items():
        np.testing.assert_array_equal(shared[name], values)


@pytest.mark.parametrize("broken", ["model.safetensors", "committee/member_1.safetensors"])
def test_a_file_that_is_no_checkpoint(job, tmp_path, monkeypatch, broken):
    """A status with the file's name, and not a traceback."""
    save = save_checkpoint

    def cut(model, path):
        save(model, path)
        if str(path).endswith(broken):
            path.write_bytes(path.read_bytes()[:-8])

    monkeypatch.setitem(globals(), "save_checkpoint", cut)
    result, _ = job("cut", {1: make_model(seed=2)})
    assert result["status"] == "invalid_input"
    assert result["message"].startswith(f"{broken.split('/')[-1]}: truncated checkpoint")


def test_a_member_without_an_element(job):
    result, _ = job("foreign", {1: make_model(seed=2, numbers=(8, 14))})
    assert result["status"] == "missing_element"
    assert "member_1.safetensors" in result["message"]
    assert "[22]" in result["message"]


def test_order_of_members(tmp_path):
    """Fails where member 10 comes before member 2."""
    (tmp_path / "committee").mkdir()
    for number in (10, 2, 1):
        (tmp_path / "committee" / f"member_{number}.safetensors").touch()
    assert [path.stem for path in member_files(tmp_path)] == ["member_1", "member_2", "member_10"]
    assert member_files(tmp_path / "committee") == []


def test_names_are_those_of_the_analysis():
    """Which may import nothing of the worker, and so has its own."""
    assert COMMITTEE_ARRAYS == COMMITTEE_SERIES


def test_spreads_by_hand():
    """Two models: |difference| / √2; and an offset of 10⁶ eV takes no digits away."""
    energies = np.array([[1e6 + 1.0, 0.0], [1e6 + 3.0, 0.0]])
    forces = np.zeros((2, 2, 2, 3))
    forces[1, 0] = 0.5
    energy, force = spreads(energies, forces)
    np.testing.assert_allclose(energy, [2 / np.sqrt(2), 0.0])
    np.testing.assert_allclose(force, [0.5 / np.sqrt(2), 0.0])
    energy, force = spreads(np.array([[1.0], [np.inf]]), np.full((2, 1, 2, 3), np.nan))
    assert np.isnan(energy).all()
    assert np.isnan(force).all()

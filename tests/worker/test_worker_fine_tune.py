"""The program that a job runs: its files, its statuses, its reproducibility."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ase.io import read
from worker_examples import label, make_model, rutile_frames, write_block, write_parameters

import aiida_slhmc.worker
from aiida_slhmc.worker import fine_tune
from aiida_slhmc.worker.checkpoint import load_checkpoint, save_checkpoint
from aiida_slhmc.worker.checkpoint_header import read_metadata
from aiida_slhmc.worker.dataset import frame_graphs, joined, read_block, split_blocks
from aiida_slhmc.worker.evaluation import evaluate, make_batches, make_loss
from aiida_slhmc.worker.fine_tune_job import Job
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.training import CURVE, TrainingResult


def sha256(folder):
    return read_metadata(folder / "trained.safetensors")["sha256"]


def test_files_and_metrics(job, capsys):
    write_parameters(job, max_epochs=3)
    assert fine_tune.main([str(job)]) == 0
    metrics = json.loads((job / "metrics.json").read_text())
    assert (metrics["status"], metrics["stop_reason"]) == ("finished", "max_epochs")
    assert (metrics["n_training"], metrics["n_validation"], metrics["n_epochs"]) == (10, 2, 3)
    assert tuple(metrics["curve"]) == CURVE
    assert {len(column) for column in metrics["curve"].values()} == {3}
    assert set(metrics["versions"]) == {"mace", "torch", "numpy"}
    assert metrics["device"] == "cpu"
    assert metrics["seconds"] > 0
    assert (metrics["references"]["method"], metrics["references"]["rank"]) == ("shift", 1)
    assert "rank 1" in metrics["references"]["warning"]
    assert metrics["parameters"]["forces_weight"] == 100.0
    before, after = metrics["initial"]["validation"], metrics["final"]["validation"]
    assert after["loss"] == pytest.approx(metrics["curve"]["validation_loss"][metrics["best_epoch"] - 1], rel=1e-9)
    assert after["force_rmse_mev_per_angstrom"] < before["force_rmse_mev_per_angstrom"]
    assert after["stress_rmse_gpa"] > 0  # reported, though the loss has no stress
    assert capsys.readouterr().out.count("\nepoch ") == 3
    assert not list(job.glob("*.part"))


def test_metrics_are_those_of_the_saved_model(job):
    write_parameters(job, max_epochs=2)
    metrics = fine_tune.run(job)
    model = load_checkpoint(job / "trained.safetensors")
    blocks = [read_block(job / "datasets" / f"block_00{index}.extxyz", ["O", "Ti"]) for index in (0, 1)]
    frames = joined(split_blocks(blocks, 0.1))
    assert metrics["validation"] == [frame.name for frame in frames.validation]
    batches = make_batches(frame_graphs(frames.validation, model), 4, torch.device("cpu"))
    errors = evaluate(model, batches, make_loss(FineTuneParameters()), stress=True)
    for name, value in metrics["final"]["validation"].items():
        assert getattr(errors, name) == pytest.approx(value, rel=1e-9), name


def test_same_input_gives_bitwise_the_same_model_whatever_the_uuids(job, tmp_path_factory):
    write_parameters(job, max_epochs=2)
    other = tmp_path_factory.mktemp("other") / "job"
    subprocess.run(["cp", "-r", str(job), str(other)], check=True)
    uuids = []
    for path in sorted((other / "datasets").iterdir()):
        images = read(path, ":")
        for index, image in enumerate(images):
            image.info["uuid"] = f"{len(uuids):08d}-0000-4000-8000-{index:012d}"
            uuids.append(image.info["uuid"])
        write_block(path, images)
    for folder in (job, other):
        command = [sys.executable, "-W", "ignore", "-m", "aiida_slhmc.worker.run_fine_tune"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert sha256(job) == sha256(other) != read_metadata(job / "model.safetensors")["sha256"]
    validation = json.loads((other / "metrics.json").read_text())["validation"]
    assert len(validation) == 2
    assert set(validation) <= set(uuids)
    write_parameters(job, max_epochs=2, seed=1)  # negative control: another order of the batches shows
    fine_tune.run(job)
    assert sha256(job) != sha256(other)


@pytest.mark.parametrize("reason", ["early_stopping", "no_improvement", "walltime", "diverged"])
def test_status_of_each_stop_reason(job, monkeypatch, reason):
    curve = {name: [] for name in CURVE}
    monkeypatch.setattr(fine_tune, "train", lambda *_, **__: TrainingResult(reason, 0, curve))
    write_parameters(job, references={"method": "keep"})
    metrics = fine_tune.run(job)
    assert metrics["stop_reason"] == reason
    assert metrics["status"] == ("finished" if reason == "early_stopping" else reason)
    assert metrics["final"] == metrics["initial"]
    assert (job / "trained.safetensors").exists()


def test_new_references_alone_are_a_gain(job, monkeypatch):
    """Fails where an update that only brings the target's energies is thrown away; with `keep`, above, it is."""
    curve = {name: [] for name in CURVE}
    monkeypatch.setattr(fine_tune, "train", lambda *_, **__: TrainingResult("no_improvement", 0, curve))
    write_parameters(job, references={"method": "shift"})
    metrics = fine_tune.run(job)
    assert (metrics["status"], metrics["stop_reason"]) == ("finished", "no_improvement")
    assert metrics["references"]["method"] == "shift"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
    ],
)
def test_out_of_memory(job, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(fine_tune, "train", fail)
    write_parameters(job)
    assert fine_tune.main([str(job)]) == 1
    metrics = json.loads((job / "metrics.json").read_text())
    assert metrics["status"] == "out_of_memory"
    assert metrics["message"]
    assert not (job / "trained.safetensors").exists()


def test_other_errors_are_not_hidden(job, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(fine_tune, "train", fail)
    write_parameters(job)
    with pytest.raises(RuntimeError, match="a bug"):
        fine_tune.run(job)
    assert not (job / "metrics.json").exists()


def test_walltime_of_a_job(job):
    write_parameters(job, walltime_seconds=0.001)
    metrics = fine_tune.run(job)
    assert (metrics["status"], metrics["best_epoch"], metrics["n_epochs"]) == ("walltime", 0, 0)
    assert (job / "trained.safetensors").exists()


def invalid(job):
    """Run a job that must be refused; return what it says."""
    assert fine_tune.main([str(job)]) == 1
    metrics = json.loads((job / "metrics.json").read_text())
    assert metrics["status"] == "invalid_input"
    return metrics["message"]


def test_invalid_options(job):
    assert "parameters.json is missing" in invalid(job)
    (job / "parameters.json").write_text("{")
    assert "not JSON" in invalid(job)
    (job / "parameters.json").write_text("[]")
    assert "JSON object" in invalid(job)
    write_parameters(job, learning_rte=0.1)
    assert "did you mean 'learning_rate'?" in invalid(job)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_no_gpu(job):
    write_parameters(job, device="cuda")
    assert "no GPU" in invalid(job)


def test_invalid_model(job):
    write_parameters(job)
    whole = (job / "model.safetensors").read_bytes()
    (job / "model.safetensors").write_bytes(whole[:-1])
    assert "truncated checkpoint" in invalid(job)
    (job / "model.safetensors").unlink()
    assert "model.safetensors is missing" in invalid(job)
    save_checkpoint(make_model(heads=("a", "b")), job / "model.safetensors")
    assert "2 heads" in invalid(job)


def test_invalid_data(job, teacher):
    write_parameters(job)
    (job / "datasets" / "block_002.extxyz").write_text("nonsense")
    assert "block_002.extxyz" in invalid(job)
    for path in (job / "datasets").iterdir():
        path.unlink()
    assert "0 frames would train" in invalid(job)


def test_stress_loss_needs_stress_labels(job, teacher):
    for path in (job / "datasets").iterdir():
        images = read(path, ":")
        for image in images:
            del image.calc.results["stress"]
        write_block(path, images)
    for loss in ("energy_forces_stress", "universal", "huber"):
        write_parameters(job, loss=loss)
        assert "12 of 12 frames have none" in invalid(job)
    write_block(job / "datasets" / "block_002.extxyz", [label(atoms, teacher) for atoms in rutile_frames(2, seed=4)])
    assert "12 of 14 frames have none" in invalid(job)  # huber: MACE's would train on stress zero
    write_parameters(job, loss="energy_forces_stress", max_epochs=1)
    assert fine_tune.run(job)["status"] == "finished"


def test_the_worker_never_imports_aiida():
    for path in Path(aiida_slhmc.worker.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "aiida"], path.name


def test_references_are_fitted_once_per_functional(job):
    """The second update towards a functional keeps the references of the first; another functional fits anew."""

    def update(functional, **references):
        for path in (job / "datasets").glob("*.extxyz"):
            frames = read(path, index=":")
            for atoms in frames:
                atoms.info["functional"] = functional
            write_block(path, frames)
        write_parameters(job, max_epochs=1, references={"method": "shift", **references})
        result = fine_tune.run(job)["references"]
        (job / "trained.safetensors").rename(job / "model.safetensors")
        return result

    first = update("pbe")
    assert first["method"] == "shift"
    second = update("pbe")
    assert (second["method"], second["table"]) == ("keep", first["table"])
    assert read_metadata(job / "model.safetensors")["references_of"] == "pbe"
    # negative controls: asked to fit again, or another functional, it does
    assert update("pbe", refit=True)["method"] == "shift"
    assert update("hse06")["method"] == "shift"
    assert read_metadata(job / "model.safetensors")["references_of"] == "hse06"


def with_folder(job, name, frames, file="a.extxyz"):
    (job / name).mkdir(exist_ok=True)
    write_block(job / name / file, frames)


def test_probes_are_evaluated_only_and_the_checkpoint_says_how_it_did(job, teacher, model):
    write_parameters(job, max_epochs=2)
    fine_tune.run(job)
    without = sha256(job)
    upstream = [label(atoms, model) for atoms in rutile_frames(4, seed=9)]
    with_folder(job, "probes", upstream, "foundation.extxyz")
    with_folder(job, "probes", [label(atoms, teacher) for atoms in rutile_frames(4, seed=9)], "target.extxyz")
    metrics = fine_tune.run(job)
    assert sha256(job) == without
    probes = metrics["probes"]
    assert probes["foundation"]["parent"]["force_rmse_mev_per_angstrom"] < 1e-4  # digits of the file
    assert probes["foundation"]["final"]["force_rmse_mev_per_angstrom"] > 1  # what was forgotten
    before, after = (probes["target"][key]["force_rmse_mev_per_angstrom"] for key in ("parent", "final"))
    assert after < before  # what was gained
    header = json.loads(read_metadata(job / "trained.safetensors")["errors"])
    assert header["probes"]["foundation"] == probes["foundation"]["final"]
    assert header["validation"] == metrics["final"]["validation"]
    # the offset of other energy references is no forgetting of the differences
    final = probes["foundation"]["final"]
    assert 0 < final["energy_offset_removed_rmse_mev_per_atom"] <= final["energy_rmse_mev_per_atom"]


def test_replay_through_the_folder(job, model):
    """The energies of upstream configurations follow the model's references, also in later updates."""
    upstream = [label(atoms, model) for atoms in rutile_frames(8, seed=9)]
    forgotten = {}
    for weight in (None, 10.0):
        if weight:
            with_folder(job, "replay", upstream[:6])
        with_folder(job, "probes", upstream[6:], "foundation.extxyz")
        write_parameters(job, max_epochs=3, replay={"weight": weight or 1.0})
        forgotten[weight] = fine_tune.run(job)["probes"]["foundation"]["final"]
    for error in ("force_rmse_mev_per_angstrom", "energy_offset_removed_rmse_mev_per_atom"):
        assert forgotten[10.0][error] < 0.7 * forgotten[None][error]
    foundation = read_metadata(job / "model.safetensors")["atomic_energies"]
    assert json.loads(read_metadata(job / "trained.safetensors")["foundation_references"]) == foundation
    (job / "trained.safetensors").rename(job / "model.safetensors")
    write_parameters(job, max_epochs=1)
    assert fine_tune.run(job)["status"] in fine_tune.WITH_MODEL
    assert json.loads(read_metadata(job / "trained.safetensors")["foundation_references"]) == foundation


def test_replay_for_a_model_of_unknown_foundation(job, model):
    save_checkpoint(model, job / "model.safetensors", extra={"references_of": "pbe"})
    with_folder(job, "replay", [label(atoms, model) for atoms in rutile_frames(2, seed=9)])
    write_parameters(job)
    assert "did not record them" in invalid(job)
    write_block(job / "replay" / "a.extxyz", [label(atoms, model) for atoms in rutile_frames(1, seed=9)])
    assert "replay: " in invalid(job)


def test_selection_through_the_folder(job, teacher):
    write_block(job / "datasets" / "block_002.extxyz", [label(atoms, teacher) for atoms in rutile_frames(4, seed=4)])
    write_parameters(job, max_epochs=1, selection={"method": "window", "size": 5})
    metrics = fine_tune.run(job)
    assert (metrics["n_training"], metrics["n_validation"]) == (5 + 3, 1 + 1)
    assert metrics["selection"] == {"n_training_all": 13, "n_validation_all": 3}


def test_gate(job, monkeypatch):
    """Only what is worse than the parent by more than the factor is refused."""

    def spoil(model, *_, **__):
        with torch.no_grad():
            model.scale_shift.scale *= 3.0
        return TrainingResult("max_epochs", 1, {name: [1.0] for name in CURVE})

    monkeypatch.setattr(fine_tune, "train", spoil)
    write_parameters(job)
    refused = fine_tune.run(job)
    ratio = refused["gate"]["ratios"]["force_rmse_mev_per_angstrom"]
    assert (refused["status"], refused["gate"]["factor"], ratio > 1.5) == ("worse_than_parent", 1.5, True)
    assert "times the parent's" in refused["message"]
    assert (job / "trained.safetensors").exists()  # on record, though not used
    for options in ({"gate_factor": None}, {"gate_factor": 1e6}, {"from_scratch": True}):
        write_parameters(job, **options)
        assert fine_tune.run(job)["status"] == "finished", options


def test_gate_refuses_what_is_not_finite(job, monkeypatch):
    def spoil(model, *_, **__):
        with torch.no_grad():
            model.scale_shift.scale *= float("nan")
        return TrainingResult("max_epochs", 1, {name: [1.0] for name in CURVE})

    monkeypatch.setattr(fine_tune, "train", spoil)
    write_parameters(job, gate_factor=None)
    metrics = fine_tune.run(job)
    assert (metrics["status"], "not finite" in metrics["message"]) == ("worse_than_parent", True)
    assert json.loads((job / "metrics.json").read_text())["final"]["validation"]["loss"] is None


@pytest.mark.parametrize(
    ("options", "again"),
    [
        ({"references": {"method": "keep"}}, []),
        ({"references": {"method": "shift"}}, ["validation"]),
        ({"references": {"method": "keep"}, "from_scratch": True}, ["validation"]),
    ],
)
def test_the_parent_is_evaluated_once(job, monkeypatch, options, again):
    """Fails where a model is evaluated twice, or another one passes for the parent."""
    evaluated, errors = [], Job.errors
    monkeypatch.setattr(Job, "errors", lambda self, name: evaluated.append(name) or errors(self, name))
    curve = {name: [] for name in CURVE}
    monkeypatch.setattr(fine_tune, "train", lambda *_, **__: TrainingResult("max_epochs", 0, curve))
    write_parameters(job, gate_factor=None, **options)
    metrics = fine_tune.run(job)
    assert evaluated == ["validation", "training", *again, "training", "validation"]
    assert (metrics["initial"]["validation"] == metrics["parent"]) == (not again)


def test_from_scratch(job, model):
    write_parameters(job, max_epochs=2, from_scratch=True, seed=3)
    fine_tune.run(job)
    scratch = sha256(job)
    save_checkpoint(make_model(seed=2), job / "model.safetensors")  # same architecture, other weights
    model_references = read_metadata(job / "model.safetensors")["atomic_energies"]
    metrics = fine_tune.run(job)
    assert metrics["status"] == "finished"
    assert metrics["references"]["table"] != model_references
    write_parameters(job, max_epochs=2, seed=3)
    fine_tune.run(job)
    assert sha256(job) != scratch

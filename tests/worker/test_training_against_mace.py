"""The loop against ``mace_run_train``, an independent implementation: same start, data and settings."""

import json

import numpy as np
import pytest
import torch
from ase.io import write
from mace import tools
from mace.cli.run_train import run as mace_run_train
from worker_examples import write_block

from aiida_slhmc.worker.checkpoint import load_checkpoint, save_checkpoint
from aiida_slhmc.worker.dataset import frame_graphs, read_block
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.training import train

EPOCHS, N_TRAINING, N_VALIDATION = 6, 5, 3
# one full batch, so that the order cannot matter; the clip is out of reach, since MACE's norm counts a gradient that
# belongs to no trained parameter (defect 7)
SETTINGS = {"lr": 0.004, "weight_decay": 1e-3, "clip_grad": 1e9, "energy_weight": 2.0, "forces_weight": 50.0}


def write_for_mace(path, frames):
    """The frames under the keys that MACE's command reads."""
    images = []
    for frame in frames:
        atoms = frame.atoms.copy()
        atoms.info["REF_energy"] = frame.energy
        atoms.info["REF_stress"] = frame.stress
        atoms.arrays["REF_forces"] = frame.forces
        images.append(atoms)
    write(path, images, format="extxyz")


def run_mace(folder, loss):
    """Train with MACE's command; return the weights of its last epoch and its validation errors per epoch."""
    options = {
        **SETTINGS,
        "name": "reference",
        "work_dir": folder,
        "train_file": folder / "train.xyz",
        "valid_file": folder / "valid.xyz",
        "foundation_model": folder / "start.model",
        "multiheads_finetuning": "False",
        "E0s": "foundation",
        "loss": loss,
        "stress_weight": 30.0,
        "batch_size": N_TRAINING,
        "valid_batch_size": N_VALIDATION,
        "scheduler": "ReduceLROnPlateau",
        "lr_factor": 0.8,
        "scheduler_patience": 1,
        "max_num_epochs": EPOCHS,
        "default_dtype": "float64",
        "device": "cpu",
        "seed": 1,
        "num_workers": 0,
        "plot": "False",
    }
    arguments = [f"--{key}={value}" for key, value in options.items()]
    mace_run_train(tools.build_default_arg_parser().parse_args([*arguments, "--amsgrad", "--save_all_checkpoints"]))
    checkpoint = folder / "checkpoints" / f"reference_run-1_epoch-{EPOCHS - 1}.pt"
    weights = torch.load(checkpoint, map_location="cpu", weights_only=False)["model"]
    lines = (folder / "results" / "reference_run-1_train.txt").read_text().splitlines()
    evaluations = [entry for entry in map(json.loads, lines) if entry["mode"] == "eval" and entry["epoch"] is not None]
    return weights, evaluations


@pytest.mark.parametrize(("ours", "theirs"), [("energy_forces", "weighted"), ("energy_forces_stress", "stress")])
def test_same_weights_and_errors(tmp_path, labelled, model, ours, theirs):
    write_block(tmp_path / "block.extxyz", labelled[: N_TRAINING + N_VALIDATION])
    frames = read_block(tmp_path / "block.extxyz", ["O", "Ti"])
    write_for_mace(tmp_path / "train.xyz", frames[:N_TRAINING])
    write_for_mace(tmp_path / "valid.xyz", frames[N_TRAINING:])
    save_checkpoint(model, tmp_path / "start.safetensors")
    torch.save(model, tmp_path / "start.model")
    weights, evaluations = run_mace(tmp_path, theirs)

    torch.set_default_dtype(torch.float64)
    trained = load_checkpoint(tmp_path / "start.safetensors")
    parameters = FineTuneParameters(
        max_epochs=EPOCHS,
        learning_rate=SETTINGS["lr"],
        weight_decay=SETTINGS["weight_decay"],
        clip_gradient=SETTINGS["clip_grad"],
        energy_weight=SETTINGS["energy_weight"],
        forces_weight=SETTINGS["forces_weight"],
        stress_weight=30.0,
        loss=ours,
        batch_size=N_TRAINING,
        scheduler_patience=1,
    )
    start = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    training, validation = (frame_graphs(part, trained) for part in (frames[:N_TRAINING], frames[N_TRAINING:]))
    result = train(trained, training, validation, parameters)

    assert result.best_epoch == EPOCHS  # the last epoch is the best here, so both sides hold the last weights
    assert result.curve["energy_rmse_mev_per_atom"] == pytest.approx(
        [1000 * entry["rmse_e_per_atom"] for entry in evaluations], rel=1e-6
    )
    assert result.curve["force_rmse_mev_per_angstrom"] == pytest.approx(
        [1000 * entry["rmse_f"] for entry in evaluations], rel=1e-6
    )
    # MACE divides the mean loss of its only validation batch by the number of configurations
    assert result.curve["validation_loss"] == pytest.approx(
        [N_VALIDATION * entry["loss"] for entry in evaluations], rel=1e-6
    )
    moved = 0.0
    for name, tensor in trained.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), weights[name].numpy(), rtol=0, atol=1e-8, err_msg=name)
        if tensor.is_floating_point() and tensor.numel():
            moved = max(moved, float((tensor - start[name]).abs().max()))
    assert moved > 1e-2  # negative control: the weights that agree to 1e-8 are not the ones both started from

"""Make the demo's foundation model: a small MACE trained on the Matsui–Akaogi potential of TiO₂.

The demo fine-tunes this model to another "functional" (a refitted variant of the potential), so the
model has to be right for the original one and wrong for the variant. Steps: molecular dynamics of
48-atom rutile with LAMMPS at 300 K and 600 K, energies, forces and stress of the frames, training from scratch with
MACE's own command, conversion to a checkpoint that loads without unpickling.

    python examples/foundation/train_foundation.py build/foundation

takes about an hour on one core and writes ``foundation.safetensors`` there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from ase.spacegroup import crystal

from aiida_slhmc.standin.potential import SPECIES, VARIANTS, evaluate, md_frames
from aiida_slhmc.worker.import_model import import_mace_model

POTENTIAL = VARIANTS["matsui_akaogi"]
# name, temperature in K, LAMMPS ensemble, number of frames
TRAJECTORIES = (("nvt_300", 300, "nvt", 60), ("npt_300", 300, "npt", 40), ("npt_600", 600, "npt", 40))
STEPS_PER_FRAME = 100
MACE_SETTINGS = {
    "name": "foundation",
    "model": "ScaleShiftMACE",
    "hidden_irreps": "16x0e",
    "max_ell": 2,
    "correlation": 2,
    "num_interactions": 2,
    "r_max": 5.0,
    "E0s": "average",
    "loss": "stress",
    "energy_weight": 1,
    "forces_weight": 100,
    "stress_weight": 100,
    "energy_key": "REF_energy",
    "forces_key": "REF_forces",
    "stress_key": "REF_stress",
    "batch_size": 4,
    "valid_batch_size": 8,
    "lr": 0.01,
    "scheduler": "ExponentialLR",
    "lr_scheduler_gamma": 0.985,
    "max_num_epochs": 100,
    "eval_interval": 5,
    "default_dtype": "float64",
    "device": "cpu",
    "seed": 1,
}


def rutile() -> Atoms:
    """48-atom rutile TiO₂ in the experimental cell at 300 K (Howard et al., Acta Cryst. B 47, 462 (1991))."""
    a, c, u = 4.594, 2.959, 0.305
    unit = crystal(SPECIES, [(0, 0, 0), (u, u, 0)], spacegroup=136, cellpar=[a, a, c, 90, 90, 90])
    cell = unit * (2, 2, 2)
    return cell[np.argsort(cell.numbers == 8, kind="stable")]


def trajectory(folder: Path, temperature: int, ensemble: str, n_frames: int) -> list[Atoms]:
    """Frames of a LAMMPS run of *n_frames* × 100 fs after 2 ps of equilibration."""
    return md_frames(
        rutile(),
        POTENTIAL,
        folder,
        temperature=temperature,
        n_frames=n_frames,
        steps_per_frame=STEPS_PER_FRAME,
        ensemble=ensemble,
    )


def labelled(atoms: Atoms) -> Atoms:
    """A copy that carries the potential's energy, forces and stress under the names MACE trains on."""
    atoms = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell.array, pbc=True)
    values = evaluate(atoms, POTENTIAL)
    atoms.info |= {"REF_energy": values.energy, "REF_stress": values.stress}
    atoms.arrays["REF_forces"] = values.forces
    return atoms


def make_data(folder: Path) -> None:
    """Write train.extxyz and valid.extxyz: every tenth frame validates."""
    frames = [
        labelled(atoms)
        for name, temperature, ensemble, n_frames in TRAJECTORIES
        for atoms in trajectory(folder / name, temperature, ensemble, n_frames)
    ]
    write(folder / "valid.extxyz", frames[::10])
    write(folder / "train.extxyz", [atoms for i, atoms in enumerate(frames) if i % 10])


def train(folder: Path) -> Path:
    """Train from scratch with MACE's command; returns its ``.model`` file."""
    settings = MACE_SETTINGS | {"train_file": "train.extxyz", "valid_file": "valid.extxyz"}
    command = [str(Path(sys.executable).parent / "mace_run_train")]
    command += [f"--{key}={value}" for key, value in settings.items()]
    threads = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "20000000000"}
    threads |= {"MALLOC_TRIM_THRESHOLD_": "20000000000", "MALLOC_TOP_PAD_": "268435456"}
    subprocess.run(command, cwd=folder, env=os.environ | threads, check=True)
    return folder / "foundation.model"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to work; foundation.safetensors is left there")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    make_data(folder)
    import_mace_model(train(folder), folder / "foundation.safetensors")


if __name__ == "__main__":
    main()

"""Small models and labelled cells for the worker's tests."""

import copy
import json

import mace  # noqa: F401
import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.spacegroup import crystal
from e3nn import o3
from mace import modules
from scipy.linalg import expm

from aiida_slhmc.kernel.strain import STRAIN_BASES
from aiida_slhmc.worker.checkpoint import default_dtype
from aiida_slhmc.worker.dataset import Frame, make_graph
from aiida_slhmc.worker.evaluation import make_batches
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters

FORMULA_SEED = 3
RESIDUAL = "RealAgnosticResidualInteractionBlock"


_MODELS: dict[str, torch.nn.Module] = {}


def make_model(seed: int = 0, **options):
    """A MACE model with 8 channels and random weights, in evaluation mode.

    A copy of one built before where there is one: e3nn takes a second to build a model, a tenth to copy it.
    """
    key = repr((seed, sorted(options.items())))
    if key not in _MODELS:
        _MODELS[key] = _build(seed, **options)
    return copy.deepcopy(_MODELS[key])


def _build(seed, *, numbers=(8, 22), heads=("Default",), first=RESIDUAL, other=RESIDUAL, **options):
    n_heads = len(heads)
    settings = {
        "r_max": 3.5,
        "num_bessel": 6,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        "interaction_cls_first": modules.interaction_classes[first],
        "interaction_cls": modules.interaction_classes[other],
        "num_interactions": 2,
        "num_elements": len(numbers),
        "hidden_irreps": o3.Irreps(options.pop("hidden", "8x0e")),
        "MLP_irreps": o3.Irreps("4x0e"),
        "atomic_energies": np.random.default_rng(seed).normal(-5, 1, (n_heads, len(numbers))),
        "avg_num_neighbors": 9.3,
        "atomic_numbers": list(numbers),
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "atomic_inter_scale": np.linspace(0.9, 1.2, n_heads),
        "atomic_inter_shift": np.linspace(0.1, 0.3, n_heads),
        "radial_MLP": [16, 16],
        "heads": list(heads),
        **options,
    }
    with default_dtype(torch.float64), torch.random.fork_rng():
        torch.manual_seed(seed)
        return modules.ScaleShiftMACE(**settings).eval()


def rutile_frames(n: int, seed: int = 0, amplitude: float = 0.08) -> list[Atoms]:
    """Distorted and strained 6-atom rutile cells, Ti2O4."""
    generator = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = crystal(
            ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.97, 90, 90, 90]
        )
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + generator.normal(0, 0.01, (3, 3))), scale_atoms=True)
        atoms.positions += generator.normal(0, amplitude, (6, 3))
        frames.append(Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell.array, pbc=True))
    return frames


def strained_frames(n: int, mode: str, seed: int = 0, amplitude: float = 0.03) -> tuple[list[Atoms], np.ndarray]:
    """Cells strained from one triclinic reference cell with the cell degrees of freedom *mode*, and the reference."""
    reference = rutile_frames(1, seed=seed, amplitude=0.0)[0]
    generator = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        components = generator.normal(0, 0.01, len(STRAIN_BASES[mode]))
        atoms = reference.copy()
        atoms.set_cell(atoms.cell.array @ expm(np.tensordot(components, STRAIN_BASES[mode], 1)), scale_atoms=True)
        atoms.positions += generator.normal(0, amplitude, (len(atoms), 3))
        frames.append(atoms)
    return frames, reference.cell.array


def predict(model, atoms: Atoms, head: str | None = None) -> dict[str, np.ndarray]:
    """Energy (eV), forces (eV/Å) and stress (eV/Å³) of a model."""
    batch = make_batches([make_graph(atoms, model, head=head)], 1, torch.device("cpu"))[0]
    output = model(batch.to_dict(), compute_stress=True)
    return {name: output[name].detach().numpy().squeeze() for name in ("energy", "forces", "stress")}


def label(atoms: Atoms, model) -> Atoms:
    """A copy that carries a model's energy, forces and stress."""
    labels = predict(model, atoms)
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(
        atoms, energy=float(labels["energy"]), forces=labels["forces"], stress=labels["stress"]
    )
    return atoms


def to_frame(atoms: Atoms) -> Frame:
    """The same as a frame of the data set."""
    results = atoms.calc.results
    return Frame(atoms, results["energy"], results["forces"], results["stress"].reshape(3, 3), None)


def write_block(path, frames: list[Atoms]) -> None:
    """Write labelled frames as extended XYZ with 16 digits."""
    write(path, frames, format="extxyz")


def parameters(**options) -> FineTuneParameters:
    """Options for quick trainings."""
    return FineTuneParameters.from_dict({"max_epochs": 5, "batch_size": 4, "learning_rate": 0.005, **options})


def write_parameters(folder, **options) -> None:
    """Write parameters.json of a job."""
    (folder / "parameters.json").write_text(json.dumps({"max_epochs": 3, "batch_size": 4, **options}))

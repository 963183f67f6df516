"""A MACE model as the function of positions that the kernel integrates."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from ase import Atoms
from mace.tools.torch_geometric.batch import Batch
from numpy.typing import NDArray

from aiida_slhmc.worker.dataset import make_graph

Array = NDArray[np.float64]

__all__ = ("MacePotential",)


class MacePotential:
    """Energies and forces of a batch of walkers that share species, each with its own cell.

    One call is one forward and one backward pass for the whole batch; neighbour lists are made anew each time, so
    that the function depends on nothing but its argument (skins save 3 % at most).
    """

    def __init__(self, model: torch.nn.Module, numbers: NDArray[np.int64], cells: Array) -> None:
        """Take a float64 *model* in evaluation mode.

        :param numbers: (n_atoms,) atomic numbers.
        :param cells: (n_walkers, 3, 3) cell vectors as rows in Å.
        :raises ValueError: if the model lacks an element.
        """
        known = [int(number) for number in cast(torch.Tensor, model.atomic_numbers)]
        missing = sorted(set(numbers.tolist()) - set(known))
        if missing:
            raise ValueError(f"the model does not know the elements with atomic numbers {missing}")
        self.model = model
        self.numbers = numbers
        self.cells = cells
        self._device = next(model.parameters()).device

    def __call__(self, positions: Array) -> tuple[Array, Array]:
        """Energies (n_walkers,) in eV and forces (n_walkers, n_atoms, 3) in eV/Å.

        :param positions: (n_walkers, n_atoms, 3) in Å; need not be wrapped into the cell.
        """
        images = [
            Atoms(numbers=self.numbers, positions=walker, cell=cell, pbc=True)
            for walker, cell in zip(positions, self.cells, strict=True)
        ]
        graphs = [make_graph(atoms, self.model) for atoms in images]
        batch = Batch.from_data_list(graphs).to(self._device)
        output = self.model(batch.to_dict(), compute_force=True, compute_stress=False)
        energies = output["energy"].detach().cpu().numpy()
        return energies, output["forces"].detach().cpu().numpy().reshape(positions.shape)

    def warm_up(self, positions: Array) -> None:
        """Two throw-away calls: TorchScript optimises in the first ones, whose last bits differ from later calls'."""
        for _ in range(2):
            self(positions)

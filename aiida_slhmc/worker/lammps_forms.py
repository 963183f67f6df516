"""The two forms in which LAMMPS runs a MACE model: how they are made, and what they say of a configuration.

``pair_style mace`` takes a TorchScript file, ``pair_style mliap unified`` a pickle of a Python object. Both are MACE's
own classes; here they are built from a model of plain e3nn operations and evaluated without LAMMPS, to compare them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase import Atoms
from mace.calculators import LAMMPS_MACE
from mace.calculators.lammps_mliap_mace import LAMMPS_MLIAP_MACE
from numpy.typing import NDArray

from aiida_slhmc.worker.comparison import joined, make_dictionary

__all__ = ("evaluate_libtorch", "evaluate_mliap", "make_libtorch", "make_mliap")

Array = NDArray[np.float64]


def make_libtorch(model: Any, head: str) -> torch.jit.ScriptModule:
    """The compiled form for ``pair_style mace``; the *model*'s parameters no longer require gradients afterwards."""
    from e3nn.util import jit

    return jit.compile(LAMMPS_MACE(model, head=head))


def make_mliap(model: Any, head: str) -> LAMMPS_MLIAP_MACE:
    """The object for ``pair_style mliap unified``; the *model*'s parameters no longer require gradients afterwards."""
    model.lammps_mliap = True
    return LAMMPS_MLIAP_MACE(model, head=head)


def evaluate_libtorch(form: torch.jit.ScriptModule, atoms: Atoms, model: Any, dtype: torch.dtype) -> Array:
    """Energy (eV) and forces (eV/Å) in one array: periodic bonds instead of LAMMPS' ghost atoms, all atoms local.

    :param model: the model that it was made of, for its cutoff and elements
    """
    data = make_dictionary(atoms, model, dtype)
    tensors = {name: value for name, value in data.items() if isinstance(value, torch.Tensor)}
    output = form(tensors, torch.ones(len(atoms), dtype=dtype))
    return joined(output["total_energy_local"], output["forces"])


def evaluate_mliap(form: Any, atoms: Atoms, model: Any, dtype: torch.dtype) -> Array:
    """Energy (eV) and forces (eV/Å) in one array, with periodic pairs instead of LAMMPS' ghost atoms.

    :param model: the model that it was made of, for its cutoff and elements
    """
    data = _Pairs(make_dictionary(atoms, model, dtype))
    form.compute_forces(data)
    return joined(torch.tensor(data.energy), data.forces)


class _Pairs:
    """What LAMMPS hands to an ML-IAP model, for a cell in which no atom is a ghost."""

    def __init__(self, graph: dict[str, Any]) -> None:
        senders, receivers = graph["edge_index"]
        positions = graph["positions"].detach().double()
        self.nlocal = self.ntotal = len(positions)
        self.npairs = len(senders)
        self.elems = graph["node_attrs"].argmax(dim=1)
        self.pair_i, self.pair_j = receivers, senders
        # LAMMPS' sign: from i to j
        self.rij = positions[senders] - positions[receivers] - graph["shifts"].double()
        self.eatoms = torch.zeros(self.nlocal, dtype=torch.float64)
        self.energy = float("nan")
        self.forces = torch.zeros_like(positions)

    def forward_exchange(self, features: torch.Tensor, result: torch.Tensor, _: int) -> None:
        """Nothing comes from other processors."""
        result.copy_(features)

    def reverse_exchange(self, gradient: torch.Tensor, result: torch.Tensor, _: int) -> None:
        """Nothing goes to other processors."""
        result.copy_(gradient)

    def update_pair_forces_gpu(self, pair_forces: torch.Tensor) -> None:
        """As LAMMPS does: add to atom i, take from atom j."""
        self.forces.index_add_(0, self.pair_i, pair_forces.double())
        self.forces.index_add_(0, self.pair_j, -pair_forces.double())

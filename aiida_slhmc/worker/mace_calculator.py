"""A stored MACE model as an ASE calculator, so that one model can be the target of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

__all__ = ("MaceCheckpoint",)


class MaceCheckpoint(Calculator):
    """Energy, forces and stress of a checkpoint as this package stores them, in float64.

    Parameters: ``checkpoint``, the file (``model.safetensors``, the name that a job gives to a MaceModelData), and
    ``device`` (``cpu`` or ``cuda``).
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]
    default_parameters = {"checkpoint": "model.safetensors", "device": "cpu"}

    def __init__(self, **kwargs: Any) -> None:
        """Load the model.

        :raises ValueError: for a file that is no such checkpoint.
        """
        from aiida_slhmc.worker.checkpoint import load_checkpoint

        super().__init__(**kwargs)
        self.model = load_checkpoint(self.parameters["checkpoint"], device=self.parameters["device"])

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = tuple(all_changes)
    ) -> None:
        """All properties at once.

        :raises ValueError: if the model lacks an element.
        """
        from aiida_slhmc.worker.checkpoint import DTYPES, default_dtype
        from aiida_slhmc.worker.potential import MacePotential

        super().calculate(atoms, properties, system_changes)
        with default_dtype(DTYPES["float64"]):
            potential = MacePotential(self.model, self.atoms.numbers, compute_stress=True)
            positions, cells = self.atoms.positions[None], self.atoms.cell.array[None]
            # as proposals do: the first calls round differently from the later ones
            potential.warm_up(positions, cells)
            output = potential(positions, cells)
        energy = float(output.energies[0])
        stress = full_3x3_to_voigt_6_stress(np.asarray(output.stresses)[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": output.forces[0], "stress": stress}

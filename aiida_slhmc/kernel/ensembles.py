"""The ensembles NVT and NPT: their generalised coordinates, and the energy Φ that the dynamics and the test use.

Positions are (..., n_atoms, 3) and cells (..., 3, 3) with vectors as rows, in Å, with a leading batch of any shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aiida_slhmc.kernel.dynamics import EnergyAndForces, draw_momenta
from aiida_slhmc.kernel.parameters import KernelParameters
from aiida_slhmc.kernel.strain import (
    STRAIN_BASES,
    deformation,
    log_jacobian,
    log_jacobian_gradient,
    log_strain,
    pull_back,
)
from aiida_slhmc.kernel.units import AMU_ANGSTROM2_PER_FS2_IN_EV, EV_PER_CUBIC_ANGSTROM_IN_GPA, thermal_energy

__all__ = ("Ensemble", "ModelOutput", "Npt", "Nvt", "make_ensemble")

Array = NDArray[np.float64]


class ModelOutput(NamedTuple):
    """Energies (...) in eV, forces (..., n_atoms, 3) in eV/Å and, where asked for, stresses (..., 3, 3) in eV/Å³."""

    energies: Array
    forces: Array
    stresses: Array | None = None


# positions and cells -> energies, forces and stresses (symmetric, positive under tension)
Model = Callable[[Array, Array], ModelOutput]


class Ensemble(ABC):
    """What the leapfrog and the Metropolis test need to know of an ensemble.

    ``masses`` (n_coordinates,) belong to the generalised coordinates q; ``temperature`` is in K.
    """

    masses: Array
    temperature: float

    @abstractmethod
    def coordinates(self, positions: Array, cells: Array) -> Array:
        """Generalised coordinates q (..., n_coordinates)."""

    @abstractmethod
    def configuration(self, coordinates: Array) -> tuple[Array, Array]:
        """Positions and cells at q."""

    @abstractmethod
    def cell_energy(self, cells: Array) -> Array:
        """Φ − V in eV, (...): what the ensemble adds to the potential energy."""

    @abstractmethod
    def energy_and_forces(self, coordinates: Array, output: ModelOutput) -> tuple[Array, Array]:
        """Φ (...) and −∂Φ/∂q (..., n_coordinates) from what the model gives at q."""

    @abstractmethod
    def draw_momenta(self, generator: np.random.Generator) -> Array:
        """Momenta of one walker (n_coordinates,), without a total momentum of the atoms."""

    def potential(self, model: Model) -> EnergyAndForces:
        """Φ and −∂Φ/∂q as a function of q, for the leapfrog."""

        def evaluate(coordinates: Array) -> tuple[Array, Array]:
            return self.energy_and_forces(coordinates, model(*self.configuration(coordinates)))

        return evaluate


class Nvt(Ensemble):
    """Canonical ensemble: q = r and Φ = V in fixed cells."""

    def __init__(self, atomic_masses: Array, temperature: float, cells: Array) -> None:
        """Take masses (n_atoms,) in amu and the walkers' cells."""
        self._atomic_masses, self._cells = atomic_masses, cells
        self.masses = np.repeat(atomic_masses, 3)
        self.temperature = temperature

    def coordinates(self, positions: Array, cells: Array) -> Array:
        """The positions; *cells* are those given before."""
        return _flat(positions)

    def configuration(self, coordinates: Array) -> tuple[Array, Array]:
        """Positions and the fixed cells."""
        return _by_atom(coordinates), self._cells

    def cell_energy(self, cells: Array) -> Array:
        """Zero."""
        return np.zeros(cells.shape[:-2])

    def energy_and_forces(self, coordinates: Array, output: ModelOutput) -> tuple[Array, Array]:
        """V and the forces."""
        return output.energies, _flat(output.forces)

    def draw_momenta(self, generator: np.random.Generator) -> Array:
        """The atoms' momenta."""
        return draw_momenta(generator, self._atomic_masses, self.temperature).ravel()


class Npt(Ensemble):
    """Isothermal–isobaric ensemble in the separable log-strain form.

    With a fixed reference cell h₀, F = exp(ε), h = F h₀ and r = F x, the coordinates are q = (x, e), ε = Σ_a e_a B_a,
    and

        Φ(x, ε) = V(F x; F h₀) + P Ω − k_B T (N + 1) tr ε − k_B T ln J(ε),     Ω = Ω₀ exp(tr ε).

    The density in (x, ε) is exp(−βΦ): Ω^(N+1) exp(−β(V + PΩ)) times the invariant measure on h, which is the NPT
    ensemble with the measure det(h)^(1−d) dh of Martyna, Tobias and Klein (J. Chem. Phys. 101, 4177 (1994)).

    | symbol | variable | unit |
    |---|---|---|
    | h₀ | ``reference_cell`` (rows are vectors) | Å |
    | B_a | ``basis``, see :data:`~aiida_slhmc.kernel.strain.STRAIN_BASES` | |
    | P | ``pressure`` | GPa |
    | N | number of ``atomic_masses`` | |
    | W | ``masses`` of the strain, W = 3N k_B T τ² | amu Å² |
    | τ | ``cell_time_constant`` | fs |
    | J | :func:`~aiida_slhmc.kernel.strain.log_jacobian`, 1 unless all six strains move | |

    W changes how fast the cell moves, never the ensemble.
    """

    def __init__(
        self,
        atomic_masses: Array,
        temperature: float,
        reference_cell: Array,
        *,
        pressure: float,
        cell_degrees_of_freedom: str,
        cell_time_constant: float,
    ) -> None:
        """Take masses (n_atoms,) in amu, the temperature in K and the rest as in the table."""
        self._atomic_masses, self._reference_cell = atomic_masses, reference_cell
        self._n_atoms = len(atomic_masses)
        self._pressure = pressure / EV_PER_CUBIC_ANGSTROM_IN_GPA
        self._thermal_energy = thermal_energy(temperature)
        self._has_shear = cell_degrees_of_freedom == "full"
        self.basis = STRAIN_BASES[cell_degrees_of_freedom]
        self.temperature = temperature
        mass = 3 * self._n_atoms * self._thermal_energy * cell_time_constant**2 / AMU_ANGSTROM2_PER_FS2_IN_EV
        self.masses = np.concatenate([np.repeat(atomic_masses, 3), np.full(len(self.basis), mass)])

    def coordinates(self, positions: Array, cells: Array) -> Array:
        """Positions in the reference cell, x = F⁻¹ r, and the components of ε.

        :raises ValueError: if the cells cannot be reached from the reference cell with these degrees of freedom.
        """
        strain = log_strain(cells, self._reference_cell)
        components = np.einsum("...ij,aij->...a", strain, self.basis)
        rest = np.abs(strain - self._strain(components)).max()
        if rest > 1e-9:
            raise ValueError(f"the cell has a strain of {rest:.2g} that the cell degrees of freedom do not allow")
        reduced = np.swapaxes(np.linalg.solve(deformation(strain), np.swapaxes(positions, -1, -2)), -1, -2)
        return np.concatenate([_flat(reduced), components], axis=-1)

    def configuration(self, coordinates: Array) -> tuple[Array, Array]:
        """Positions r = F x and cells F h₀."""
        reduced, strain = self._split(coordinates)
        f = deformation(strain)
        return reduced @ f, self._reference_cell @ f

    def cell_energy(self, cells: Array) -> Array:
        """P Ω − k_B T (N + 1) tr ε − k_B T ln J(ε)."""
        return self._cell_energy(log_strain(cells, self._reference_cell))

    def energy_and_forces(self, coordinates: Array, output: ModelOutput) -> tuple[Array, Array]:
        """Φ and its derivatives: −∂Φ/∂x = Fᵀ f and −∂Φ/∂ε with ∂V/∂F = Ω σ F⁻ᵀ pulled back through the exponential."""
        if output.stresses is None:
            raise ValueError("the NPT ensemble needs the model's stresses")
        _, strain = self._split(coordinates)
        f = deformation(strain)
        volume = self._volume(strain)
        thermal = self._thermal_energy
        gradient = pull_back(strain, volume[..., None, None] * output.stresses @ np.linalg.inv(f))
        gradient += (self._pressure * volume - thermal * (self._n_atoms + 1))[..., None, None] * np.eye(3)
        if self._has_shear:
            gradient -= thermal * log_jacobian_gradient(strain)
        forces = [_flat(output.forces @ f), -np.einsum("...ij,aij->...a", gradient, self.basis)]
        return output.energies + self._cell_energy(strain), np.concatenate(forces, axis=-1)

    def draw_momenta(self, generator: np.random.Generator) -> Array:
        """The atoms' momenta as in NVT, then those of the strain, π_a ~ N(0, W k_B T)."""
        atoms = draw_momenta(generator, self._atomic_masses, self.temperature).ravel()
        sigma = np.sqrt(self.masses[len(atoms) :] * self._thermal_energy / AMU_ANGSTROM2_PER_FS2_IN_EV)
        return np.concatenate([atoms, sigma * generator.standard_normal(len(sigma))])

    def _cell_energy(self, strain: Array) -> Array:
        trace = np.trace(strain, axis1=-2, axis2=-1)
        # diagonal strains have no rotations to be weighed, whatever their eigenvalues
        jacobian = log_jacobian(strain) if self._has_shear else 0.0
        return self._pressure * self._volume(strain) - self._thermal_energy * ((self._n_atoms + 1) * trace + jacobian)

    def _volume(self, strain: Array) -> Array:
        volume: Array = np.abs(np.linalg.det(self._reference_cell)) * np.exp(np.trace(strain, axis1=-2, axis2=-1))
        return volume

    def _strain(self, components: Array) -> Array:
        return np.einsum("...a,aij->...ij", components, self.basis)

    def _split(self, coordinates: Array) -> tuple[Array, Array]:
        """Positions in the reference cell and ε."""
        n = 3 * self._n_atoms
        return _by_atom(coordinates[..., :n]), self._strain(coordinates[..., n:])


def make_ensemble(
    parameters: KernelParameters, atomic_masses: Array, cells: Array, reference_cell: Array | None
) -> Ensemble:
    """The ensemble that *parameters* name, for walkers with these *cells*.

    :raises ValueError: for NPT without a reference cell.
    """
    if parameters.ensemble == "nvt":
        return Nvt(atomic_masses, parameters.temperature, cells)
    if reference_cell is None:
        raise ValueError("the NPT ensemble needs a reference cell")
    return Npt(atomic_masses, parameters.temperature, reference_cell, **parameters.cell_motion())


def _flat(values: Array) -> Array:
    return values.reshape(*values.shape[:-2], -1)


def _by_atom(values: Array) -> Array:
    return values.reshape(*values.shape[:-1], -1, 3)

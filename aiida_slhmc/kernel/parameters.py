"""The numbers that define the kernel, checked in one place for people, nodes and workers alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aiida_slhmc.kernel.checks import check_fields, is_number, is_whole

__all__ = ("KernelParameters", "Trajectory")

ENSEMBLES = ("nvt", "npt")
CELL_DEGREES_OF_FREEDOM = ("isotropic", "orthorhombic", "full")
# for NPT, where not given: one atmosphere, and a cell whose period is that of slow phonons (rutile: 80 fs)
NPT_DEFAULTS = {"pressure": 1.01325e-4, "cell_degrees_of_freedom": "orthorhombic", "cell_time_constant": 300.0}


@dataclass(frozen=True, kw_only=True)
class KernelParameters:
    """Parameters of the kernel that stay the same for a whole run:

    `temperature` (K), `seed` (non-negative integer), `ensemble` (nvt or npt), `jitter` of the number of steps
    (fraction, 0.2), `max_integration_error` (eV per cell; above it the trajectory counts as divergent), `device` (auto,
    cpu or cuda). For npt also `pressure` (GPa; one atmosphere), `cell_degrees_of_freedom` (isotropic; orthorhombic, the
    default: strains along x, y and z; full: all six) and `cell_time_constant` (fs; it sets how fast the cell moves, not
    the ensemble).

    :raises ValueError: for a value that makes no sense.
    """

    temperature: float
    seed: int
    ensemble: str = "nvt"
    jitter: float = 0.2
    max_integration_error: float = 1.0
    device: str = "auto"
    pressure: float | None = None
    cell_degrees_of_freedom: str | None = None
    cell_time_constant: float | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "max_integration_error"):
            _check_positive(name, getattr(self, name))
        if not is_whole(self.seed) or self.seed < 0:
            raise ValueError(f"seed must be a non-negative integer, not {self.seed!r}")
        if not is_number(self.jitter) or not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must lie in [0, 1), not {self.jitter!r}")
        _check_choice("device", self.device, ("auto", "cpu", "cuda"))
        _check_choice("ensemble", self.ensemble, ENSEMBLES)
        if self.ensemble == "nvt":
            self._check_nvt()
        else:
            self._check_npt()

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> KernelParameters:
        """Read parameters that people wrote.

        :raises ValueError: for a name that is unknown, with the nearest one, or missing.
        """
        if "timestep" in content:
            raise ValueError("timestep is a part of `trajectory`, beside n_steps, not of the kernel's parameters")
        check_fields(cls, content, {"temperature", "seed"}, "parameter of the kernel")
        return cls(**content)

    def as_dict(self) -> dict[str, Any]:
        """All parameters, defaults included; those of NPT only where they apply."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def cell_motion(self) -> dict[str, Any]:
        """The three parameters of NPT, arguments of :class:`~aiida_slhmc.kernel.ensembles.Npt`."""
        return {name: getattr(self, name) for name in NPT_DEFAULTS}

    def _check_nvt(self) -> None:
        given = [name for name in NPT_DEFAULTS if getattr(self, name) is not None]
        if given:
            raise ValueError(f"{', '.join(given)}: only for ensemble npt, but the ensemble is nvt")

    def _check_npt(self) -> None:
        for name, default in NPT_DEFAULTS.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        if not is_number(self.pressure):
            raise ValueError(f"pressure must be a number in GPa, not {self.pressure!r}")
        _check_choice("cell_degrees_of_freedom", self.cell_degrees_of_freedom, CELL_DEGREES_OF_FREEDOM)
        _check_positive("cell_time_constant", self.cell_time_constant)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """The proposal's trajectory, frozen within an epoch and adapted between epochs: `n_steps` of `timestep` (fs).

    :raises ValueError: for a value that makes no sense.
    """

    n_steps: int
    timestep: float

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Trajectory:
        """Read a trajectory that people wrote.

        :raises ValueError: for a name that is unknown, with the nearest one, or missing.
        """
        check_fields(cls, content, {"n_steps", "timestep"}, "parameter of the trajectory")
        return cls(**content)

    def __post_init__(self) -> None:
        if not is_whole(self.n_steps) or self.n_steps < 1:
            raise ValueError(f"n_steps must be a positive integer, not {self.n_steps!r}")
        _check_positive("timestep", self.timestep)


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _check_positive(name: str, value: Any) -> None:
    if not is_number(value) or value <= 0:
        raise ValueError(f"{name} must be a positive number, not {value!r}")

"""The numbers that define a run of molecular dynamics, checked in one place for people, nodes and workers alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aiida_slhmc.kernel.checks import check_fields, is_number, is_whole
from aiida_slhmc.kernel.parameters import NPT_DEFAULTS, KernelParameters

__all__ = ("MdParameters",)

REQUIRED = ("n_steps", "temperature", "seed")
# what may change where a run goes on from the state of another; all else belongs to the dynamics
FREE_AT_RESTART = {"n_steps", "n_equilibration_steps", "sampling_interval", "seed", "device"}


@dataclass(frozen=True, kw_only=True)
class MdParameters:
    """Options of a run of molecular dynamics with massive Nosé–Hoover chains:

    `n_steps` (in all, after the equilibration), `timestep` (fs, 1), `sampling_interval` (a frame every so many steps,
    10), `n_equilibration_steps` (before the first of the `n_steps`, without frames, 0), `temperature` (K), `seed`
    (non-negative integer) of the initial momenta, `thermostat_time_constant` (fs, 30), `chain_length` (4), `ensemble`
    (nvt or npt), `device` (auto, cpu or cuda). For npt also `pressure` (GPa; one atmosphere), `cell_degrees_of_freedom`
    (isotropic; orthorhombic, the default: strains along x, y and z; full: all six) and `cell_time_constant` (fs, 300).

    :raises ValueError: for a value that makes no sense.
    """

    n_steps: int
    temperature: float
    seed: int
    timestep: float = 1.0
    sampling_interval: int = 10
    n_equilibration_steps: int = 0
    thermostat_time_constant: float = 30.0
    chain_length: int = 4
    ensemble: str = "nvt"
    pressure: float | None = None
    cell_degrees_of_freedom: str | None = None
    cell_time_constant: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (
            ("n_steps", 1),
            ("sampling_interval", 1),
            ("n_equilibration_steps", 0),
            ("chain_length", 1),
        ):
            value = getattr(self, name)
            if not is_whole(value) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
        for name in ("timestep", "thermostat_time_constant"):
            value = getattr(self, name)
            if not is_number(value) or value <= 0:
                raise ValueError(f"{name} must be a positive number, not {value!r}")
        kernel = self.kernel()  # checks the rest
        for name in NPT_DEFAULTS:
            object.__setattr__(self, name, getattr(kernel, name))

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> MdParameters:
        """Read options that people wrote.

        :raises ValueError: for a name that is unknown, with the nearest one, or missing.
        """
        check_fields(cls, content, REQUIRED, "option of the molecular dynamics")
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """All options, defaults included; those of NPT only where they apply."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def kernel(self) -> KernelParameters:
        """What the ensembles need, see :func:`~aiida_slhmc.kernel.ensembles.make_ensemble`."""
        names = ("temperature", "seed", "ensemble", "device", *NPT_DEFAULTS)
        return KernelParameters(**{name: getattr(self, name) for name in names})

    def differences(self, other: MdParameters) -> list[str]:
        """Names of options that belong to the dynamics and differ, so that neither run can go on from the other."""
        mine, others = asdict(self), asdict(other)
        return sorted(name for name in mine if name not in FREE_AT_RESTART and mine[name] != others[name])

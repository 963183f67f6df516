"""What `aiida-slhmc launch` takes: one model per command, from which come options, YAML file, schema and template."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from aiida_slhmc.cli.settings import Option, Settings

__all__ = ("EpochSettings", "FineTuneSettings", "MdSettings", "RelabelSettings", "SlhmcSettings")

# a file, or how AiiDA names a node
Reference = int | str
Positive = Annotated[int, Field(ge=1)]
JOB_OPTIONS = (
    "metadata.options of the jobs that run MACE: resources, queue_name, max_wallclock_seconds, prepend_text, …; "
    "default: one machine with the computer's default number of processes."
)


class Kernel(Settings):
    """The sampler's parameters, as in kernel/parameters.py; `ensemble` is a key of the run."""

    temperature: Annotated[float | None, Option()] = Field(default=None, description="Temperature in K.")
    seed: Annotated[int | None, Option()] = Field(default=None, description="Seed of all random numbers, 0 or more.")
    jitter: float | None = Field(default=None, description="Random fraction by which the number of steps varies.")
    max_integration_error: float | None = Field(
        default=None, description="eV per cell; a trajectory whose integration error is larger counts as divergent."
    )
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, Option()] = Field(
        default=None, description="Where MACE runs."
    )
    pressure: Annotated[float | None, Option()] = Field(default=None, description="NPT: pressure in GPa.")
    cell_degrees_of_freedom: Annotated[Literal["isotropic", "orthorhombic", "full"] | None, Option()] = Field(
        default=None, description="NPT: how the cell may change."
    )
    cell_time_constant: float | None = Field(
        default=None, description="NPT: time in fs that sets how fast the cell moves."
    )


class FirstTrajectory(Settings):
    """The proposals of the first epoch."""

    n_steps: Positive | None = Field(default=None, description="Steps of a proposal.")
    timestep: float | None = Field(default=None, description="Time step in fs.")


class Overrides(Settings):
    """Keys of the protocol to replace; what is left out is the protocol's."""

    kernel: Kernel = Field(default_factory=Kernel, description="The sampler.")
    trajectory: FirstTrajectory = Field(
        default_factory=FirstTrajectory, description="The first epoch's proposals; `adaptation` changes them later."
    )
    adaptation: dict[str, Any] = Field(
        default_factory=dict, description="How the proposals' length follows the epochs: rule jump or acceptance."
    )
    n_walkers: Annotated[Positive | None, Option()] = Field(
        default=None, description="Chains that advance in lock-step."
    )
    n_cycles: Annotated[Positive | None, Option()] = Field(
        default=None, description="Cycles of an epoch, which costs n_walkers x n_cycles labels."
    )
    label_budget: Annotated[Positive | None, Option()] = Field(
        default=None, description="Labels that the run may spend."
    )
    committee_size: Positive | None = Field(
        default=None, description="Models that each update trains; 1 for no committee."
    )
    convergence: dict[str, Any] | None = Field(
        default=None, description="Stop earlier: below force_rmse_mev_per_angstrom and above acceptance."
    )
    fine_tune: dict[str, Any] = Field(
        default_factory=dict, description="Options of the training, see docs/topics/fine_tuning.md."
    )


class RelabelOverrides(Overrides):
    """Keys of both protocols that the relabelling control has."""

    selection: dict[str, Any] = Field(
        default_factory=dict, description="Which frames are labelled: method (every, random, farthest_point), n_frames."
    )
    md: dict[str, Any] = Field(default_factory=dict, description="Dynamics of the foundation model, for the frames.")
    production: dict[str, Any] | None = Field(
        default_factory=dict, description="Dynamics with the model that was trained; null for none."
    )


class TargetOptions(Settings):
    """Options of the target's adapter; further ones, such as incar or kpoints_mesh, are checked by the adapter."""

    model_config = ConfigDict(extra="allow")

    code: Annotated[str | None, Option(complete="codes")] = Field(
        default=None, description="Label of the engine's code, such as vasp@cluster."
    )
    potential_family: Annotated[str | None, Option()] = Field(default=None, description="VASP: the family of POTCARs.")
    pseudo_family: Annotated[str | None, Option()] = Field(default=None, description="Quantum ESPRESSO: the family.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="metadata.options of the engine's jobs: resources, queue_name, …"
    )


class ExtraSets(Settings):
    """What is trained on or evaluated beside the labels."""

    replay: dict[str, Reference] = Field(
        default_factory=dict,
        description="The foundation's own labels, against forgetting: by any name, a data set or a block.",
    )
    probes: dict[str, Reference] = Field(
        default_factory=dict, description="Labels that are only evaluated: by any name, a data set or a block."
    )
    force_constants: dict[str, Reference] = Field(
        default_factory=dict, description="Force constants by name that are trained on."
    )
    python_options: dict[str, Any] = Field(default_factory=dict, description=JOB_OPTIONS)


class RunSettings(Settings):
    """What a run at a target needs."""

    structure: Annotated[Reference, Option(complete="files")] = Field(
        description="Where it starts: a file that ASE reads (POSCAR, CIF, extxyz, …), or PK or UUID of a StructureData."
    )
    model: Annotated[Reference, Option(complete="models")] = Field(
        description="The foundation model: label, PK or UUID."
    )
    python_code: Annotated[str, Option(complete="codes")] = Field(
        default="python@localhost", description="Label of the code that is a Python with mace-torch."
    )
    target: Annotated[str, Option(complete="targets")] = Field(
        default="vasp", description="The engine: vasp, quantum_espresso, cp2k, ase."
    )
    functional: Annotated[str, Option(complete="functionals")] = Field(
        description="The target functional, such as pbe, r2scan or hse06."
    )
    target_options: TargetOptions = Field(default_factory=TargetOptions, description="Options of the engine.")
    ensemble: Annotated[Literal["nvt", "npt"], Option()] = Field(default="nvt", description="The ensemble.")
    protocol: Annotated[str | None, Option(complete="protocols")] = Field(
        default=None, description="fast, balanced (the default), stringent or paper."
    )


class SlhmcSettings(ExtraSets, RunSettings):
    """A self-learning run."""

    overrides: Overrides = Field(default_factory=Overrides, description="Keys of the protocol to replace.")


class RelabelSettings(ExtraSets, RunSettings):
    """The relabelling control."""

    overrides: RelabelOverrides = Field(
        default_factory=RelabelOverrides, description="Keys of the protocols slhmc.yaml and relabel.yaml to replace."
    )


class EpochSettings(Settings):
    """A long epoch with a frozen model, which samples the target's ensemble exactly."""

    run: Annotated[Reference, Option(complete="runs")] = Field(
        description="PK or UUID of the finished self-learning run whose last model and walkers go on."
    )
    n_cycles: Annotated[Positive, Option()] = Field(description="Cycles; each costs one label for each walker.")
    seed: Annotated[int | None, Option()] = Field(
        default=None,
        description="Another seed than the run's; without it a second epoch of a run repeats the first.",
    )


class MdParameterSettings(Settings):
    """Options of the molecular dynamics, as in kernel/md_parameters.py."""

    n_steps: Annotated[Positive, Option()] = Field(description="Steps after the equilibration.")
    temperature: Annotated[float, Option()] = Field(description="Temperature in K.")
    seed: Annotated[int, Option()] = Field(default=0, description="Seed of the initial momenta.")
    timestep: Annotated[float, Option()] = Field(default=1.0, description="Time step in fs.")
    sampling_interval: Annotated[Positive, Option()] = Field(default=10, description="A frame every so many steps.")
    n_equilibration_steps: Annotated[int, Option()] = Field(default=0, description="Steps before, without frames.")
    thermostat_time_constant: float = Field(default=30.0, description="fs.")
    chain_length: Positive = Field(default=4, description="Thermostats of each Nosé-Hoover chain.")
    ensemble: Annotated[Literal["nvt", "npt"], Option()] = Field(default="nvt", description="The ensemble.")
    pressure: Annotated[float | None, Option()] = Field(default=None, description="NPT: pressure in GPa.")
    cell_degrees_of_freedom: Literal["isotropic", "orthorhombic", "full"] | None = Field(
        default=None, description="NPT: how the cell may change."
    )
    cell_time_constant: float | None = Field(default=None, description="NPT: fs.")
    device: Annotated[Literal["auto", "cpu", "cuda"], Option()] = Field(default="auto", description="Where MACE runs.")


class MdSettings(Settings):
    """Molecular dynamics with a frozen model."""

    model: Annotated[Reference, Option(complete="models")] = Field(description="The model: label, PK or UUID.")
    structure: Annotated[Reference | None, Option(complete="files")] = Field(
        default=None, description="Where a new run begins: a file that ASE reads, or PK or UUID of a structure."
    )
    state: Annotated[Reference | None, Option()] = Field(
        default=None, description="Instead: the output `state` of another run, from which this one goes on exactly."
    )
    reference_structure: Reference | None = Field(
        default=None, description="NPT: the structure whose cell strains are measured from; default: `structure`."
    )
    python_code: Annotated[str, Option(complete="codes")] = Field(
        default="python@localhost", description="Label of the code that is a Python with mace-torch."
    )
    parameters: MdParameterSettings = Field(description="The dynamics.")
    role: Annotated[str | None, Option()] = Field(
        default=None, description="What the trajectory is for, such as adapted_md."
    )
    python_options: dict[str, Any] = Field(default_factory=dict, description=JOB_OPTIONS)


class FineTuneSettings(ExtraSets):
    """One fine-tuning on blocks of labels."""

    model: Annotated[Reference, Option(complete="models")] = Field(
        description="The model to start from: label, PK or UUID."
    )
    datasets: Annotated[list[Reference], Option("--dataset", complete="data_sets")] = Field(
        description="Data sets by name, or blocks of labels by PK or UUID, the newest last.", min_length=1
    )
    python_code: Annotated[str, Option(complete="codes")] = Field(
        default="python@localhost", description="Label of the code that is a Python with mace-torch."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Options of the training, see docs/topics/fine_tuning.md."
    )

"""What `aiida-slhmc setup` takes from a YAML file: one computer and the codes on it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_slhmc.cli.settings import Settings

__all__ = ("PYTHON_PLUGIN", "CodeSettings", "ComputerSettings", "SetupSettings", "template")

PYTHON_PLUGIN = "slhmc.mace_proposal"
POLL_INTERVAL = 5.0  # s; asking a scheduler more often is a nuisance to others


class ComputerSettings(Settings):
    """A computer, as `verdi computer setup` and `verdi computer configure` make it."""

    label: str = Field(description="What AiiDA calls it.")
    hostname: str = Field(default="localhost", description="Its name in the network, or of the host in ~/.ssh/config.")
    transport: str = Field(default="core.local", description="core.local for this machine, core.ssh_async for others.")
    scheduler: str = Field(
        default="core.direct", description="core.direct for none, core.slurm, core.pbspro, core.lsf, …"
    )
    work_dir: str | None = Field(
        default=None,
        description="Folder for the jobs there; {username} is yours. Default on this machine: ~/aiida_run.",
    )
    mpiprocs_per_machine: int | None = Field(
        default=None, ge=1, description="Processes of a job on each machine; default 1."
    )
    mpirun_command: str | None = Field(default=None, description="Default: mpirun -np {tot_num_mpiprocs}.")
    poll_interval: float | None = Field(
        default=None, ge=0, description=f"Seconds between questions to the scheduler; default {POLL_INTERVAL:g}."
    )
    prepend_text: str | None = Field(default=None, description="Lines of shell before each job, such as module load.")
    transport_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Of the transport, as `verdi computer configure` asks for them: safe_interval, use_login_shell, "
        "and for core.ssh_async host, the name in ~/.ssh/config.",
    )


class CodeSettings(Settings):
    """A code, as `verdi code create core.code.installed` makes it."""

    label: str = Field(description="What AiiDA calls it, before the @.")
    executable: str = Field(description="Its full path on the computer.")
    plugin: str = Field(
        description=f"{PYTHON_PLUGIN} for a Python with mace-torch; vasp.vasp, quantumespresso.pw, cp2k, …"
    )
    prepend_text: str | None = Field(default=None, description="Lines of shell before this code runs.")
    with_mpi: bool | None = Field(default=None, description="Whether it runs under mpirun; a Python should not.")


class SetupSettings(Settings):
    """The file."""

    computer: ComputerSettings = Field(description="The computer; it is made, or, if there, brought up to date.")
    codes: list[CodeSettings] = Field(default_factory=list, description="The codes on it; those there are kept.")


def template() -> SetupSettings:
    """A file to copy and change, for a cluster with Slurm."""
    return SetupSettings(
        computer=ComputerSettings(
            label="cluster",
            hostname="cluster.example.org",
            transport="core.ssh_async",
            scheduler="core.slurm",
            work_dir="/scratch/{username}/aiida",
            mpiprocs_per_machine=16,
            poll_interval=30.0,
            transport_options={"host": "cluster", "use_login_shell": True},
        ),
        codes=[
            CodeSettings(
                label="python",
                executable="/home/you/mace/bin/python",
                plugin=PYTHON_PLUGIN,
                prepend_text="module load cuda",
                with_mpi=False,
            ),
            CodeSettings(
                label="vasp", executable="/opt/vasp/bin/vasp_std", plugin="vasp.vasp", prepend_text="module load vasp"
            ),
        ],
    )

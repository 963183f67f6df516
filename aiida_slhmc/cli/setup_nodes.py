"""Computers and codes from settings: made where they are missing, kept where they are there."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from aiida import orm
from aiida.common.exceptions import EntryPointError, NotExistent
from aiida.plugins import CalculationFactory, SchedulerFactory, TransportFactory

from aiida_slhmc.cli.setup_settings import POLL_INTERVAL, PYTHON_PLUGIN, CodeSettings, ComputerSettings
from aiida_slhmc.kernel.checks import hint_at

__all__ = ("set_up_code", "set_up_computer")

FACTORIES: dict[str, Any] = {"transport": TransportFactory, "scheduler": SchedulerFactory}
# what makes a computer the one that it is
IDENTITY = {"hostname": "hostname", "transport": "transport_type", "scheduler": "scheduler_type"}


def set_up_computer(settings: ComputerSettings) -> tuple[orm.Computer, bool]:
    """The computer, configured for the present user, and whether it was made; settings that are given replace others.

    :raises ValueError: if a computer of this label is another one, or a plugin or an option does not exist.
    """
    _check_plugins(settings)
    try:
        computer, is_new = orm.load_computer(settings.label), False
        _check_identity(computer, settings)
    except NotExistent:
        computer, is_new = _make(settings), True
    _update(computer, settings)
    if is_new or settings.transport_options or not computer.is_configured:
        _check_options(computer, settings)
        computer.configure(**settings.transport_options)
    return computer, is_new


def set_up_code(settings: CodeSettings, computer: orm.Computer) -> tuple[orm.InstalledCode, bool]:
    """The code, and whether it was made.

    :raises ValueError: if a code of this label has another executable, plugin, prepend text or use of MPI, or the
        plugin does not exist.
    """
    name = f"{settings.label}@{computer.label}"
    if not PurePosixPath(settings.executable).is_absolute():
        raise ValueError(f"code {name}: the executable must be a full path there, not '{settings.executable}'")
    try:
        CalculationFactory(settings.plugin, load=False)
    except EntryPointError as error:
        raise ValueError(
            f"code {name}: there is no calculation plugin '{settings.plugin}'; is its package installed?"
        ) from error
    try:
        found: Any = orm.load_code(name)
    except NotExistent:
        return _make_code(settings, computer), True
    wanted = (settings.executable, settings.plugin)
    present = (str(found.get_executable()), found.default_calc_job_plugin)
    if present != wanted or not isinstance(found, orm.InstalledCode):
        raise ValueError(
            f"code {name} is there with {present[0]} ({present[1]}), not {wanted[0]} ({wanted[1]}). A code cannot be "
            f"changed: take another label, or free this one with `verdi code relabel {name} OTHER`"
        )
    if settings.prepend_text is not None and found.prepend_text.strip() != settings.prepend_text.strip():
        raise ValueError(f"code {name} is there with another prepend_text; take another label, or relabel the old one")
    _check_mpi(found, settings, name)
    return found, False


def _check_mpi(code: orm.InstalledCode, settings: CodeSettings, name: str) -> None:
    """Whether it runs under mpirun cannot be changed either; what the settings do not say may be anything."""
    wanted, present = settings.with_mpi, code.with_mpi
    if wanted is not None and wanted != present:
        raise ValueError(
            f"code {name} is there with with_mpi: {'not set' if present is None else str(present).lower()}, not "
            f"{str(wanted).lower()}; take another label, or free this one with `verdi code relabel {name} OTHER`"
        )


def _check_plugins(settings: ComputerSettings) -> None:
    for name, factory in FACTORIES.items():
        try:
            factory(getattr(settings, name))
        except EntryPointError as error:
            raise ValueError(f"there is no {name} '{getattr(settings, name)}': {error}") from error


def _check_identity(computer: orm.Computer, settings: ComputerSettings) -> None:
    for name, attribute in IDENTITY.items():
        present, wanted = getattr(computer, attribute), getattr(settings, name)
        if present != wanted:
            raise ValueError(
                f"there is a computer '{computer.label}' with the {name} {present}, not {wanted}: take another label, "
                f"or free this one with `verdi computer relabel {computer.label} OTHER`"
            )


def _check_options(computer: orm.Computer, settings: ComputerSettings) -> None:
    transport: Any = computer.get_transport_class()
    known = transport.get_valid_auth_params()
    for name in settings.transport_options:
        if name not in known:
            raise ValueError(f"no option of {settings.transport} '{name}'; {hint_at(name, known)}")


def _make(settings: ComputerSettings) -> orm.Computer:
    if settings.work_dir is None and settings.transport != "core.local":
        raise ValueError(f"`computer.work_dir` is needed: the folder for the jobs on {settings.hostname}")
    computer = orm.Computer(
        label=settings.label,
        hostname=settings.hostname,
        transport_type=settings.transport,
        scheduler_type=settings.scheduler,
        workdir=settings.work_dir or str(Path.home() / "aiida_run"),
        description="Made by aiida-slhmc setup",
    ).store()
    computer.set_minimum_job_poll_interval(POLL_INTERVAL)
    computer.set_default_mpiprocs_per_machine(1)
    return computer


def _update(computer: orm.Computer, settings: ComputerSettings) -> None:
    """Change what the settings say; all else stays."""
    if settings.work_dir is not None:
        computer.set_workdir(settings.work_dir)
    if settings.mpiprocs_per_machine is not None:
        computer.set_default_mpiprocs_per_machine(settings.mpiprocs_per_machine)
    if settings.mpirun_command is not None:
        computer.set_mpirun_command(settings.mpirun_command.split())
    if settings.poll_interval is not None:
        computer.set_minimum_job_poll_interval(settings.poll_interval)
    if settings.prepend_text is not None:
        computer.set_prepend_text(settings.prepend_text)


def _make_code(settings: CodeSettings, computer: orm.Computer) -> orm.InstalledCode:
    code = orm.InstalledCode(
        label=settings.label,
        computer=computer,
        filepath_executable=settings.executable,
        default_calc_job_plugin=settings.plugin,
        prepend_text=settings.prepend_text or "",
    )
    # the worker's processes are its own; mpirun would start the job several times
    with_mpi = False if settings.with_mpi is None and settings.plugin == PYTHON_PLUGIN else settings.with_mpi
    if with_mpi is not None:
        code.with_mpi = with_mpi
    return code.store()

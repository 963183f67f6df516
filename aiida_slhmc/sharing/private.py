"""What this profile and this machine know to be private: computers, accounts, folders, users."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from aiida import orm
from aiida.manage import get_manager

from aiida_slhmc.sharing.schedulers import names_in_job
from aiida_slhmc.sharing.search import REMOVED_DOMAIN

__all__ = ("private_words",)

# names that are on every machine, and say nothing of anyone
COMMON_HOSTS = {"localhost", "127.0.0.1", "::1", REMOVED_DOMAIN, ""}
COMMON_SHORT_HOSTS = {"login", "node", "head", "master", "frontend", "gateway", "cluster", "www", "ssh", "hpc"}
COMMON_USERS = {"root", "admin", "aiida", "user", "ubuntu", "debian", "centos", "runner", "vagrant", ""}
COMMON_USERS |= {"none", "null", "default", "nobody", "users", "unknown"}
COMMON_FOLDERS = {
    *("/", "/tmp", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin", "/opt", "/bin", "/home", "/root", "/var"),
    *("/scratch", "/work", "/data", "/projects"),
}
# shorter user names are looked for in paths, addresses and the like only: they may be words
SHORTEST_NAME = 5


def private_words(allowed: Iterable[str] = ()) -> set[str]:
    """Words that a search for leaks looks for: hosts, users, their folders and e-mail addresses, jobs' folders.

    :param allowed: names that are common words and may be in what is shared, such as that of a computer called `vasp`.
    """
    words: set[str] = set()
    for part in (_of_users(), _of_computers(), _of_codes(), _of_jobs(), _of_this_machine()):
        words |= set(part)
    words -= {form for word in allowed for form in (word, *_forms(word))}
    return {word for word in words if len(word) > 2}


def _of_users() -> Iterator[str]:
    for user in orm.User.collection.all():
        yield from _address(user.email)
        if user.first_name and user.last_name:
            yield f"{user.first_name} {user.last_name}"


def _of_computers() -> Iterator[str]:
    for computer in orm.Computer.collection.all():
        yield from _host(computer.hostname)
        yield from _folder(computer.get_workdir().partition("{")[0].rstrip("/"))
    for info in orm.AuthInfo.collection.all():
        parameters = info.get_auth_params()
        yield from _user(str(parameters.get("username") or ""))
        yield from _host(str(parameters.get("proxy_jump") or "").rpartition("@")[2])
        yield from _host(str(parameters.get("host") or ""))


def _of_codes() -> Iterator[str]:
    """The folder above the one that the executable is in: an environment, or an installation."""
    for code in orm.QueryBuilder().append(orm.InstalledCode).all(flat=True):
        path = PurePosixPath(str(code.filepath_executable))
        if path.is_absolute():
            yield from _folder(str(path.parent))
            yield from _folder(str(path.parent.parent))


def _of_jobs() -> Iterator[str]:
    """The part of the jobs' folders above AiiDA's own three levels, and who owned the jobs, on which hosts."""
    names = ("remote_workdir", "account", "last_job_info", "detailed_job_info")
    query = orm.QueryBuilder().append(orm.CalcJobNode, project=[f"attributes.{name}" for name in names])
    for folder, account, job, record in query.iterall():
        if folder:
            parents = PurePosixPath(str(folder)).parents
            yield from _folder(str(parents[2] if len(parents) > 3 else parents[0]))
        yield from _user(str(account or ""))
        users, hosts = names_in_job(job, record)
        for user in users:
            yield from _user(user)
        for host in hosts:
            yield from _host(host)


def _of_this_machine() -> Iterator[str]:
    yield from _host(socket.gethostname())
    yield from _host(socket.getfqdn())
    try:
        yield from _user(getpass.getuser())
        yield from _folder(str(Path.home()))
    # a container need not know its user
    except (KeyError, OSError, RuntimeError):
        pass
    profile = get_manager().get_profile()
    folder = profile.storage_config.get("filepath") if profile is not None else None
    if folder:
        yield from _folder(str(folder))


def _address(email: str) -> Iterator[str]:
    """The address; neither the one that AiiDA gives to a user who has said none, nor those of imported data sets."""
    if email and email != "aiida@localhost" and not email.endswith(REMOVED_DOMAIN):
        yield email


def _host(name: str) -> Iterator[str]:
    """The name, and the part of it by which its own network knows it."""
    if name.lower() in COMMON_HOSTS:
        return
    yield name
    short = name.partition(".")[0]
    if not short.isdigit() and short.lower() not in COMMON_SHORT_HOSTS:
        yield short


def _user(name: str) -> Iterator[str]:
    if name and name.lower() not in COMMON_USERS:
        yield from _forms(name)
        if len(name) >= SHORTEST_NAME:
            yield name


def _forms(name: str) -> Iterator[str]:
    """Where a user's name is no common word: in a path, an address, a shell's variable, alone in quotes."""
    yield from (f"/{name}", f"{name}@", f'"{name}"')
    yield from (f"{variable}={name}" for variable in ("USER", "LOGNAME", "USERNAME", "user"))


def _folder(path: str) -> Iterator[str]:
    if path and path not in COMMON_FOLDERS:
        yield path

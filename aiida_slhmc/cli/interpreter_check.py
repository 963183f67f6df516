"""Whether the Python on a compute node has what the worker needs, and which device it would use."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from importlib.metadata import requires

from aiida import orm
from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

__all__ = ("Interpreter", "check_interpreter", "needed_packages")

PYTHON = Version("3.10")
# runs there; only JSON on the last line counts, since modules and imports may print, too
SCRIPT = """
import importlib, importlib.metadata, json, sys
found = {"python": sys.version.split()[0], "packages": {}, "errors": {}, "device": None, "name": None, "mps": False}
for package, module in (("mace-torch", "mace"), ("torch", "torch"), ("safetensors", "safetensors")):
    try:
        importlib.import_module(module)
        found["packages"][package] = importlib.metadata.version(package)
    except Exception as error:
        found["errors"][package] = "%s: %s" % (type(error).__name__, error)
if "torch" in found["packages"]:
    import torch
    found["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    if found["device"] == "cuda":
        found["name"] = torch.cuda.get_device_name(0)
    found["mps"] = bool(getattr(torch.backends, "mps", None) and torch.backends.mps.is_available())
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Interpreter:
    """What a Python says of itself, and in `problems` what it lacks, in sentences; empty where it is fit."""

    python: str | None
    packages: dict[str, str]
    device: str | None
    device_name: str | None
    has_mps: bool
    problems: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line with its versions and its device."""
        versions = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        where = f"{self.device} ({self.device_name})" if self.device_name else self.device
        note = "; Apple's mps is there, but lacks the float64 that the sampler computes in" if self.has_mps else ""
        return f"Python {self.python}, {versions}; with device auto it computes on {where}{note}"


def needed_packages() -> list[Requirement]:
    """What this package's extra `worker` asks for."""
    found = [Requirement(text) for text in requires("aiida-slhmc") or []]
    extra = [need for need in found if need.marker is not None and "worker" in str(need.marker)]
    return [need for need in extra if need.name in ("mace-torch", "torch", "safetensors")]


def check_interpreter(code: orm.InstalledCode) -> Interpreter:
    """Run a small script with the code's Python, as a job would: through the transport and after the prepend texts.

    On a cluster it runs on the login node, which may have no GPU where the compute nodes have one.
    """
    computer = code.computer
    before = [text for text in (computer.get_prepend_text(), code.prepend_text) if text.strip()]
    command = f"{shlex.quote(str(code.get_executable()))} -W ignore -c {shlex.quote(SCRIPT)}"
    with computer.get_transport() as transport:
        status, output, errors = transport.exec_command_wait(f"bash -c {shlex.quote(chr(10).join([*before, command]))}")
    lines = output.strip().splitlines()
    if status != 0 or not lines:
        said = (errors.strip().splitlines() or [f"exit status {status}"])[-1]
        return _unfit(f"{code.get_executable()} on {computer.label} is no Python that runs: {said}")
    try:
        return _judge(json.loads(lines[-1]))
    except (ValueError, KeyError, TypeError):
        return _unfit(f"{code.get_executable()} on {computer.label} is no Python: it said '{lines[-1][:80]}'")


def _unfit(problem: str) -> Interpreter:
    return Interpreter(None, {}, None, None, False, (problem,))


def _judge(found: dict[str, object]) -> Interpreter:
    """Compare what was found with what is needed."""
    packages, errors = found["packages"], found["errors"]
    assert isinstance(packages, dict)
    assert isinstance(errors, dict)
    problems = []
    if Version(str(found["python"])) < PYTHON:
        problems.append(f"Python {found['python']} is too old, {PYTHON} or later is needed")
    for need in needed_packages():
        problem = _problem_of(need, packages.get(need.name), errors.get(need.name))
        if problem:
            problems.append(problem)
    device, name = found["device"], found["name"]
    return Interpreter(
        python=str(found["python"]),
        packages=packages,
        device=None if device is None else str(device),
        device_name=None if name is None else str(name),
        has_mps=bool(found["mps"]),
        problems=tuple(problems),
    )


def _problem_of(need: Requirement, version: str | None, error: str | None) -> str | None:
    wanted = f"{need.name}{need.specifier}"
    if version is None:
        return f"{need.name} cannot be imported ({error}): pip install '{wanted}' there"
    try:
        fits = need.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return None
    return None if fits else f"{need.name} is {version}: pip install '{wanted}' there"

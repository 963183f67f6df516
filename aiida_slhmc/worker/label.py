"""Label one configuration with an ASE calculator: ``python -m aiida_slhmc.worker.label`` in the job's folder.

Reads ``parameters.json`` (``calculator``: importable path of a class, or of a function that returns a calculator, such
as ``tblite.ase.TBLite``; ``arguments``: its keyword arguments) and ``configuration.npz`` (``numbers``, ``positions``,
``cell``); writes ``label.npz`` and ``result.json``. Needs NumPy and ASE, and what the calculator needs.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    CalculatorSetupError,
    FileIOCalculator,
    PropertyNotImplementedError,
    PropertyNotPresent,
)
from numpy.typing import NDArray

from aiida_slhmc.worker.job import JobError, is_out_of_memory, run_worker

__all__ = ("CONFIGURATION_FILE", "LABEL_FILE", "evaluate", "load_factory", "make_calculator", "package_version")

CONFIGURATION_FILE = "configuration.npz"
LABEL_FILE = "label.npz"
# what an error says, or is called, where a self-consistency has not converged: each engine has its own words
NOT_CONVERGED_SIGNS = ("not converge", "convergence", "scferror", "unconverged")


def load_factory(path: str) -> Callable[..., Any]:
    """What *path* (``package.module.Name``) names: a calculator class, or a function that returns a calculator.

    :raises JobError: ``calculator_unavailable``, where it cannot be imported.
    """
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    # whatever a foreign module raises at import
    except Exception as error:
        advice = f"install what it needs for the interpreter of `code`, {sys.executable}"
        raise JobError(
            "calculator_unavailable", f"{module_name} cannot be imported ({_words(error)}): {advice}"
        ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise JobError("calculator_unavailable", f"the module {module_name} has no class or function '{name}'")
    return factory


def make_calculator(path: str, arguments: dict[str, Any]) -> Any:
    """The calculator.

    :raises JobError: ``calculator_unavailable``, or ``wrong_arguments`` where it does not take *arguments*.
    """
    factory = load_factory(path)
    try:
        calculator = factory(**arguments)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _named(error, "wrong_arguments", f"{path} does not take these arguments") from error
    if not hasattr(calculator, "get_forces"):
        raise JobError("calculator_unavailable", f"{path} gives no ASE calculator but {type(calculator).__name__}")
    unknown = _ignored(calculator, arguments)
    if unknown:
        known = ", ".join(sorted(calculator.default_parameters))
        message = f"{path} would ignore {', '.join(unknown)}; it knows {known}"
        raise JobError("wrong_arguments", message)
    return calculator


def _ignored(calculator: Any, arguments: dict[str, Any]) -> list[str]:
    """Arguments that the calculator has stored, as ASE's base class does with any, without having a use for them.

    Calculators that write an input file may have more parameters than defaults, so of them nothing is known.
    """
    if not isinstance(calculator, Calculator) or isinstance(calculator, FileIOCalculator):
        return []
    if not calculator.default_parameters:
        return []
    named = {name for base in type(calculator).__mro__ for name in _parameters_of(base)}
    stored = set(arguments) & set(calculator.parameters)
    return sorted(stored - set(calculator.default_parameters) - named)


def _parameters_of(cls: type) -> list[str]:
    """Names of the parameters of the initialiser that *cls* itself defines."""
    initialiser = vars(cls).get("__init__")
    return list(inspect.signature(initialiser).parameters) if inspect.isfunction(initialiser) else []


def evaluate(calculator: Any, atoms: Atoms) -> tuple[dict[str, NDArray[np.float64]], str]:
    """Energy () in eV, forces (n_atoms, 3) in eV/Å, stress (3, 3) in eV/Å³, positive under tension, as float64.

    :returns: the arrays, and which energy it is: ``free_energy`` where there is one, because forces derive from it,
        otherwise ``energy``.
    :raises JobError: ``property_missing``, ``wrong_arguments``, ``not_converged``, ``calculator_failed``,
        ``not_finite``.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    try:
        # a calculator that computes on demand gives the energy, and mostly the forces, along with the stress
        stress, forces = atoms.get_stress(voigt=False), atoms.get_forces()
        energy, kind = _energy(atoms)
    except (PropertyNotImplementedError, PropertyNotPresent) as error:
        name = type(calculator).__name__
        raise JobError("property_missing", f"{name} does not give all that makes a label ({_words(error)})") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _failure(error) from error
    values = {"energy": energy, "forces": forces, "stress": stress}
    arrays = {key: np.asarray(value, dtype=np.float64) for key, value in values.items()}
    broken = [key for key, value in arrays.items() if not np.all(np.isfinite(value))]
    if broken:
        raise JobError("not_finite", f"{', '.join(broken)} of {type(calculator).__name__}")
    return arrays, kind


def _energy(atoms: Atoms) -> tuple[float, str]:
    """The energy that forces derive from; some calculators have it without announcing it as a property."""
    energy = atoms.get_potential_energy()
    results = getattr(atoms.calc, "results", {})
    if results.get("free_energy") is not None:
        return results["free_energy"], "free_energy"
    if "free_energy" in getattr(atoms.calc, "implemented_properties", ()):
        return atoms.get_potential_energy(force_consistent=True), "free_energy"
    return energy, "energy"


def _failure(error: Exception) -> JobError:
    """The name of what a calculator has raised while it was at work."""
    # some look at their arguments only now
    if isinstance(error, CalculatorSetupError):
        return _named(error, "wrong_arguments", "the calculator refused its arguments")
    text = f"{type(error).__name__} {error}".lower()
    if any(sign in text for sign in NOT_CONVERGED_SIGNS):
        return _named(error, "not_converged", "the calculator")
    return _named(error, "calculator_failed", "the calculator raised")


def _named(error: Exception, status: str, what: str) -> JobError:
    # the place in the calculator's own code; the message does not tell
    traceback.print_exception(error)
    return JobError(status, f"{what}: {_words(error)}")


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def package_version(path: str) -> tuple[str, str | None]:
    """The top-level package of *path*, and its version where it has one."""
    package = path.partition(".")[0]
    found = getattr(sys.modules.get(package), "__version__", None)
    if found is not None:
        return package, str(found)
    try:
        return package, version(package)
    # a distribution may be called otherwise than its package; to look through them all takes a second
    except PackageNotFoundError:
        distributions = packages_distributions().get(package, [])
    return package, version(distributions[0]) if distributions else None


def _run(parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    with np.load(folder / CONFIGURATION_FILE, allow_pickle=False) as archive:
        configuration = {key: archive[key] for key in ("numbers", "positions", "cell")}
    calculator = make_calculator(parameters["calculator"], parameters["arguments"])
    arrays, kind = evaluate(calculator, Atoms(**configuration, pbc=True))
    # the configuration again, so that a label can be told from one of another
    np.savez(folder / LABEL_FILE, **configuration, **arrays)  # type: ignore[arg-type]
    versions = dict([package_version("ase"), package_version(parameters["calculator"])])
    return {"energy_kind": kind, "versions": versions}


if __name__ == "__main__":
    run_worker(_run)

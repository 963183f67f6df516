"""Write a checkpoint in a form that other programs run: MACE's own, or one of the two that LAMMPS takes.

``mace`` is a plain ``.model`` file for ``mace.calculators.MACECalculator``; ``lammps`` the TorchScript file of
``pair_style mace``; ``lammps-mliap`` the file of ``pair_style mliap unified``, run by a Python with MACE inside LAMMPS.
``mace`` and ``lammps-mliap`` files are pickles, which run code when loaded: who gets one has to trust you, whereas a
checkpoint of this package is data only. The file is read back and has to give the checkpoint's energies and forces
before it is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mace  # noqa: F401  before e3nn, see checkpoint.py
import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from aiida_slhmc.worker.checkpoint import DTYPES, default_dtype, load_checkpoint
from aiida_slhmc.worker.comparison import check_equal, energy_and_forces, lattice_of
from aiida_slhmc.worker.elements import model_elements
from aiida_slhmc.worker.lammps_forms import evaluate_libtorch, evaluate_mliap, make_libtorch, make_mliap

__all__ = ("FORMS", "export_model")

FORMS = ("mace", "lammps", "lammps-mliap")
PICKLES = ("mace", "lammps-mliap")


def export_model(
    checkpoint: str | Path, destination: str | Path, form: str = "mace", *, dtype: str = "float64"
) -> dict[str, Any]:
    """Write a checkpoint in another form; of a model with several heads the first one is used, as in this package.

    :param checkpoint: the safetensors file
    :param destination: the file to write, replaced where it exists
    :param form: one of ``FORMS``
    :param dtype: precision of the weights, ``float64`` or ``float32``
    :return: ``form``, ``dtype``, ``elements``, ``head``, ``sha256`` (of the file) and ``is_pickle``
    :raises ValueError: unknown form or dtype, a file that is no checkpoint, or a form that does not reproduce it
    """
    if form not in FORMS:
        raise ValueError(f"format {form!r} is none of {', '.join(FORMS)}")
    # unlike the exported one, never touched by the classes that make the other forms
    original, destination = load_checkpoint(checkpoint, dtype=dtype), Path(destination)
    head = str(original.heads[0])  # type: ignore[index]
    draft = destination.with_name(destination.name + ".part")
    try:
        with default_dtype(DTYPES[dtype]):
            _write(load_checkpoint(checkpoint, dtype=dtype), form, head, draft)
            after = _read_back(original, form, draft, dtype)
            elements = model_elements(original)
            check_equal(lambda atoms: energy_and_forces(original, atoms), after, lattice_of(elements), dtype)
        draft.replace(destination)
    finally:
        draft.unlink(missing_ok=True)
    sha256 = hashlib.sha256(destination.read_bytes()).hexdigest()
    is_pickle = form in PICKLES
    about = {"form": form, "dtype": dtype, "elements": elements, "head": head}
    return {**about, "sha256": sha256, "is_pickle": is_pickle}


def _write(model: torch.nn.Module, form: str, head: str, path: Path) -> None:
    if form == "mace":
        torch.save(model, path)
    elif form == "lammps":
        torch.jit.save(make_libtorch(model, head), str(path))
    else:
        torch.save(make_mliap(model, head), path)


def _read_back(model: Any, form: str, path: Path, dtype: str) -> Callable[[Atoms], NDArray[np.float64]]:
    """Return the function that gives energy and forces of what was written; unpickles only what was just written."""
    precision = DTYPES[dtype]
    if form == "lammps":
        compiled = torch.jit.load(str(path))
        return lambda atoms: evaluate_libtorch(compiled, atoms, model, precision)
    loaded = torch.load(path, map_location="cpu", weights_only=False)
    if form == "mace":
        return lambda atoms: energy_and_forces(loaded.eval(), atoms)
    return lambda atoms: evaluate_mliap(loaded, atoms, model, precision)


def main(arguments: list[str] | None = None) -> int:
    """Export from the command line; 2 when it fails, with one line that says why."""
    parser = argparse.ArgumentParser(prog="python -m aiida_slhmc.worker.export_model", description=__doc__)
    parser.add_argument("checkpoint", help="a checkpoint of this package, *.safetensors")
    parser.add_argument("destination", help="the file to write")
    parser.add_argument("--format", choices=FORMS, default="mace", dest="form", help="default: mace")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float64", help="default: float64")
    options = parser.parse_args(arguments)
    try:
        about = export_model(options.checkpoint, options.destination, options.form, dtype=options.dtype)
    except (ValueError, OSError) as exception:
        print(f"error: {exception}", file=sys.stderr)
        return 2
    print(
        f"{options.destination}: {about['form']}, {' '.join(about['elements'])}, {about['dtype']},"
        f" head {about['head']}, sha256 {about['sha256']}"
    )
    if about["is_pickle"]:
        print("This file is a pickle: whoever loads it runs the code in it and has to trust where it comes from.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

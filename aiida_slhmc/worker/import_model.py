"""Turn a MACE ``.model`` file, or a published foundation model, into a checkpoint: the only step that unpickles.

A ``.model`` file is a pickle, and unpickling runs whatever code it contains, with your rights. Import only files whose
origin you trust; a published foundation model is fetched by MACE itself over https from the addresses in MACE's source.
The sha256 of the file is recorded in the checkpoint, so that it can be compared with its publisher's.
The checkpoint is read back and has to give the energies and forces of the original before it is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import mace  # noqa: F401  before e3nn, see checkpoint.py
import torch
from mace.calculators.foundations_models import download_mace_mp_checkpoint, mace_mp_urls

from aiida_slhmc.worker.checkpoint import load_checkpoint, save_checkpoint
from aiida_slhmc.worker.checkpoint_header import read_metadata
from aiida_slhmc.worker.comparison import check_equal, energy_and_forces, lattice_of
from aiida_slhmc.worker.elements import filter_elements, model_elements, select_head


def import_mace_model(
    source: str | Path, destination: str | Path, elements: list[str] | None = None, *, head: str | None = None
) -> dict[str, Any]:
    """Write a checkpoint from a pickle or a published model.

    :param source: path of a ``.model`` file (THIS RUNS CODE FROM THE FILE) or one of MACE's names, such as ``small``
    :param destination: the safetensors file to write
    :param elements: symbols to keep; all of the model's when not given
    :param head: which head to keep of a model with several
    :return: the metadata of the checkpoint, see ``checkpoint_header.read_metadata``
    :raises ValueError: unknown name, no network, not a MACE model, unknown element or head, or a checkpoint that does
        not reproduce the original
    """
    path = _locate(source)
    original = _unpickle(path)
    model = select_head(original, head) if head is not None else original
    if elements:
        model = filter_elements(model, elements)
    origin = {"source": Path(source).name, "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if head is not None:
        origin["source_head"] = head
    destination = Path(destination)
    draft = destination.with_name(destination.name + ".part")
    try:
        save_checkpoint(model, draft, extra=origin)
        _verify(original, load_checkpoint(draft), head)
        draft.replace(destination)
    finally:
        draft.unlink(missing_ok=True)
    return read_metadata(destination)


def _locate(source: str | Path) -> Path:
    """Return the file, fetched by MACE where it is a published name; ValueError where there is none."""
    path = Path(source)
    if path.is_file():
        return path
    if str(source) not in mace_mp_urls:
        raise ValueError(f"{source} is neither a file nor one of MACE's names: {', '.join(mace_mp_urls)}")
    try:
        return Path(download_mace_mp_checkpoint(str(source)))
    except (OSError, RuntimeError) as exception:
        raise ValueError(
            f"could not fetch {source} from {mace_mp_urls[str(source)]}: {exception};"
            " fetch that file on a machine with network and give its path instead"
        ) from exception


def _unpickle(path: Path) -> torch.nn.Module:
    """Load a pickle: this runs the code in it."""
    try:
        model = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as exception:  # a pickle may raise anything
        raise ValueError(f"{path.name} cannot be loaded as a model: {exception}") from exception
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"{path.name} holds a {type(model).__name__}, not a model")
    return model.eval()


def _verify(original: torch.nn.Module, stored: torch.nn.Module, head: str | None) -> None:
    """Compare both models in float64 on a lattice that holds each element of the stored one."""
    original = original.double()
    check_equal(
        lambda atoms: energy_and_forces(original, atoms, head),
        lambda atoms: energy_and_forces(stored, atoms),
        lattice_of(model_elements(stored)),
        "float64",
    )


def main(arguments: list[str] | None = None) -> int:
    """Import from the command line; 2 when it fails, with one line that says why."""
    parser = argparse.ArgumentParser(prog="python -m aiida_slhmc.worker.import_model", description=__doc__)
    parser.add_argument(
        "source", help="a .model file (a pickle: its code is run) or one of MACE's names, such as small"
    )
    parser.add_argument("destination", help="the checkpoint to write, *.safetensors")
    parser.add_argument("--elements", nargs="+", metavar="SYMBOL", help="keep these elements only")
    parser.add_argument("--head", help="keep this head of a model with several")
    options = parser.parse_args(arguments)
    try:
        metadata = import_mace_model(options.source, options.destination, options.elements, head=options.head)
    except (ValueError, OSError) as exception:
        print(f"error: {exception}", file=sys.stderr)
        return 2
    print(
        f"{options.destination}: {' '.join(metadata['elements'])}, cutoff {metadata['cutoff']:g} Å,"
        f" {metadata['n_parameters']} parameters, {metadata['dtype']}, sha256 {metadata['sha256']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Checkpoints: a MACE model as a safetensors file, saved and rebuilt without pickle.

MACE's own ``.model`` files are pickles: loading one runs whatever code it holds. Here the architecture is JSON in the
header and the weights and buffers are tensors; the model is rebuilt by calling MACE's class, and its energies, forces
and stress are bitwise those of the model that was saved (in its own precision, on the same machine).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mace  # before e3nn: it sets the switch without which e3nn 0.4 cannot read its constants under torch >= 2.6
import numpy as np
import torch
from ase.data import chemical_symbols
from e3nn import o3
from mace import modules
from mace.tools.scripts_utils import extract_config_mace_model
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from aiida_slhmc.worker.checkpoint_header import FORMAT, read_metadata

DTYPES = {"float32": torch.float32, "float64": torch.float64}
_IRREPS_KEYS = ("hidden_irreps", "MLP_irreps", "edge_irreps")
_CLASS_KEYS: dict[str, dict[str, Any]] = {
    "interaction_cls": modules.interaction_classes,
    "interaction_cls_first": modules.interaction_classes,
    "readout_cls": modules.readout_classes,
}


def save_checkpoint(model: torch.nn.Module, path: str | Path, *, extra: dict[str, str] | None = None) -> None:
    """Write a model, its architecture and a description of it.

    :param model: a MACE energy model (``ScaleShiftMACE``) on any device
    :param path: the safetensors file to write
    :param extra: further metadata, strings to strings, outside the hash (for example where the model came from)
    :raises ValueError: another kind of model, or an `extra` key that this function writes itself
    """
    config = model_config(model)
    tensors = _tensors(model)
    metadata = describe_model(model, config, tensors)
    clash = set(metadata) & set(extra or {})
    if clash:
        raise ValueError(f"extra metadata may not redefine {', '.join(sorted(clash))}")
    save_file(tensors, str(path), metadata={**metadata, **(extra or {})})


def load_checkpoint(path: str | Path, *, device: str = "cpu", dtype: str = "float64") -> torch.nn.Module:
    """Rebuild a model from its checkpoint; no code of the file is run.

    :param path: the safetensors file
    :param device: where the model shall live, ``cpu`` or ``cuda``
    :param dtype: ``float64`` or ``float32``; a model of the other precision is converted
    :return: the model in evaluation mode
    :raises ValueError: truncated or foreign file, tensors that do not match the recorded hash, architecture that this
        version of MACE does not know
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    metadata = read_metadata(path)
    try:
        tensors = load_file(str(path))
    except SafetensorError as exception:
        raise ValueError(f"damaged checkpoint: {exception}") from exception
    if tensors_sha256(tensors, metadata["config"]) != metadata["sha256"]:
        raise ValueError("damaged checkpoint: its tensors or architecture do not match the recorded sha256")
    if metadata["dtype"] not in DTYPES:
        raise ValueError(f"damaged checkpoint: unknown dtype {metadata['dtype']!r}")
    model = build_model(metadata["config"], dtype=metadata["dtype"])
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as exception:
        raise ValueError(f"the tensors do not fit the architecture as MACE {mace.__version__} builds it") from exception
    return model.to(device=device, dtype=DTYPES[dtype]).eval()


def model_config(model: Any) -> dict[str, Any]:
    """Return the architecture as JSON-ready values.

    Nothing in it is a class or function: those are named, and looked up in MACE's own tables when rebuilt.

    :raises ValueError: not a ``ScaleShiftMACE`` of plain e3nn operations
    """
    name = type(model).__name__
    if name != "ScaleShiftMACE":
        raise ValueError(f"only MACE energy models (ScaleShiftMACE) can be stored, not {name}")
    if any(getattr(getattr(model, key, None), "enabled", False) for key in ("cueq_config", "oeq_config")):
        raise ValueError("convert the model to plain e3nn operations first (mace_cueq_to_e3nn or its like)")
    config = dict(extract_config_mace_model(model), cueq_config=None)
    for key, table in _CLASS_KEYS.items():
        config[key] = _name_in(table, config[key])
    config["gate"] = _name_in(modules.gate_dict, config["gate"])
    for key in _IRREPS_KEYS:
        config[key] = None if config[key] is None else str(config[key])
    # MACE keeps this outside the state dict, and reports only the first layer's
    config["avg_num_neighbors"] = [float(block.avg_num_neighbors) for block in model.interactions]
    # json turns arrays and tensors into lists here, so that what is hashed is what is read back
    return json.loads(json.dumps(config, default=_plain))


def build_model(config: dict[str, Any], *, dtype: str = "float64") -> torch.nn.Module:
    """Build a model of this architecture with fresh weights.

    :param config: what :func:`model_config` returned
    :param dtype: precision of its weights and buffers
    :raises ValueError: an architecture that the installed MACE does not know
    """
    try:
        with default_dtype(DTYPES[dtype]):
            return _construct(config)
    # a header is somebody's text: whatever MACE and e3nn make of values of other types, it is the file that is wrong
    except (ValueError, TypeError, AttributeError, LookupError, AssertionError, NotImplementedError) as exception:
        raise ValueError(f"MACE {mace.__version__} cannot build this architecture: {exception!r}") from exception


def _construct(config: dict[str, Any]) -> torch.nn.Module:
    """Call MACE's class. Names become classes and functions by MACE's own tables; nothing is evaluated or imported."""
    arguments = dict(config)
    neighbours = arguments.pop("avg_num_neighbors")
    try:
        for key, table in _CLASS_KEYS.items():
            arguments[key] = table[arguments[key]]
        arguments["gate"] = modules.gate_dict[arguments["gate"]]
    except KeyError as exception:
        raise ValueError(f"it has no {exception} that the architecture names") from exception
    for key in _IRREPS_KEYS:
        arguments[key] = None if arguments[key] is None else o3.Irreps(arguments[key])
    for key in ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift"):
        arguments[key] = np.asarray(arguments[key], dtype=np.float64)
    model = modules.ScaleShiftMACE(**{**arguments, "avg_num_neighbors": neighbours[0]})
    for block, value in zip(model.interactions, neighbours, strict=True):
        block.avg_num_neighbors = value
    return model


def describe_model(model: Any, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    """Return the metadata of a checkpoint as strings; the keys are listed in ``checkpoint_header``."""
    energies = np.atleast_2d(model.atomic_energies_fn.atomic_energies.detach().cpu().numpy())[0]
    elements = [chemical_symbols[int(number)] for number in model.atomic_numbers]
    return {
        "format": FORMAT,
        "mace_version": mace.__version__,
        "config": json.dumps(config, sort_keys=True),
        "elements": json.dumps(elements),
        "cutoff": repr(float(model.r_max)),
        "dtype": model_dtype(model),
        "n_parameters": str(sum(parameter.numel() for parameter in model.parameters())),
        "atomic_energies": json.dumps({symbol: float(value) for symbol, value in zip(elements, energies, strict=True)}),
        "heads": json.dumps(list(config["heads"])),
        "sha256": tensors_sha256(tensors, config),
    }


def model_dtype(model: torch.nn.Module) -> str:
    """Return ``float64`` or ``float32``, the precision of the model's weights."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def tensors_sha256(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> str:
    """Return the hash of the weights and the architecture, the same for equal models whatever the file's layout.

    Over the tensors in the order of their names: name, dtype, shape and bytes (row-major), then the architecture.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{str(tensor.dtype).removeprefix('torch.')}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.numpy().tobytes())
    digest.update(json.dumps(config, sort_keys=True).encode())
    return digest.hexdigest()


def _tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return weights and buffers as own copies on the CPU (safetensors refuses tensors that share memory)."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}


def _name_in(table: dict[str, Any], value: Any) -> str:
    """Return the name under which MACE lists a class or function; ValueError when it does not."""
    for name, candidate in table.items():
        if candidate is value or (value is not None and getattr(candidate, "__name__", "") == value.__name__):
            return name
    raise ValueError(f"the model uses {value}, which MACE {mace.__version__} does not list by name")


def _plain(value: Any) -> Any:
    """Give json the plain form of an array, a tensor or a NumPy scalar."""
    if isinstance(value, (np.ndarray, torch.Tensor, np.generic)):
        return value.tolist()
    raise ValueError(f"the architecture holds a {type(value).__name__}, which cannot be stored")


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Build in this precision (MACE's modules follow torch's default) and leave torch's default as it was."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

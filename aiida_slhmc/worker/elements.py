"""Cut a many-element foundation model to the elements that are needed.

An 89-element model cut to two elements gives the same interaction energies and forces, is ten times smaller and far
cheaper to train.
"""

from __future__ import annotations

from typing import Any

import mace  # noqa: F401  before e3nn, see checkpoint.py
import torch
from ase.data import atomic_numbers, chemical_symbols
from e3nn import o3
from mace.tools import AtomicNumberTable
from mace.tools.finetuning_utils import load_foundations_elements
from mace.tools.scripts_utils import remove_pt_head

from aiida_slhmc.worker.checkpoint import build_model, default_dtype, model_config, model_dtype


def model_elements(model: Any) -> list[str]:
    """Return the symbols of the elements a model knows, in its own order (by atomic number)."""
    return [chemical_symbols[int(number)] for number in model.atomic_numbers]


def filter_elements(model: Any, symbols: list[str]) -> torch.nn.Module:
    """Return a model that knows only these elements and gives the same energies for them.

    :param model: a MACE energy model with one head; it is left unchanged
    :param symbols: the elements to keep, in any order
    :raises ValueError: the model lacks one of them, or has several heads (choose one with :func:`select_head`)
    """
    known = model_elements(model)
    wanted = sorted(set(symbols), key=lambda symbol: atomic_numbers.get(symbol, 0))
    missing = [symbol for symbol in wanted if symbol not in known]
    if missing or not wanted:
        raise ValueError(f"the model lacks {', '.join(missing) or 'what was asked for: no element'}")
    config, dtype = model_config(model), model_dtype(model)
    if len(config["heads"]) > 1:
        raise ValueError(f"choose one head of {', '.join(config['heads'])} before the elements")
    source = model.state_dict()
    if wanted == known:
        tensors = source
    else:
        config = _cut_config(config, known, wanted)
        tensors = _cut_tensors(model, config, wanted, dtype)
    cut = build_model(config, dtype=dtype)
    cut.load_state_dict(tensors, strict=True)
    return cut.eval()


def select_head(model: Any, head: str) -> torch.nn.Module:
    """Return a one-head model that gives this head's energies; ValueError when the model has no such head."""
    heads = list(getattr(model, "heads", ["Default"]))  # models pickled by old versions of MACE have no heads
    if head not in heads:
        raise ValueError(f"the model has no head {head!r}; it has {', '.join(heads)}")
    if len(heads) == 1:
        return model
    with default_dtype(getattr(torch, model_dtype(model))):
        return remove_pt_head(model, head).eval()


def _cut_config(config: dict[str, Any], known: list[str], wanted: list[str]) -> dict[str, Any]:
    """Return the architecture with fewer elements."""
    kept = [known.index(symbol) for symbol in wanted]
    energies = config["atomic_energies"]
    rows = energies if isinstance(energies[0], list) else [energies]
    return {
        **config,
        "num_elements": len(wanted),
        "atomic_numbers": [atomic_numbers[symbol] for symbol in wanted],
        "atomic_energies": [[row[index] for index in kept] for row in rows],
    }


def _cut_tensors(model: Any, config: dict[str, Any], wanted: list[str], dtype: str) -> dict[str, torch.Tensor]:
    """Return the weights of the smaller model.

    MACE's own function cuts the tensors that depend on the elements. It leaves others fresh (scale, shift, pair
    repulsion); those have the same shape in both models and are copied here.
    """
    table = AtomicNumberTable([atomic_numbers[symbol] for symbol in wanted])
    draft = build_model(config, dtype=dtype)
    energies = draft.state_dict()["atomic_energies_fn.atomic_energies"].clone()
    lmax = o3.Irreps(config["hidden_irreps"]).lmax
    load_foundations_elements(draft, model, table, load_readout=True, max_L=lmax, default_dtype=getattr(torch, dtype))
    tensors = dict(draft.state_dict())
    for name, value in model.state_dict().items():
        if tensors[name].shape == value.shape:
            tensors[name] = value
    tensors["atomic_energies_fn.atomic_energies"] = energies
    return tensors

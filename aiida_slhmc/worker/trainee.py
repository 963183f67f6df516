"""The form in which a model is trained, and the way back to a plain float64 model.

- ``kernels``: MACE's fused kernels, where their package is installed. They gain on large models on a GPU only;
- ``freeze``: layers that keep their weights;
- ``lora``: the weights stay, low-rank additions (of MACE) are trained and merged into them at the end;
- ``dtype`` float32: total energies would be resolved to milli-eV only, so the energy references are taken off model and
  labels, and only interaction energies are single precision. The model that comes back is float64: proposals need that
  to be reversible.
"""

from __future__ import annotations

from copy import copy
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from mace.data import AtomicData
from mace.modules.lora import inject_lora, merge_lora_weights
from mace.tools.scripts_utils import freeze_module

from aiida_slhmc.worker.checkpoint import DTYPES, build_model, default_dtype, model_config
from aiida_slhmc.worker.fine_tune_parameters import FineTuneParameters
from aiida_slhmc.worker.references import get_atomic_energies, set_atomic_energies

__all__ = ("Trainee", "fresh_model")

# layers in the words of the options -> attribute of MACE's model
_LAYERS = {
    "embedding": "node_embedding",
    "interactions": "interactions",
    "products": "products",
    "readouts": "readouts",
}


class _Kernels(NamedTuple):
    """A package of fused kernels, and MACE's converters to it and back."""

    package: str
    there: str
    back: str


_KERNELS = {
    "cuequivariance": _Kernels("cuequivariance_torch", "mace.cli.convert_e3nn_cueq", "mace.cli.convert_cueq_e3nn"),
    "openequivariance": _Kernels("openequivariance", "mace.cli.convert_e3nn_oeq", "mace.cli.convert_oeq_e3nn"),
}


class Trainee:
    """A model in the form in which it is trained: ``model``; :meth:`plain` is what becomes of it.

    ``references`` are its energy references, {symbol: eV}.
    """

    def __init__(self, model: torch.nn.Module, parameters: FineTuneParameters) -> None:
        """Take a float64 model, whose weights are changed by the training.

        :raises ValueError: fused kernels without their package
        """
        self.parameters = parameters
        self._device = next(model.parameters()).device
        self.references = get_atomic_energies(model)
        self.model = _with_kernels(model, parameters.kernels, self._device)
        for layer in parameters.freeze:
            freeze_module(getattr(self.model, _LAYERS[layer]))
        if parameters.lora is not None:
            with default_dtype(torch.float64), torch.random.fork_rng(devices=[]):
                torch.manual_seed(parameters.seed)
                inject_lora(self.model, rank=parameters.lora.rank, alpha=parameters.lora.alpha)
        if self._is_single:
            self.model.float()
            set_atomic_energies(self.model, dict.fromkeys(self.references, 0.0))

    def graphs(self, graphs: list[AtomicData]) -> list[AtomicData]:
        """Return float64 graphs in the precision of the training."""
        return [self._single(graph) for graph in graphs] if self._is_single else graphs

    def plain(self) -> torch.nn.Module:
        """Return the model in float64, with MACE's own kernels, in evaluation mode; the trainee is of no more use."""
        model = self.model.double()
        with default_dtype(torch.float64):
            if self.parameters.lora is not None:
                model = merge_lora_weights(model)
            model = _without_kernels(model, self.parameters.kernels, self._device)
        for weight in model.parameters():
            weight.requires_grad_(True)
        set_atomic_energies(model, self.references)
        return model.eval()

    @property
    def _is_single(self) -> bool:
        return self.parameters.dtype == "float32"

    def _single(self, graph: AtomicData) -> AtomicData:
        energies = torch.tensor(list(self.references.values()), dtype=torch.float64)
        single = copy(graph)
        single.energy = graph.energy - (graph.node_attrs @ energies).sum()
        for key in graph.keys:
            value = single[key]
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                single[key] = value.to(DTYPES["float32"])
        return single


def fresh_model(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Return a model of the same architecture with random weights; references, scale and shift are the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_model(model_config(model))
    return fresh.to(next(model.parameters()).device).eval()


def _with_kernels(model: Any, kernels: str, device: torch.device) -> Any:
    """Return the model with fused kernels; the same one where MACE's own are asked for."""
    if kernels == "e3nn":
        return model
    package = _KERNELS[kernels].package
    if find_spec(package) is None:
        raise ValueError(f"kernels {kernels!r} need the package {package} beside mace-torch; install it")
    return _converted(model, _KERNELS[kernels].there, device)


def _without_kernels(model: Any, kernels: str, device: torch.device) -> Any:
    return model if kernels == "e3nn" else _converted(model, _KERNELS[kernels].back, device)


def _converted(model: Any, converter: str, device: torch.device) -> Any:
    # imported here: MACE's converters warn where the packages are missing
    with default_dtype(torch.float64):
        return import_module(converter).run(model, device=str(device), return_model=True)

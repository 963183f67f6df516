"""MaceModelData: one MACE checkpoint, stored and loaded without unpickling anything."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any, BinaryIO

from aiida import orm

from aiida_slhmc.worker.checkpoint_header import read_metadata

__all__ = ("MaceModelData",)


class MaceModelData(orm.Data):
    """Weights as safetensors with the architecture as JSON in the same file's header.

    Attributes to query by: ``elements``, ``cutoff`` (Å), ``dtype``, ``n_parameters``, ``atomic_energies``
    (eV by symbol), ``mace_version``, ``sha256`` (of the tensors and the architecture, not of the file), and ``source``,
    ``source_sha256`` for an imported foundation model. A fine-tuned one has ``references_of`` (the functional that the
    energy references were fitted to), ``errors`` (what it has gained on its labels, ``validation``, and lost on other
    sets, ``probes`` by name; each a dictionary with ``loss``, ``energy_rmse_mev_per_atom``,
    ``force_rmse_mev_per_angstrom`` and more) and ``foundation_references`` (eV by symbol) of the model that its lineage
    started from. The parent of a fine-tuned model is found through provenance.
    """

    FILENAME = "model.safetensors"
    ATTRIBUTES = (
        "elements",
        "cutoff",
        "dtype",
        "n_parameters",
        "atomic_energies",
        "heads",
        "mace_version",
        "sha256",
        "source",
        "source_sha256",
        "references_of",
        "errors",
        "foundation_references",
    )
    # those that the header has as JSON and read_metadata leaves as a string
    JSON_ATTRIBUTES = ("errors", "foundation_references")

    def __init__(self, *, checkpoint: str | Path | BinaryIO, **kwargs: Any) -> None:
        """Make an unstored node of a checkpoint file.

        :param checkpoint: path of, or open file on, a checkpoint written by the worker; a MACE ``.model`` file has to
            be converted first with ``python -m aiida_slhmc.worker.import_model``.
        :raises ValueError: if it is not such a checkpoint.
        """
        super().__init__(**kwargs)
        content = Path(checkpoint).read_bytes() if isinstance(checkpoint, str | Path) else checkpoint.read()
        metadata = read_metadata(io.BytesIO(content))
        metadata |= {key: _decode(key, metadata[key]) for key in self.JSON_ATTRIBUTES if key in metadata}
        self.base.attributes.set_many({key: metadata[key] for key in self.ATTRIBUTES if key in metadata})
        self.base.repository.put_object_from_bytes(content, self.FILENAME)

    @property
    def elements(self) -> list[str]:
        """Symbols of the elements the model knows."""
        return list(self.base.attributes.get("elements"))

    @property
    def errors(self) -> dict[str, Any] | None:
        """Errors of a fine-tuned model on its ``validation`` set and its ``probes``; None where it does not say."""
        return self.base.attributes.get("errors", None)

    @property
    def foundation_references(self) -> dict[str, float] | None:
        """Energy references (eV by symbol) of the model that the lineage started from; None where it does not say."""
        return self.base.attributes.get("foundation_references", None)

    def _prepare_safetensors(self, main_file_name: str = "") -> tuple[bytes, dict[str, Any]]:
        """What AiiDA's ``node.export(path)`` writes: the checkpoint file as it is."""
        return self.base.repository.get_object_content(self.FILENAME, "rb"), {}


def _decode(key: str, text: Any) -> dict[str, Any]:
    """The dictionary that the header has under *key* as JSON; null in the place of numbers that are not finite.

    :raises ValueError: if it is none.
    """
    try:
        content = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (TypeError, ValueError) as error:
        raise ValueError(f"damaged checkpoint: {key} in its header is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"damaged checkpoint: {key} in its header is not a JSON object")
    return content


def _finite(text: str) -> float | None:
    """The number, or None where it is too large to be one (1e999)."""
    return float(text) if math.isfinite(float(text)) else None

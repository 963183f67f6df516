"""MaceModelData: one MACE checkpoint, stored and loaded without unpickling anything."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

from aiida import orm

from aiida_slhmc.worker.checkpoint_header import read_metadata

__all__ = ("MaceModelData",)


class MaceModelData(orm.Data):
    """Weights as safetensors with the architecture as JSON in the same file's header.

    Attributes to query by: ``elements``, ``cutoff`` (Å), ``dtype``, ``n_parameters``, ``atomic_energies``
    (eV by symbol), ``mace_version``, ``sha256`` (of the tensors and the architecture, not of the file), and ``source``,
    ``source_sha256`` for an imported foundation model, ``references_of`` (functional and engine that the energy
    references were fitted to) for a fine-tuned one. The parent of a fine-tuned model is found through provenance.
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
    )

    def __init__(self, *, checkpoint: str | Path | BinaryIO, **kwargs: Any) -> None:
        """Make an unstored node of a checkpoint file.

        :param checkpoint: path of, or open file on, a checkpoint written by the worker; a MACE ``.model`` file has to
            be converted first with ``python -m aiida_slhmc.worker.import_model``.
        :raises ValueError: if it is not such a checkpoint.
        """
        super().__init__(**kwargs)
        content = Path(checkpoint).read_bytes() if isinstance(checkpoint, str | Path) else checkpoint.read()
        metadata = read_metadata(io.BytesIO(content))
        self.base.attributes.set_many({key: metadata[key] for key in self.ATTRIBUTES if key in metadata})
        self.base.repository.put_object_from_bytes(content, self.FILENAME)

    @property
    def elements(self) -> list[str]:
        """Symbols of the elements the model knows."""
        return list(self.base.attributes.get("elements"))

    def _prepare_safetensors(self, main_file_name: str = "") -> tuple[bytes, dict[str, Any]]:
        """What AiiDA's ``node.export(path)`` writes: the checkpoint file as it is."""
        return self.base.repository.get_object_content(self.FILENAME, "rb"), {}

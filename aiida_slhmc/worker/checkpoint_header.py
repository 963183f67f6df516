"""Read what a checkpoint says about itself, with the standard library only.

The AiiDA process has neither torch nor MACE; it reads a model's elements, cutoff, energy references and hash from the
header of the safetensors file: eight bytes (little-endian length), then that many bytes of JSON, then the tensors.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

FORMAT = "aiida-slhmc-mace-1"
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself
_JSON_KEYS = ("config", "elements", "atomic_energies", "heads")
_REQUIRED_KEYS = (*_JSON_KEYS, "mace_version", "cutoff", "dtype", "n_parameters", "sha256")


def read_metadata(source: str | Path | BinaryIO) -> dict[str, Any]:
    """Return the metadata of a checkpoint without reading its tensors.

    :param source: path of the file, or a binary handle that can seek
    :return: ``format``, ``mace_version``, ``config`` (dict), ``elements`` (list of symbols), ``cutoff`` (Å), ``dtype``,
        ``n_parameters``, ``atomic_energies`` ({symbol: eV} of the first head), ``heads`` (list), ``sha256``, and as
        strings whatever else was stored
    :raises ValueError: not a safetensors file, truncated, or not a checkpoint of this package
    """
    if isinstance(source, (str, Path)):
        with Path(source).open("rb") as handle:
            return _decode(_read_header(handle))
    return _decode(_read_header(source))


def _read_header(handle: BinaryIO) -> dict[str, str]:
    """Return the string-to-string metadata of a safetensors file; ValueError when the file is not whole."""
    size = handle.seek(0, 2)
    handle.seek(0)
    start = handle.read(8)
    if len(start) < 8:
        raise ValueError(f"not a checkpoint: the file has {size} bytes, too few for a safetensors header")
    (length,) = struct.unpack("<Q", start)
    if length > MAX_HEADER_BYTES:
        raise ValueError("not a checkpoint: the file does not start with a safetensors header")
    raw = handle.read(length)
    if len(raw) < length:
        raise ValueError(f"truncated checkpoint: the header needs {length} bytes, the file holds {len(raw)} of them")
    try:
        header = json.loads(raw.decode("utf-8"))
    except ValueError as exception:  # UnicodeDecodeError and JSONDecodeError are both ValueErrors
        raise ValueError("not a checkpoint: its safetensors header is not JSON") from exception
    if not isinstance(header, dict):
        raise ValueError("not a checkpoint: its safetensors header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("not a checkpoint: the metadata of its header are not strings")
    expected = 8 + length + _tensor_bytes(header)
    if size < expected:
        raise ValueError(f"truncated checkpoint: its header announces {expected} bytes, the file has {size}")
    return metadata


def _tensor_bytes(header: dict[str, Any]) -> int:
    """Return how many bytes of tensors the header announces."""
    try:
        return max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (KeyError, IndexError, TypeError, ValueError) as exception:
        raise ValueError("not a checkpoint: its header does not list tensors") from exception


def _decode(metadata: dict[str, str]) -> dict[str, Any]:
    """Turn the strings of the header into values; ValueError when something this package writes is absent."""
    found = metadata.get("format")
    if found != FORMAT:
        raise ValueError(
            f"this safetensors file is not a checkpoint of this package: its format is {found!r}, not {FORMAT!r}"
            " (make one with `python -m aiida_slhmc.worker.import_model`)"
        )
    missing = [key for key in _REQUIRED_KEYS if key not in metadata]
    if missing:
        raise ValueError(f"damaged checkpoint: its header lacks {', '.join(missing)}")
    decoded: dict[str, Any] = dict(metadata)
    try:
        for key in _JSON_KEYS:
            decoded[key] = json.loads(metadata[key])
        decoded["cutoff"] = float(metadata["cutoff"])
        decoded["n_parameters"] = int(metadata["n_parameters"])
    except ValueError as exception:
        raise ValueError(f"damaged checkpoint: {exception}") from exception
    return decoded

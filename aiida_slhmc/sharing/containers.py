"""What is in compressed files and containers, in files in them, and which of them nobody can look into."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ("Part", "unpack")

# compressed files in compressed files are looked into so deep
DEPTH = 4
OPENERS = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}
# what begins like this is compressed in a way that Python does not read
CLOSED = {
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
    b"\x1f\x9d": "compress",
    b"LZIP": "lzip",
}
# what a damaged or encrypted file may be opened with
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError)
BROKEN = (*DAMAGED, zipfile.BadZipFile, tarfile.TarError)


class Part(NamedTuple):
    """Bytes to search, and why there is more in them that cannot be searched, None where there is not."""

    content: bytes
    closed: str | None = None


def unpack(content: bytes, depth: int = DEPTH) -> Iterator[Part]:
    """The content itself and, where it is compressed or a container, all that is in it."""
    try:
        members = _members(content)
    except BROKEN as error:
        yield Part(content, f"a compressed file that cannot be opened ({type(error).__name__})")
        return
    if members is None:
        kind = next((name for start, name in CLOSED.items() if content.startswith(start)), None)
        yield Part(content, f"a file compressed by {kind}, which is not searched" if kind else None)
    elif depth == 0:
        yield Part(content, f"files in files, more than {DEPTH} deep")
    else:
        yield Part(content)
        for member in members:
            yield from unpack(member, depth - 1)


def _members(content: bytes) -> list[bytes] | None:
    """What a compressed file or a container holds, its names too; None where it is neither."""
    for start, decompress in OPENERS.items():
        if content.startswith(start):
            return [decompress(content)]
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return ["\n".join(archive.namelist()).encode(), *(archive.read(name) for name in archive.namelist())]
    if content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = [archive.extractfile(member) for member in archive if member.isfile()]
            # names and owners are in the headers, which are searched as they are
            return [file.read() for file in files if file is not None]
    return None

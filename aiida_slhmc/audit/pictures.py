"""Comparing pictures (PNG): the same program draws the same pixels, another version of it may not."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = ("PictureError", "compare_pictures", "judge_pictures")

# steps of 256: processors may round a colour differently
STEPS = 2


class PictureError(ValueError):
    """What should be a picture and is none."""


def compare_pictures(stored: bytes, rebuilt: bytes) -> str | None:
    """What differs, None where the pixels are the same.

    :raises PictureError: if one is no picture.
    """
    pixels, new_pixels = _read(stored), _read(rebuilt)
    if pixels.shape != new_pixels.shape:
        return f"a picture of {pixels.shape[:2]} pixels, rebuilt {new_pixels.shape[:2]}"
    changed = np.abs(pixels.astype(int) - new_pixels.astype(int)).max(axis=-1) > STEPS
    return f"{100 * changed.mean():.2g} % of its pixels differ" if changed.any() else None


def judge_pictures(compared: dict[str, str | None]) -> tuple[list[str], list[str]]:
    """What differs in the pictures of one node, and notes, from the results by file name.

    Where one picture comes out equal, the program is the one that drew them all, and another that does not is a
    difference. Where all differ, another version of the program is the likely reason: this proves nothing.
    """
    sentences = [f"{name}: {what}" for name, what in compared.items() if what]
    if len(sentences) < len(compared):
        return sentences, []
    advice = "no picture of this node comes out equal, so another version of the program may have drawn them; look"
    return [], [f"{sentence} ({advice})" for sentence in sentences]


def _read(content: bytes) -> NDArray[np.uint8]:
    """The pixels, (height, width, 4)."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            return np.asarray(picture.convert("RGBA"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"no picture: {error}") from error

"""Examples below a command's options."""

from __future__ import annotations

__all__ = ("examples",)


def examples(*lines: str) -> str:
    """The `epilog` of a command: the *lines* as they are, which click would otherwise fill into a paragraph."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])

"""The pages of the documentation, their links and their blocks of code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)(`{3,})([^\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its page, language (or directive with its argument) and text."""

    page: str
    language: str
    text: str


def pages() -> list[Path]:
    """All pages in Markdown, those at the top of the clone included."""
    return sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    """The blocks of all pages that have one of these languages."""
    found = []
    for page in pages():
        for match in FENCE.finditer(page.read_text()):
            lines = match[4].splitlines()
            text = "\n".join(line.removeprefix(match[1]) for line in lines)
            found.append(Block(name_of(page), match[3].strip(), text))
    return [block for block in found if block.language in languages]


def without_code(text: str) -> str:
    """A page without its blocks and code spans, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(page: Path) -> set[str]:
    """What links may point to: the headings, as forges and MyST name them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

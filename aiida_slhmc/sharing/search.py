"""Looking for what must not be passed on in text and in files: POTCARs, names, addresses and paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from aiida_slhmc.sharing.containers import unpack

__all__ = ("REMOVED_DOMAIN", "Search")

# takes the place of host names and of the domains of e-mail addresses; nobody can have it (RFC 2606)
REMOVED_DOMAIN = "removed.invalid"

# headings of a POTCAR's potential. OUTCAR repeats the header above them (VRHFIN, TITEL, …), and none of these
POTCAR_HEADINGS = ("END of PSCTR-contr", "End of Dataset", "PAW radial sets", "Reciprocal Space Part")
# whoever's files these are: a home, and what CP2K and schedulers write into their outputs
PRIVATE = {
    "a home folder": r"/(?i:home|users|root)[0-9]*/[A-Za-z0-9._-]+",
    "the line of CP2K's output that names host, user or folder": r"PROGRAM (?:RAN ON|RAN BY|STARTED IN|STOPPED IN)\s",
    "a message of Slurm that names a node": (
        r"(?:slurmstepd|srun): error: (?:\S+: tasks? |\*\*\* (?:JOB|STEP) \S+ ON \S|Node \S)"
    ),
    "a message of LSF that names a host": r"Job was (?:submitted from|executed on) host(?:\(s\))? <",
}
# so short that they come up by chance in numbers stored as bytes; looked for in text, and in text among bytes
SHORT = {"a home folder (/u/…)": r"(?<![A-Za-z0-9._/-])/u/[A-Za-z][A-Za-z0-9._-]{2,}"}
SHORT_WORD = 6
EMAIL = re.compile(rb"[A-Za-z0-9._+-]{2,}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
# how checkpoints name their labels, `gfn1@tblite.ase.TBLite`: what ends in the name of a class is no address
CLASS = re.compile(rb"\.(?=[A-Za-z0-9]*[a-z])[A-Z][A-Za-z0-9]*[A-Z][A-Za-z0-9]*$")
# printable characters in a row among bytes: no chance in numbers
READABLE = re.compile(rb"[\x20-\x7e]{16,}")
# a character that JSON and Python write by its number; in JSON within JSON there are several backslashes
ESCAPED = re.compile(rb"\\+u([0-9a-fA-F]{4})")


class Search:
    """Looks for POTCARs, homes, e-mail addresses and the given words in text and in files."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        """Prepare to look for these *words* (host names, paths, …) beside what is never passed on.

        A word that begins or ends with a letter or a digit is not found in the middle of another.
        """
        self.words = sorted({word for word in words if word})
        fixed = {f"POTCAR ({heading})": re.escape(heading) for heading in POTCAR_HEADINGS} | PRIVATE
        long = fixed | {f"'{word}'": _whole(word) for word in self.words if len(word) >= SHORT_WORD}
        short = SHORT | {f"'{word}'": _whole(word) for word in self.words if len(word) < SHORT_WORD}
        self._long, self._short = _Patterns(long), _Patterns(short)

    def text(self, text: str) -> list[str]:
        """What is in *text*, in words; empty for nothing."""
        return self._plain(text.encode("utf-8", errors="replace"))

    def json(self, value: object) -> list[str]:
        """What is in the values and keys of a JSON document."""
        return self.text("\n".join(_texts(value)))

    def content(self, content: bytes) -> list[str]:
        """What is in a file, compressed ones unpacked; what cannot be searched counts as found."""
        found: list[str] = []
        for part in unpack(content):
            found += self._plain(part.content) + ([part.closed] if part.closed else [])
        return list(dict.fromkeys(found))

    def _plain(self, content: bytes) -> list[str]:
        readable = content if _is_text(content) else b"\n".join(READABLE.findall(content))
        found = self._long.found_in(content) + self._readable(readable)
        if b"\\u" in readable:
            readable = ESCAPED.sub(_character, readable)
            found += self._long.found_in(readable) + self._readable(readable)
        return list(dict.fromkeys(found))

    def _readable(self, text: bytes) -> list[str]:
        addresses = {match.decode() for match in EMAIL.findall(text) if not CLASS.search(match)}
        found = sorted(f"'{address}'" for address in addresses if not address.endswith(REMOVED_DOMAIN))
        return self._short.found_in(text) + found


class _Patterns:
    """Regular expressions by what they find."""

    def __init__(self, patterns: dict[str, str]) -> None:
        self._patterns = {what: re.compile(_in_bytes(pattern)) for what, pattern in patterns.items()}
        # one pass over each file; only where it finds something, another one for each pattern
        self._any = re.compile(b"|".join(b"(?:%b)" % pattern.pattern for pattern in self._patterns.values()))

    def found_in(self, content: bytes) -> list[str]:
        if not self._any.search(content):
            return []
        return [what for what, pattern in self._patterns.items() if pattern.search(content)]


def _texts(value: object, name: str = "") -> Iterator[str]:
    """Keys and values, one a line, as they are: in JSON itself the first word of a line would follow an ``n``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, str(key))
    elif isinstance(value, list | tuple):
        yield name
        for item in value:
            yield from _texts(item)
    else:
        yield f'{name} "{value}"'


def _whole(word: str) -> str:
    """The pattern of *word* by itself."""
    before = "(?<![A-Za-z0-9])" if word[0].isalnum() else ""
    after = "(?![A-Za-z0-9])" if word[-1].isalnum() else ""
    return before + re.escape(word) + after


def _in_bytes(pattern: str) -> bytes:
    """The pattern in UTF-8 and, where that is something else, in Latin-1, which old programs write."""
    encodings = {pattern.encode(encoding, errors="replace"): None for encoding in ("utf-8", "latin-1")}
    return b"|".join(encodings)


def _character(match: re.Match[bytes]) -> bytes:
    return chr(int(match.group(1), 16)).encode("utf-8", errors="replace")


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content

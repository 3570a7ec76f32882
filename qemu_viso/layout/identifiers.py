"""Identifiers: what a name becomes in the primary and in the Joliet tree.

All names of a directory are turned at once. The usual ones need no more than a change of case, which is done for the
whole directory in one go; only directories with a name that needs more are looked at name by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qemu_viso.ondisk.joliet import ILLEGAL, NAME_UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VERSION = b";1"
"""7.5.1: what every file identifier ends with."""
LONG_LIMIT = 29
"""Characters of an identifier at levels 2 and 3, so that 31 with the version suffix (ECMA-119 7.5.1, 10.1)."""
SHORT_BASE, SHORT_EXTENSION = 8, 3
"""Characters before and after the dot at level 1 (ECMA-119 10.1)."""

_PLAIN_FILES = re.compile(r"(?:[A-Z0-9_]+\.[A-Z0-9_]+/)*")
_PLAIN_DIRECTORIES = re.compile(r"(?:[A-Z0-9_]+/)*")
_NOT_D_CHARACTER = re.compile(r"[^A-Z0-9_]")
_JOLIET_ILLEGAL = re.compile(f"[{re.escape(ILLEGAL)}\x00-\x1f\ud800-\udfff]")


def iso_files(names: list[str], level: int) -> list[str]:
    """Identifiers for files, with the dot but without the version (7.5), unique and in the order of `names`."""
    plain = "/".join(names).upper()
    if level > 1 and _PLAIN_FILES.fullmatch(f"{plain}/") and max(map(len, names)) <= LONG_LIMIT:
        found = plain.split("/")
        if len(set(found)) == len(found):
            return found
    stems = _unique((_file_parts(name, level) for name in names), _file_limit(level))
    return [f"{base}.{extension}" for base, extension in stems]


def iso_directories(names: list[str], level: int, taken: Iterable[str] = ()) -> list[str]:
    """Identifiers for directories (7.6), unique, also beside the files' identifiers `taken`."""
    limit = LONG_LIMIT + 2 if level > 1 else SHORT_BASE
    # A file without extension differs from a directory by its dot only, which readers do not show.
    bare = {identifier[:-1] for identifier in taken if identifier.endswith(".")}
    plain = "/".join(names).upper()
    if _PLAIN_DIRECTORIES.fullmatch(f"{plain}/") and max(map(len, names)) <= limit:
        found = plain.split("/")
        if len(set(found)) == len(found) and bare.isdisjoint(found):
            return found
    parts = ((_d_characters(name)[:limit], "") for name in names)
    return [base for base, _ in _unique(parts, lambda _: limit, {(name, "") for name in bare})]


def _d_characters(text: str) -> str:
    """Everything that is not a d-character (7.4.1) becomes an underscore."""
    return _NOT_D_CHARACTER.sub("_", text.upper())


def _file_parts(name: str, level: int) -> tuple[str, str]:
    """File name and extension (7.5.1), both in d-characters and cut to the level's lengths, not yet unique."""
    base, dot, extension = name.rpartition(".")
    if not dot or not base.strip("."):
        base, extension = name, ""
    base, extension = _d_characters(base), _d_characters(extension)
    if level == 1:
        return base[:SHORT_BASE], extension[:SHORT_EXTENSION]
    room = LONG_LIMIT - 1  # the dot is always there
    extension = extension[: max(SHORT_EXTENSION, room - len(base))]
    return base[: room - len(extension)], extension


def _file_limit(level: int) -> Callable[[str], int]:
    """How long the part before the dot may be, given the extension."""
    if level == 1:
        return lambda _: SHORT_BASE
    return lambda extension: LONG_LIMIT - 1 - len(extension)


def _unique(
    parts: Iterable[tuple[str, str]],
    limit: Callable[[str], int],
    taken: set[tuple[str, str]] | None = None,
) -> list[tuple[str, str]]:
    """Make (base, extension) pairs unique: one that is taken gets a number at the end of its base."""
    seen = set(taken or ())
    counters: dict[tuple[str, str], int] = {}
    result = []
    for pair in parts:
        base, extension = pair
        while pair in seen:
            number = counters[base, extension] = counters.get((base, extension), 0) + 1
            digits = str(number)
            pair = (base[: limit(extension) - len(digits)] + digits, extension)
        seen.add(pair)
        result.append(pair)
    return result


def joliet_names(names: list[str]) -> list[bytes]:
    """Names in UTF-16BE, in the order of `names`, unique also for readers that drop dots at the end.

    Illegal characters become underscores, undecodable bytes U+FFFD. A name of more than 110 units is shortened, and
    keeps its extension.
    """
    if not names:
        return []
    joined = "/".join(names) + "/"
    plain = joined.isascii() and "./" not in joined and max(map(len, names)) <= NAME_UNITS
    if plain and not _JOLIET_ILLEGAL.search(joined.replace("/", "")):
        # Of ASCII only the second byte of a unit is not zero, so that no half of two units looks like a slash.
        return joined.encode("utf-16-be").split(b"\0/")[:-1]
    fitting = [_fitting(name) for name in names]
    intact = [text == name for text, name in zip(fitting, names, strict=True)]
    # Names that stay as they are come first, so that none that is changed takes theirs.
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    result = [""] * len(names)
    for index in sorted(range(len(names)), key=lambda index: (not intact[index], index)):
        text = start = fitting[index]
        while _shown(text) in seen:
            numbers[start] = numbers.get(start, 0) + 1
            text = _fitting(names[index], f"~{numbers[start]}")
        seen.add(_shown(text))
        result[index] = text
    return [text.encode("utf-16-be") for text in result]


def _shown(text: str) -> str:
    """A name as readers show it that cannot have dots at the end (Windows, and Linux's isofs)."""
    return text.rstrip(".")


def _fitting(name: str, suffix: str = "") -> str:
    """A legal name of at most 110 units, with `suffix` before its extension; a surrogate pair is never cut in two."""
    cleaned = _JOLIET_ILLEGAL.sub(lambda found: "\ufffd" if found[0] >= "\ud800" else "_", name)
    if not _shown(cleaned):
        cleaned = "_" * len(cleaned)
    if not suffix and units(cleaned) <= NAME_UNITS:
        return cleaned
    base, dot, extension = cleaned.rpartition(".")
    if not dot or not base or not extension or units(extension) > NAME_UNITS // 4:
        base, dot, extension = cleaned.rstrip("."), "", ""
    tail = suffix + dot + extension
    head = base.encode("utf-16-be")[: 2 * (NAME_UNITS - units(tail))]
    return head.decode("utf-16-be", "ignore") + tail


def units(text: str) -> int:
    """UTF-16 units of a text."""
    return len(text.encode("utf-16-be", "surrogatepass")) // 2

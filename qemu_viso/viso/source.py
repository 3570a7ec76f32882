"""A text with its name: where a word stands in it, worked out only when somebody asks."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from qemu_viso.errors import Place

if TYPE_CHECKING:
    from array import array

_SHOWN = 60
_OPTION = re.compile(r"""['"]?(-[\w-]+)""")


class Source:
    """The text of a recipe or response file.

    Args:
        file: the name that messages give.
        text: the whole text; offsets count its characters.
    """

    __slots__ = ("_ends", "file", "text")

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._ends: array[int] | None = None

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Both count from 1; a line ends with LF, a column is a character."""
        if self._ends is None:
            self._ends = _line_ends(self.text)
        line = bisect_left(self._ends, offset)
        start = self._ends[line - 1] + 1 if line else 0
        return line + 1, offset - start + 1


def _line_ends(text: str) -> array[int]:
    from array import array

    ends = array("L")
    at = text.find("\n")
    while at >= 0:
        ends.append(at)
        at = text.find("\n", at + 1)
    return ends


class Spot(Place):
    """A `Place` that costs an offset: a recipe has a million of them, and few are ever shown.

    The fields of `Place` are properties here; equality and hash are those of the values.
    """

    __slots__ = ("_offset", "_source")

    _offset: int
    _source: Source

    def __init__(self, source: Source, offset: int) -> None:
        _set_source(self, source)
        _set_offset(self, offset)

    @property
    def rest(self) -> str:
        """The text from here on, as much of it as an option takes."""
        return self._source.text[self._offset : self._offset + _SHOWN]

    @property  # type: ignore[misc]
    def file(self) -> str:
        """The file's name."""
        return self._source.file

    @property  # type: ignore[misc]
    def line(self) -> int:
        """The line, from 1."""
        return self._source.line_and_column(self._offset)[0]

    @property  # type: ignore[misc]
    def column(self) -> int:
        """The column in characters, from 1."""
        return self._source.line_and_column(self._offset)[1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Place):
            return NotImplemented
        return (self.file, self.line, self.column) == (other.file, other.line, other.column)

    def __hash__(self) -> int:
        return hash((self.file, self.line, self.column))

    def __repr__(self) -> str:
        return f"Place({self.file!r}, {self.line}, {self.column})"

    def __reduce__(self) -> tuple[type[Place], tuple[str, int, int]]:
        return Place, (self.file, self.line, self.column)


# `Place` is frozen, so its subclass is written through the slots themselves; that is also the quickest way.
_set_source = Spot.__dict__["_source"].__set__
_set_offset = Spot.__dict__["_offset"].__set__


def shown(word: str) -> str:
    """`word` as a message quotes it: on one line, without control characters, long ones cut in the middle."""
    text = _escaped(word[: _SHOWN + 1])
    if len(word) > _SHOWN or len(text) > _SHOWN:
        text = f"{text[: _SHOWN * 2 // 3]}…{_escaped(word[-_SHOWN:])[-_SHOWN // 3 :]}"
    return f"'{text}'"


def spelled(place: Place) -> str:
    """The option that stands at a place, as a message quotes it; empty where the text is not known."""
    if not isinstance(place, Spot):
        return ""
    found = _OPTION.match(place.rest)
    return f"'{found[1]}'" if found else ""


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

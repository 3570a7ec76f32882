"""Splitting a text into words, in both quoting styles.

Separators are SP, TAB, LF and CR and nothing else; nothing is expanded; the end of the text ends an open quote. One
regular expression finds the words and C does the walking: plain words, and words that are one pair of quotes, come
out of it ready; only the others are taken apart. All its repetitions are possessive, so that no text makes it go
back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qemu_viso.errors import RecipeError
from qemu_viso.viso.recipe import Quoting
from qemu_viso.viso.source import Spot, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.viso.source import Source

# No file spec that VirtualBox accepts comes near to this (nine parts of less than 4,096 bytes each, all quoted).
LONGEST_WORD = 0x40000

_END = r"(?![^ \t\r\n])"
_COMMENT = r"(?<![^\n])(#[^\n]*+)|"

_DOUBLE = r'"(?:[^"\\]++|\\[\s\S])*+\\?(?:"|\Z)'
_BOURNE_WORDS = (
    rf"""([^ \t\r\n'"\\]++){_END}|'([^']*+)'{_END}|"([^"\\]*+)"{_END}"""
    rf"""|((?:[^ \t\r\n'"\\]++|'[^']*+(?:'|\Z)|{_DOUBLE}|\\[\s\S]|\\\Z)++)"""
)
# A run of backslashes: before a quote an odd one hides it, an even one does not, elsewhere they stand for themselves.
_RUNS = r'(?:\\\\)*+\\"|(?:\\\\)++(?=")|\\++(?!")'
_MS_WORDS = (
    rf'([^ \t\r\n"]++){_END}|"([^"\\]*+)"{_END}'
    rf'|((?:[^ \t\r\n"\\]++|{_RUNS}|"(?:[^"\\]++|{_RUNS}|"")*+(?:"|\Z))++)'
)
# Every match takes the separators before a word with it: a search that tried each of them would be slow.
_SPLITTERS = {
    (quoting, comments): re.compile(rf"[ \t\r\n]*+(?:{_COMMENT if comments else ''}{words}|\Z)")
    for quoting, words in ((Quoting.BOURNE, _BOURNE_WORDS), (Quoting.MS_CRT, _MS_WORDS))
    for comments in (False, True)
}

_BOURNE_PIECES = re.compile(
    r"""([^'"\\]++)|'([^']*+)('|\Z)|"((?:[^"\\]++|\\[\s\S])*+)\\?("|\Z)|((?:\\[\s\S])++)|\\\Z"""
)
_ESCAPES = re.compile(r'(?:\\["\\`$\n])++')
_BARE_BACKSLASH = re.compile(r'(?:[^\\]++|\\["\\`$\n])*+\\')
_MS_PIECES = re.compile(rf'([^"\\]++)|({_RUNS})|("")|(")')


class Oddities:
    """What was met on the way that somebody may want to know; all are offsets of words.

    Attributes:
        unclosed: the word whose quote the end of the text closes.
        backslashes: words with a backslash in double quotes that keeps its place here, and not in VirtualBox.
        comments: comment lines.
    """

    def __init__(self) -> None:
        self.unclosed: int | None = None
        self.backslashes: list[int] = []
        self.comments: list[int] = []


def split(
    source: Source, quoting: Quoting, oddities: Oddities | None = None, *, comments: bool = False
) -> Iterator[tuple[str, int]]:
    """The words of a text, each with the offset of its first character (a quote included).

    With `comments`, a line that begins with `#` outside quotes is left out, and so is one that only white space
    parts from the beginning of the text.

    Raises:
        RecipeError: a word with quotes is longer than `LONGEST_WORD` characters.
    """
    oddities = Oddities() if oddities is None else oddities
    unquote = _unquote_bourne if quoting is Quoting.BOURNE else _unquote_ms
    start = _first_comment(source.text, oddities) if comments else 0
    plain = 2 if comments else 1
    complicated = plain + (3 if quoting is Quoting.BOURNE else 2)
    for match in _SPLITTERS[quoting, comments].finditer(source.text, start):
        index = match.lastindex
        if index is None:
            return
        offset = match.start(index)
        if index == plain:
            yield match[index], offset
        elif index < plain:
            oddities.comments.append(offset)
        elif index < complicated:
            yield match[index], offset - 1
        else:
            raw = match[index]
            if len(raw) > LONGEST_WORD:
                raise _overlong(Spot(source, offset), raw)
            yield unquote(raw, offset, oddities), offset


def _overlong(place: Spot, raw: str) -> RecipeError:
    return RecipeError(
        f"{shown(raw)} has {len(raw):,} characters, and the longest word with quotes or escapes has {LONGEST_WORD:,}",
        place=place,
        hint="is a quote not closed?",
    )


def _first_comment(text: str, oddities: Oddities) -> int:
    start = len(text) - len(text.lstrip())
    if not start or not text.startswith("#", start):
        return 0
    oddities.comments.append(start)
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _unquote_bourne(raw: str, offset: int, oddities: Oddities) -> str:
    parts = []
    mended = False
    for match in _BOURNE_PIECES.finditer(raw):
        plain, single, single_end, double, double_end, escaped = match.groups()
        if plain is not None:
            parts.append(plain)
        elif escaped is not None:
            parts.append(escaped[1::2])
        elif single is not None:
            parts.append(single)
        elif double is not None:
            if "\\" in double:
                mended = mended or _BARE_BACKSLASH.match(double) is not None
                double = _ESCAPES.sub(_second_of_each, double)
            parts.append(double)
        if single_end == "" or double_end == "":
            oddities.unclosed = offset
    if mended:
        oddities.backslashes.append(offset)
    return "".join(parts)


def _second_of_each(match: re.Match[str]) -> str:
    return match[0][1::2]


def _unquote_ms(raw: str, offset: int, oddities: Oddities) -> str:
    parts = []
    inside = False
    at, end = 0, len(raw)
    while at < end:
        match = _MS_PIECES.match(raw, at)
        assert match is not None, "the pieces cover every character"
        at = match.end()
        plain, run, pair, _quote = match.groups()
        if plain is not None:
            parts.append(plain)
        elif run is not None:
            parts.append(_ms_backslashes(run, before_quote=at < end and raw[at] == '"'))
        elif pair is not None and inside:
            parts.append('"')
        elif pair is not None:
            at -= 1
            inside = True
        else:
            inside = not inside
    if inside:
        oddities.unclosed = offset
    return "".join(parts)


def _ms_backslashes(run: str, *, before_quote: bool) -> str:
    if run.endswith('"'):
        return "\\" * (len(run) // 2 - 1) + '"'
    return "\\" * (len(run) // 2) if before_quote else run

"""The beginning of a recipe: the marker, which says how the text is quoted, and the image's UUID."""

from __future__ import annotations

import re

from qemu_viso.errors import Place, RecipeError
from qemu_viso.frozen import Frozen
from qemu_viso.viso.recipe import Quoting
from qemu_viso.viso.source import shown

MARKER = b"--iprt-iso-maker-file-marker"
_MS = MARKER + b"-ms"
# C's isspace; the splitter's separators are fewer.
_SPACE = b" \t\n\v\f\r"
# After the marker's word: one ':' or '=', or a run of white space; then the value up to white space or NUL.
_VALUE = re.compile(rb"[^ \t\n\v\f\r:=\0]*+(?:[:=]|[ \t\n\v\f\r]*+)([^ \t\n\v\f\r\0]*+)")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Head(Frozen):
    """What the beginning of a recipe says; the UUID is text, in which an open of a recipe has no interest."""

    quoting: Quoting
    uuid_text: str


def parse_head(data: bytes, file: str) -> Head:
    """The marker's quoting and the UUID.

    Raises:
        RecipeError: no marker, or no UUID after it.
    """
    start = len(data) - len(data.lstrip(_SPACE))
    if not data.startswith(MARKER, start):
        raise RecipeError(
            f"this is not a VISO: it does not begin with '{MARKER.decode()}'",
            place=_place(data, start, file),
            hint="it begins with a byte order mark, which has to go"
            if data.startswith(b"\xef\xbb\xbf")
            else "the marker and a UUID are the first line of a recipe; 'qemu-viso new' writes one",
        )
    value = _VALUE.match(data, start + len(MARKER))
    assert value is not None, "every part of the expression may be empty"
    text = value[1]
    if text[:1] == b"{" and text[-1:] == b"}":
        text = text[1:-1]
    if not _UUID.fullmatch(text):
        word = value[1].decode(errors="replace")
        raise RecipeError(
            f"the marker is followed by {shown(word)}, which is not a UUID" if word else "no UUID follows the marker",
            place=_place(data, value.start(1), file),
            hint="for instance {a3bd2c1e-0f5d-4c6b-9a43-2b1d5e6f7a80}, without quotes, in braces or without",
        )
    return Head(Quoting.MS_CRT if data.startswith(_MS, start) else Quoting.BOURNE, text.decode())


def _place(data: bytes, offset: int, file: str) -> Place:
    before = data[:offset]
    line_start = before.rfind(b"\n") + 1
    column = len(before[line_start:].decode(errors="replace")) + 1
    return Place(file, before.count(b"\n") + 1, column)

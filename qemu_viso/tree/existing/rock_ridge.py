"""System use entries of existing images (SUSP 1.12, RRIP 1.12)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.ondisk.susp import (
    NM_CURRENT,
    NM_PARENT,
    SL_CONTINUE,
    SL_CURRENT,
    SL_PARENT,
    SL_ROOT,
)
from qemu_viso.tree.existing.dates import record_time, volume_time

if TYPE_CHECKING:
    from qemu_viso.tree.existing.medium import Medium

MAX_CONTINUATIONS = 64
"""Continuation areas of one record; a name and a target of full length need three."""
MAX_CONTINUATION = 8 << 10
"""Bytes of one continuation area."""
MAX_ALL_CONTINUATIONS = 64 << 20
"""Bytes of all continuation areas of an image."""
MAX_TARGET = 4095
"""Bytes of a link's target that Linux can follow."""
XA_BYTES = 14
"""What CD-ROM XA puts in front of the system use entries."""

_SP_CHECK = b"\xbe\xef"
_CE = struct.Struct("<4xI4xI4xI")
_PX = struct.Struct("<4xI4xI4xI4xI")
_TF_CREATION, _TF_MODIFY, _TF_LONG = 1, 2, 0x80


class Fields:
    """What the entries of one record say; None where they do not.

    Attributes:
        name: as recorded, of all NM entries together.
        mode: with type bits.
        components: of SL entries: flags and text.
        child: the block of a directory that lies elsewhere (CL).
        relocated: this is such a directory, in the place where it lies (RE).
        is_extended: ER is there: this is full Rock Ridge.
        sparse, compressed: SF and ZF: the data is not the file's content.
    """

    __slots__ = (
        "child",
        "components",
        "compressed",
        "gid",
        "is_extended",
        "mode",
        "mtime_ns",
        "name",
        "relocated",
        "sparse",
        "uid",
    )

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.mode: int | None = None
        self.uid = 0
        self.gid = 0
        self.mtime_ns: int | None = None
        self.components: list[tuple[int, bytes]] | None = None
        self.child: int | None = None
        self.relocated = False
        self.is_extended = False
        self.sparse = False
        self.compressed = False

    def target(self) -> bytes:
        """The text of a link's target (RRIP 4.1.3)."""
        text = b""
        separator = b""
        for flags, part in self.components or ():
            if flags & SL_ROOT:
                text += separator + b"/"
            elif flags & SL_CURRENT:
                text += separator + b"."
            elif flags & SL_PARENT:
                text += separator + b".."
            else:
                text += separator + part
            separator = b"" if flags & (SL_CONTINUE | SL_ROOT) else b"/"
        return text


class Skips(NamedTuple):
    """Bytes in front of the entries: in the root's first record, and in all others (SP, SUSP 5.3)."""

    root: int
    others: int


def skips(use: bytes) -> Skips | None:
    """What the system use field of the root's first record says.

    None where there is nothing that says "Rock Ridge": neither SP nor PX.
    """
    for start in (0, XA_BYTES):
        if use[start : start + 2] == b"SP" and use[start + 4 : start + 6] == _SP_CHECK and len(use) >= start + 7:
            return Skips(start, use[start + 6])
        if use[start : start + 2] == b"PX":
            return Skips(start, start)
    return None


class SystemUse:
    """Reads the entries of records.

    Args:
        medium: where continuation areas lie.
        block: bytes of a logical block.
    """

    def __init__(self, medium: Medium, block: int) -> None:
        self._medium = medium
        self._block = block
        self._continued = 0

    def fields(self, data: bytes, start: int, end: int) -> Fields:
        """The entries in `data[start:end]`, and those that they lead to.

        Raises:
            RecipeError: continuation areas without end.
        """
        fields = Fields()
        following = self._collect(fields, data, start, end)
        count = 0
        while following is not None:
            count += 1
            block, offset, size = following
            self._continued += size
            too_much = self._continued > MAX_ALL_CONTINUATIONS
            if count > MAX_CONTINUATIONS or size > MAX_CONTINUATION or too_much:
                raise self._medium.error("the Rock Ridge entries of a record go on and on")
            area = self._medium.read(block * self._block + offset, size, "a Rock Ridge continuation area")
            following = self._collect(fields, area, 0, size)
        return fields

    def _collect(self, fields: Fields, data: bytes, at: int, end: int) -> tuple[int, int, int] | None:
        """One field or area; what CE says about the next area."""
        following = None
        while end - at >= 4:
            size = data[at + 2]
            if size < 4 or at + size > end:
                break
            kind = data[at : at + 2]
            if kind == b"NM" and size >= 5:
                if not data[at + 4] & (NM_CURRENT | NM_PARENT):
                    fields.name = (fields.name or b"") + data[at + 5 : at + size]
            elif kind == b"PX" and size >= 36:
                fields.mode, _, fields.uid, fields.gid = _PX.unpack_from(data, at)
            elif kind == b"TF" and size >= 5:
                fields.mtime_ns = _modified(data[at : at + size])
            elif kind == b"CE" and size >= 28:
                following = _CE.unpack_from(data, at)
            elif kind == b"ST":
                break
            else:
                self._rare(fields, kind, data[at : at + size])
            at += size
        return following

    def _rare(self, fields: Fields, kind: bytes, entry: bytes) -> None:
        if kind == b"SL" and len(entry) >= 5:
            fields.components = fields.components or []
            fields.components += _components(entry)
            if sum(2 + len(text) for _, text in fields.components) > 2 * MAX_TARGET:
                raise self._medium.error("the target of a symbolic link goes on and on")
        elif kind == b"CL" and len(entry) >= 12:
            (fields.child,) = struct.unpack_from("<I", entry, 4)
        elif kind == b"RE":
            fields.relocated = True
        elif kind == b"ER":
            fields.is_extended = True
        elif kind == b"SF":
            fields.sparse = True
        elif kind == b"ZF":
            fields.compressed = True


def _components(entry: bytes) -> list[tuple[int, bytes]]:
    found = []
    at = 5
    while at + 2 <= len(entry):
        size = entry[at + 1]
        if at + 2 + size > len(entry):
            break
        found.append((entry[at], entry[at + 2 : at + 2 + size]))
        at += 2 + size
    return found


def _modified(entry: bytes) -> int | None:
    """RRIP 4.1.6: the times that the flags announce follow each other in the order of the flags."""
    flags = entry[4]
    if not flags & _TF_MODIFY:
        return None
    size = 17 if flags & _TF_LONG else 7
    start = 5 + size * (flags & _TF_CREATION)
    date = entry[start : start + size]
    if len(date) < size:
        return None
    return volume_time(date) if flags & _TF_LONG else record_time(date)


def decoded(name: bytes) -> str:
    """A name as the host's files have theirs: UTF-8, bytes that are none as surrogates."""
    return os.fsdecode(name)

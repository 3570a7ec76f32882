"""UDF's descriptors, directories and links taken apart (ECMA-167)."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.anatomy.iso9660 import below
from qemu_viso.anatomy.model import Part, piece, placed
from qemu_viso.ondisk import ecma167_fields as tables
from qemu_viso.ondisk.fields import Field, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qemu_viso.anatomy.model import Claim, Source
    from qemu_viso.ondisk.fields import Structure

SHORT, LONG, EMBEDDED = 0, 1, 3
DIRECTORY, LINK = 4, 12
FILE_ENTRY, EXTENDED_FILE_ENTRY = 261, 266
MAX_COMPONENTS = 64 << 10
_LV_INFO = b"*UDF LV Info"


class Stream:
    """The bytes of a directory or of a link's target, in the pieces in which they lie.

    Args:
        extents: (first byte in the image, bytes); a hole's first byte is -1.
        size: bytes in use.
    """

    def __init__(self, extents: list[tuple[int, int]], size: int) -> None:
        self.extents = extents
        self.size = size
        self._starts: array[int] | None = None

    def read(self, source: Source, offset: int, size: int) -> bytes:
        """Bytes of the stream, as many as there are."""
        found = []
        position = 0
        stop = min(offset + size, self.size)
        for start, length in self.extents:
            low, high = max(offset, position), min(stop, position + length)
            if low < high:
                data = source.read(start + low - position, high - low) if start >= 0 else b""
                found.append(data.ljust(high - low, b"\0"))
            position += length
        return b"".join(found)

    def identifiers(self, source: Source) -> array[int]:
        """Where each file identifier begins, and where the last one ends."""
        if self._starts is None:
            self._starts = identifier_starts(self.read(source, 0, self.size))
        return self._starts


def identifier_starts(data: bytes) -> array[int]:
    """Where each file identifier descriptor begins, and where the last one ends; the first bad one ends them."""
    starts = array("Q", (0,))
    at, head = 0, tables.FILE_IDENTIFIER.size
    while at + head <= len(data) and data[at : at + 2] == b"\x01\x01":
        at += (head + data[at + 19] + int.from_bytes(data[at + 36 : at + 38], "little") + 3) & ~3
        if at > len(data):
            break
        starts.append(at)
    return starts


class EntryContext(NamedTuple):
    """What kind of allocation descriptors a block of them has."""

    form: int


def tagged(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """Any descriptor that begins with a tag."""
    data = source.read(claim.start, min(claim.stop - claim.start, 1 << 16))
    identifier = int.from_bytes(data[:2], "little")
    structure = tables.BY_TAG.get(identifier, tables.TAG)
    if identifier == 4 and data[21:44].rstrip(b"\0") == _LV_INFO:
        structure = tables.LV_INFO
    yield from placed(structure, claim.start, claim.subject)
    decode = _REST.get(identifier)
    if decode is not None:
        yield from decode(structure, data, claim)


def _maps(structure: Structure, data: bytes, claim: Claim) -> Iterator[Part]:
    size, count = struct.unpack_from("<II", data.ljust(440, b"\0"), 264)
    at, stop = structure.size, min(structure.size + size, len(data))
    for number in range(count):
        if at + 2 > stop or data[at + 1] < 2:
            return
        table = tables.PLAIN_MAP if data[at] == 1 else tables.OTHER_MAP
        end = min(at + data[at + 1], stop)
        subject = f"partition reference {number}"
        yield from placed(table, claim.start + at, subject, claim.start + end)
        behind = at + table.size
        yield from piece(
            table, claim.start + behind, subject, "partition identifier", end - behind, clause="3/10.7.3.3"
        )
        at = end


def _spaces(structure: Structure, data: bytes, claim: Claim) -> Iterator[Part]:
    count = int.from_bytes(data[20:24], "little")
    size = min(8 * count, len(data) - structure.size)
    start = claim.start + structure.size
    yield from piece(structure, start, claim.subject, "allocation descriptors", size, Kind.BYTES, "3/10.8.4")


def _integrity(structure: Structure, data: bytes, claim: Claim) -> Iterator[Part]:
    count, use = struct.unpack_from("<II", data.ljust(80, b"\0"), 72)
    at = structure.size
    for name in ("free space table", "size table"):
        for number in range(min(count, 64)):
            field = Field(f"{name}, partition {number}", 4, clause="3/10.10.8" if name[0] == "f" else "3/10.10.9")
            yield Part(claim.start + at, structure.name, structure.standard, claim.subject, field)
            at += 4
    if use >= tables.INTEGRITY_USE.size:
        yield from placed(tables.INTEGRITY_USE, claim.start + at, claim.subject)
        at, use = at + tables.INTEGRITY_USE.size, use - tables.INTEGRITY_USE.size
    size = min(use, len(data) - at)
    yield from piece(structure, claim.start + at, claim.subject, "implementation use", size, clause="3/10.10.10")


def _extents(structure: Structure, data: bytes, claim: Claim) -> Iterator[Part]:
    size = int.from_bytes(data[20:24], "little")
    context = claim.context
    form = context.form if isinstance(context, EntryContext) else SHORT
    yield from _descriptors(data, structure.size, size, form, claim)


def _descriptors(data: bytes, at: int, size: int, form: int, claim: Claim) -> Iterator[Part]:
    table = tables.LONG_AD if form == LONG else tables.SHORT_AD
    stop = min(at + size, len(data))
    while at + table.size <= stop:
        yield from placed(table, claim.start + at, claim.subject)
        at += table.size
    yield from piece(table, claim.start + at, claim.subject, "remaining bytes", stop - at)


def _file_entry(structure: Structure, data: bytes, claim: Claim) -> Iterator[Part]:
    head, tag = structure.size, data[0]
    attributes, allocation = struct.unpack_from("<II", data.ljust(head, b"\0"), head - 8)
    clause = "4/14.9.21" if tag == FILE_ENTRY & 0xFF else "4/14.17.25"
    room = len(data) - head
    yield from piece(
        structure, claim.start + head, claim.subject, "extended attributes", min(attributes, room), clause=clause
    )
    at = head + attributes
    kind, form = data[27], data[34] & 7
    if form != EMBEDDED:
        yield from _descriptors(data, at, allocation, form, claim)
        return
    content = data[at : at + allocation]
    if kind == DIRECTORY:
        yield from _identifiers(content, 0, claim.start + at, claim.subject)
    elif kind == LINK:
        yield from _components(content, claim.start + at, claim.subject)
    else:
        yield from piece(structure, claim.start + at, claim.subject, "data of the file", len(content))


def _bitmap(structure: Structure, data: bytes, claim: Claim) -> Iterator[Part]:
    size = min(int.from_bytes(data[20:24], "little"), claim.stop - claim.start - structure.size)
    start = claim.start + structure.size
    yield from piece(structure, start, claim.subject, "bitmap", size, Kind.BYTES, "4/14.12.4")


_REST: dict[int, Callable[[Structure, bytes, Claim], Iterator[Part]]] = {
    6: _maps,
    7: _spaces,
    9: _integrity,
    258: _extents,
    FILE_ENTRY: _file_entry,
    EXTENDED_FILE_ENTRY: _file_entry,
    264: _bitmap,
}


def directory(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:
    """A piece of a directory's file identifiers."""
    stream = claim.context
    assert isinstance(stream, Stream)
    starts = stream.identifiers(source)
    shift = claim.start - claim.base
    index = max(bisect_right(starts, low - shift) - 1, 0)
    while index + 1 < len(starts) and starts[index] + shift < high:
        data = stream.read(source, starts[index], starts[index + 1] - starts[index])
        for part in _identifiers(data, 0, starts[index] + shift, claim.subject):
            offset = part.start - starts[index] - shift
            yield part._replace(data=data[offset : offset + part.field.size])
        index += 1


def _identifiers(data: bytes, at: int, base: int, path: str) -> Iterator[Part]:
    """File identifier descriptors in a row (4/14.4)."""
    table = tables.FILE_IDENTIFIER
    for end in identifier_starts(data)[1:]:
        count, use = data[at + 19], int.from_bytes(data[at + 36 : at + 38], "little")
        name_at = at + table.size + use
        name = _text(data[name_at : name_at + count])
        subject = below(path, name) if count else f"the parent of {path}"
        yield from placed(table, base + at, subject)
        yield from piece(table, base + at + table.size, subject, "implementation use", use, clause="4/14.4.7")
        yield from piece(table, base + name_at, subject, "file identifier", count, Kind.COMPRESSED, "4/14.4.8")
        behind = name_at + count
        yield from piece(table, base + behind, subject, "padding", end - behind, Kind.UNUSED, "4/14.4.9")
        at = end


def _text(data: bytes) -> str:
    return str(Field("", 0, Kind.COMPRESSED).value(data))


def link(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """A piece of the target of a link that its ICB has no room for."""
    stream = claim.context
    assert isinstance(stream, Stream)
    data = stream.read(source, 0, MAX_COMPONENTS)
    shift = claim.start - claim.base
    for part in _components(data, shift, claim.subject):
        offset = part.start - shift
        yield part._replace(data=data[offset : offset + part.field.size])


def _components(data: bytes, base: int, subject: str) -> Iterator[Part]:
    table = tables.PATH_COMPONENT
    at = 0
    while at + table.size <= len(data):
        count = min(data[at + 1], len(data) - at - table.size)
        yield from placed(table, base + at, subject)
        at += table.size
        yield from piece(table, base + at, subject, "component identifier", count, Kind.COMPRESSED, "4/14.16.1.4")
        at += count

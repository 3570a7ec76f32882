"""Volume descriptors, path tables, directories and continuation areas taken apart (ECMA-119)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.anatomy import susp
from qemu_viso.anatomy.model import Part, piece, placed
from qemu_viso.ondisk import ecma119, ecma119_fields, ecma167_fields, eltorito
from qemu_viso.ondisk.ecma119 import DIRECTORY_RECORD, SECTOR, STANDARD_IDENTIFIER
from qemu_viso.ondisk.fields import Field, Kind, Structure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qemu_viso.anatomy.model import Claim, Source

HEAD = DIRECTORY_RECORD.size
EL_TORITO = b"EL TORITO SPECIFICATION"
_SELF = {b"\0": "the directory itself", b"\1": "its parent"}
_DESCRIPTORS = {
    1: ecma119.PRIMARY_DESCRIPTOR,
    2: ecma119.SUPPLEMENTARY_DESCRIPTOR,
    3: ecma119_fields.PARTITION_DESCRIPTOR,
    255: ecma119.TERMINATOR,
}
_PATH_TABLES = {order: ecma119_fields.path_table_fields(big_endian=order) for order in (False, True)}
PADDING = Field("unused bytes to the end of the sector", 0, Kind.UNUSED, "6.8.1.1")


class Volume(NamedTuple):
    """What must be known of a volume to read its directories.

    Attributes:
        kind: "ISO 9660", "Rock Ridge" or "Joliet".
        block: bytes of a logical block.
        text: how identifiers are encoded.
        skips: bytes in front of the system use entries, in the root's first record and in others; None where there
            are no entries.
    """

    kind: str
    block: int
    text: Kind
    skips: tuple[int, int] | None = None


class DirectoryContext(NamedTuple):
    """What must be known of a directory to read its records.

    Attributes:
        names: the paths of what records are about that do not tell it alone, by the byte where the record begins.
    """

    volume: Volume
    is_root: bool
    names: dict[int, str]


class PathTableContext(NamedTuple):
    """How a path table is written, and the paths of directories by the byte where they begin."""

    volume: Volume
    big_endian: bool
    paths: Mapping[int, str]


def descriptor_structure(data: bytes) -> Structure:
    """Which structure a sector of the volume descriptor set is."""
    if data[1:6] != STANDARD_IDENTIFIER:
        return ecma167_fields.RECOGNITION
    kind = data[0]
    if kind == 0:
        return eltorito.BOOT_RECORD if data[7:39].rstrip(b"\0 ") == EL_TORITO else ecma119_fields.BOOT_RECORD
    if kind == 2 and data[88:91] in (b"%/@", b"%/C", b"%/E"):
        return ecma119_fields.JOLIET_DESCRIPTOR
    return _DESCRIPTORS.get(kind, ecma119_fields.OTHER_DESCRIPTOR)


def descriptor(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """A sector of the volume descriptor set."""
    structure = descriptor_structure(source.read(claim.start, SECTOR))
    return placed(structure, claim.start, claim.subject)


def path_table(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:
    """A path table: from its beginning on, because nothing else tells where records begin."""
    context = claim.context
    assert isinstance(context, PathTableContext)
    structure = _PATH_TABLES[context.big_endian]
    data = source.read(claim.start, min(high + 512, claim.stop) - claim.start)
    at, order = 0, "big" if context.big_endian else "little"
    while at + structure.size <= len(data) and data[at] and claim.start + at < high:
        count = data[at]
        size = structure.size + count + (count & 1)
        start = claim.start + at
        if start + size > low:
            extent = int.from_bytes(data[at + 2 : at + 6], order)  # type: ignore[arg-type]
            place = (extent + data[at + 1]) * context.volume.block
            subject = context.paths.get(place, f"the directory in block {extent}")
            yield from placed(structure, start, subject)
            name = data[at + structure.size : at + structure.size + count]
            kind = Kind.BYTES if name == b"\0" else context.volume.text
            start += structure.size
            yield from piece(structure, start, subject, "directory identifier", count, kind, "9.4.5")
            yield from piece(structure, start + count, subject, "padding field", count & 1, Kind.UNUSED, "9.4.6")
        at += size


def directory(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:
    """The records of a directory; none crosses the end of a sector, so that each sector can be read alone."""
    context = claim.context
    assert isinstance(context, DirectoryContext)
    first = claim.start + (low - claim.start) // SECTOR * SECTOR
    for sector in range(first, high, SECTOR):
        data = source.read(sector, min(SECTOR, claim.stop - sector))
        at = 0
        while at < len(data) and data[at]:
            end = at + data[at]
            if data[at] <= HEAD or end > len(data):
                yield from piece(DIRECTORY_RECORD, sector + at, claim.subject, "damaged record", len(data) - at)
                at = len(data)
                break
            is_first = context.is_root and sector == claim.start and at == 0
            subject = context.names.get(sector + at) or _subject(data, at, end, claim.subject, context.volume)
            yield from _record(data, at, end, sector, subject, context.volume, is_first=is_first)
            at = end
        if at < len(data):
            what = Field(PADDING.name, len(data) - at, PADDING.kind, PADDING.clause)
            yield Part(sector + at, "directory", "ECMA-119 6.8.1", claim.subject, what)


def _record(
    data: bytes, at: int, end: int, base: int, subject: str, volume: Volume, *, is_first: bool
) -> Iterator[Part]:
    count = data[at + HEAD - 1]
    name_end = min(at + HEAD + count, end)
    identifier = data[at + HEAD : name_end]
    yield from placed(DIRECTORY_RECORD, base + at, subject)
    kind = Kind.BYTES if identifier in _SELF else volume.text
    start = base + at + HEAD
    if identifier in _SELF:
        meanings = {identifier[0]: _SELF[identifier]}
        field = Field("file identifier", count, Kind.LITTLE, "9.1.11", meanings)
        yield Part(start, DIRECTORY_RECORD.name, DIRECTORY_RECORD.standard, subject, field)
    else:
        yield from piece(DIRECTORY_RECORD, start, subject, "file identifier", len(identifier), kind, "9.1.11")
    use = min(name_end + (~count & 1), end)
    yield from piece(DIRECTORY_RECORD, base + name_end, subject, "padding field", use - name_end, Kind.UNUSED, "9.1.12")
    if volume.skips is not None:
        skip = min(volume.skips[0 if is_first else 1], end - use)
        yield from piece(
            DIRECTORY_RECORD,
            base + use,
            subject,
            "system use in front of the entries (SUSP 5.3)",
            skip,
            clause="9.1.13",
        )
        used = use + skip
        for part in susp.entries(data, used, end, base, subject):
            used = part.start + part.field.size - base
            yield part
        use = used
    kind = Kind.UNUSED if volume.skips is not None else Kind.BYTES
    yield from piece(DIRECTORY_RECORD, base + use, subject, "system use", end - use, kind, "9.1.13")


def _subject(data: bytes, at: int, end: int, path: str, volume: Volume) -> str:
    """The path of what a record is about, as far as the record itself tells its name."""
    count = data[at + HEAD - 1]
    identifier = data[at + HEAD : min(at + HEAD + count, end)]
    if identifier in _SELF:
        return path if identifier == b"\0" else f"the parent of {path}"
    name = b""
    if volume.skips is not None:
        use = at + HEAD + count + (~count & 1) + volume.skips[1]
        while end - use >= susp.ENTRY_HEAD and data[use + 2] >= susp.ENTRY_HEAD:
            if data[use : use + 2] == b"NM":
                name += data[use + 5 : use + data[use + 2]]
            use += data[use + 2]
    return below(path, decoded(name or identifier, Kind.TEXT if name else volume.text))


def decoded(name: bytes, kind: Kind) -> str:
    """A name; an identifier with its version, as it is recorded."""
    if kind is Kind.WIDE:
        return name.decode("utf-16-be", "replace")
    return name.decode("utf-8", "surrogateescape")


def below(path: str, name: str) -> str:
    """The path of a name in a directory."""
    return f"{'' if path == '/' else path}/{name}"


def continuation(source: Source, claim: Claim, low: int, high: int) -> Iterator[Part]:  # noqa: ARG001
    """A continuation area (SUSP 5.1)."""
    data = source.read(claim.start, claim.stop - claim.start)
    return susp.entries(data, 0, len(data), claim.start, claim.subject)

"""Where the structures of an image lie: found by following what they say, and passing over what is damaged."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.anatomy.iso9660 import (
    EL_TORITO,
    HEAD,
    DirectoryContext,
    PathTableContext,
    Volume,
    below,
    decoded,
    descriptor_structure,
)
from qemu_viso.anatomy.model import Claim, Layer
from qemu_viso.anatomy.survey_boot import boot_claims, system_area_claims
from qemu_viso.anatomy.survey_udf import UdfSurvey
from qemu_viso.ondisk import ecma119, ecma119_fields
from qemu_viso.ondisk.ecma119 import FLAG_DIRECTORY, FLAG_MULTI_EXTENT, SECTOR, SYSTEM_AREA_SECTORS
from qemu_viso.ondisk.fields import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.anatomy.model import Source
    from qemu_viso.ondisk.fields import Structure

MAX_DESCRIPTORS = 64
MAX_DIRECTORY = 128 << 20
MAX_ENTRIES = 2_000_000
MAX_DEPTH = 255
"""Levels of directories: paths that are longer than any system takes would fill the memory."""
MAX_CONTINUATION, MAX_CONTINUATIONS = 8 << 10, 64
NSR = (b"NSR02", b"NSR03")
RECOGNITION = (b"BEA01", *NSR, b"TEA01", b"BOOT2", b"CDW02")
XA_BYTES = 14
TRANS_TBL = b"TRANS.TBL;1"
_RECORD = struct.Struct("<BBI4xI4x7xBBB4xB")
_CE = struct.Struct("<4xI4xI4xI")
_TABLES = ((140, False), (144, False), (148, True), (152, True))


class _Extensions(NamedTuple):
    """What the system use entries of a record say.

    Attributes:
        child: the block of a directory that lies elsewhere; -1 where there is none.
        is_relocated: this is such a directory, in the place where it lies.
        areas: first byte and bytes of each continuation area.
    """

    name: bytes
    child: int
    is_relocated: bool
    areas: list[tuple[int, int]]


_PLAIN = _Extensions(b"", -1, False, [])


class Found(NamedTuple):
    """A volume descriptor: where it lies, and its bytes."""

    at: int
    structure: Structure
    data: bytes


def survey(source: Source) -> list[Claim]:
    """Everything that can be found in an image, in no order; claims may overlap.

    Raises:
        InputOutputError, MissingInputError, AccessError, StaleSourceError: a host file cannot be read.
    """
    claims = list(system_area_claims(source))
    descriptors = list(_descriptors(source))
    claims += (
        Claim(found.at, found.at + SECTOR, Layer.STRUCTURE, "volume descriptor", "", found.at) for found in descriptors
    )
    seen = _Seen()
    ordered = sorted(descriptors, key=lambda found: found.structure is not ecma119.PRIMARY_DESCRIPTOR)
    for found in ordered:
        if found.data[0] in (1, 2) and found.data[1:6] == ecma119.STANDARD_IDENTIFIER:
            claims += _volume(source, found, seen)
    if any(found.data[1:6] in NSR for found in descriptors):
        claims += UdfSurvey(source).claims()
    for found in descriptors:
        if found.data[0] == 0 and found.data[7:39].rstrip(b"\0 ") == EL_TORITO:
            claims += boot_claims(source, int.from_bytes(found.data[71:75], "little") * SECTOR, claims)
    return claims


def _descriptors(source: Source) -> Iterator[Found]:
    """The volume descriptor set, and UDF's recognition sequence."""
    for number in range(SYSTEM_AREA_SECTORS, SYSTEM_AREA_SECTORS + MAX_DESCRIPTORS):
        data = source.read(number * SECTOR, SECTOR)
        if len(data) < SECTOR or data[1:6] not in (ecma119.STANDARD_IDENTIFIER, *RECOGNITION):
            return
        yield Found(number * SECTOR, descriptor_structure(data), data)


class _Seen:
    """What has been claimed, by all volumes together: directories by their first byte, files by theirs and the size."""

    def __init__(self) -> None:
        self.directories: set[int] = set()
        self.files: set[tuple[int, int]] = set()
        self.continuations: set[tuple[int, int]] = set()
        self.entries = 0
        self.bytes = 0


def _volume(source: Source, found: Found, seen: _Seen) -> Iterator[Claim]:
    """The directories, files and path tables of a volume."""
    data = found.data
    block = int.from_bytes(data[128:130], "little")
    if block not in (512, 1024, 2048):
        return
    joliet = found.structure is ecma119_fields.JOLIET_DESCRIPTOR
    extent, size = (int.from_bytes(data[at : at + 4], "little") for at in (158, 166))
    root = (extent + data[157]) * block
    volume = Volume("Joliet" if joliet else "ISO 9660", block, Kind.WIDE if joliet else Kind.TEXT)
    if not joliet:
        volume = _with_rock_ridge(source, volume, root)
    directories = _Directories(source, volume, seen)
    yield from directories.claims(root, size)
    table_size = int.from_bytes(data[132:136], "little")
    for at, big_endian in _TABLES:
        place = int.from_bytes(data[at : at + 4], "big" if big_endian else "little") * block
        if place and table_size and place < source.size:
            context = PathTableContext(volume, big_endian, directories.paths)
            letter = "M" if big_endian else "L"
            subject = f"the type {letter} path table ({volume.kind})"
            stop = min(place + table_size, source.size)
            yield Claim(place, stop, Layer.STRUCTURE, "path table", subject, place, context)


def _with_rock_ridge(source: Source, volume: Volume, root: int) -> Volume:
    """The volume with what the root's first record says of system use entries (SUSP 5.3)."""
    data = source.read(root, 256)
    if len(data) < HEAD + 1 or data[0] > len(data):
        return volume
    use = data[HEAD + data[HEAD - 1] + (~data[HEAD - 1] & 1) : data[0]]
    for start in (0, XA_BYTES):
        if use[start : start + 2] == b"SP" and use[start + 4 : start + 6] == b"\xbe\xef" and len(use) >= start + 7:
            return Volume("Rock Ridge", volume.block, volume.text, (start, use[start + 6]))
        if use[start : start + 2] == b"PX":
            return Volume("Rock Ridge", volume.block, volume.text, (start, start))
    return volume


class _Directories:
    """Walks the directories of a volume, level by level.

    Attributes:
        paths: each directory's path, by the byte where it begins.
    """

    def __init__(self, source: Source, volume: Volume, seen: _Seen) -> None:
        self._source = source
        self._volume = volume
        self._seen = seen
        self.paths: dict[int, str] = {}

    def claims(self, root: int, size: int) -> Iterator[Claim]:
        level = [("/", root, size)]
        seen, end = self._seen, self._source.size
        for _ in range(MAX_DEPTH):
            following: list[tuple[str, int, int]] = []
            for path, start, size in level:
                if start in seen.directories or seen.entries > MAX_ENTRIES or start >= end:
                    continue
                seen.directories.add(start)
                self.paths[start] = path
                size = min(size, MAX_DIRECTORY, end - start)
                seen.bytes += size
                if size > 0 and seen.bytes <= 2 * end:  # directories overlap in damaged images only
                    context = DirectoryContext(self._volume, start == root, {})
                    yield Claim(start, start + size, Layer.DIRECTORY, "directory", path, start, context)
                    yield from self._records(path, start, size, following, context)
            level = following

    def _records(
        self, path: str, start: int, size: int, following: list[tuple[str, int, int]], context: DirectoryContext
    ) -> Iterator[Claim]:
        """What the records of one directory lead to."""
        data = self._source.read(start, size)
        skips = self._volume.skips
        at, end, position = 0, len(data), 0
        while at < end:
            length = data[at]
            limit = min((at | (SECTOR - 1)) + 1, end)
            if length <= HEAD or at + length > limit:
                at = limit
                continue
            _, attributes, extent, size, flags, _, _, count = _RECORD.unpack_from(data, at)
            self._seen.entries += 1
            name_end = min(at + HEAD + count, at + length)
            identifier = data[at + HEAD : name_end]
            extensions = _PLAIN
            if skips is not None:
                use = name_end + (~count & 1) + skips[0 if context.is_root and at == 0 else 1]
                extensions = self._entries(data, use, at + length)
            full = path
            if identifier not in (b"\0", b"\1"):
                full = below(path, decoded(extensions.name or identifier, self._text(extensions)))
            if extensions.areas:
                if full is not path:
                    context.names[start + at] = full
                for area, area_size in extensions.areas:
                    yield Claim(area, area + area_size, Layer.DIRECTORY, "continuation area", full, area)
            at += length
            if full is path:
                continue
            place = (extent + attributes) * self._volume.block
            if attributes:
                first = extent * self._volume.block
                yield Claim(first, place, Layer.STRUCTURE, "extended attribute record", full, first)
            if extensions.child >= 0:
                child = extensions.child * self._volume.block
                following.append((full, child, self._size_at(child)))
            elif flags & FLAG_DIRECTORY:
                if not extensions.is_relocated:
                    following.append((full, place, size))
            else:
                if size and (place, size) not in self._seen.files:
                    self._seen.files.add((place, size))
                    kind = "translation table" if identifier == TRANS_TBL else "file"
                    yield Claim(place, min(place + size, self._source.size), Layer.FILE, kind, full, position)
                position = position + size if flags & FLAG_MULTI_EXTENT else 0

    def _text(self, extensions: _Extensions) -> Kind:
        return Kind.TEXT if extensions.name else self._volume.text

    def _size_at(self, start: int) -> int:
        """The size of a relocated directory, of which a link to it tells only the place (RRIP 4.1.5.1)."""
        data = self._source.read(start, HEAD)
        return int.from_bytes(data[10:14], "little") if len(data) == HEAD else 0

    def _entries(self, data: bytes, at: int, end: int) -> _Extensions:
        """What the system use entries of a record say."""
        name, child, moved = b"", -1, False
        areas: list[tuple[int, int]] = []
        while True:
            following: tuple[int, int, int] | None = None
            while end - at >= 4:
                size = data[at + 2]
                if size < 4 or at + size > end:
                    break
                kind = data[at : at + 2]
                if kind == b"NM":
                    if size > 4 and not data[at + 4] & 6:
                        name += data[at + 5 : at + size]
                elif kind == b"CE" and size >= 28:
                    following = _CE.unpack_from(data, at)
                elif kind == b"CL" and size >= 12:
                    child = int.from_bytes(data[at + 4 : at + 8], "little")
                elif kind == b"RE":
                    moved = True
                elif kind == b"ST":
                    break
                at += size
            data = self._continuation(following, areas) if following is not None else b""
            if not data:
                return _Extensions(name, child, moved, areas)
            at, end = 0, len(data)

    def _continuation(self, following: tuple[int, int, int], areas: list[tuple[int, int]]) -> bytes:
        """The bytes of a continuation area that no record had before; it is added to `areas`."""
        block, offset, size = following
        start = block * self._volume.block + offset
        known = (start, size) in self._seen.continuations
        if known or size > MAX_CONTINUATION or len(areas) >= MAX_CONTINUATIONS:
            return b""
        self._seen.continuations.add((start, size))
        data = self._source.read(start, size)
        if data:
            areas.append((start, len(data)))
        return data

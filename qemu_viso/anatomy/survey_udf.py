"""Where UDF's structures lie in an image: found by following what they say, and passing over what is damaged."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.anatomy.iso9660 import below
from qemu_viso.anatomy.model import Claim, Layer
from qemu_viso.anatomy.udf import (
    DIRECTORY,
    EMBEDDED,
    EXTENDED_FILE_ENTRY,
    FILE_ENTRY,
    LINK,
    LONG,
    EntryContext,
    Stream,
    identifier_starts,
)
from qemu_viso.ondisk.fields import Field, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.anatomy.model import Source

BLOCK_SIZES = (2048, 512, 4096)
ANCHOR, POINTER, PARTITION, LOGICAL, TERMINATOR, INTEGRITY = 2, 3, 5, 6, 8, 9
FILE_SET, ALLOCATION_EXTENT, BITMAP = 256, 258, 264
MAX_SEQUENCE, MAX_POINTERS = 1 << 20, 16
MAX_FILES, MAX_EXTENTS = 2_000_000, 4_000_000
MAX_DIRECTORY = 128 << 20
MAX_DEPTH = 255
"""Levels of directories: paths that are longer than any system takes would fill the memory."""
METADATA = b"*UDF Metadata Partition"
_NAME = Field("", 0, Kind.COMPRESSED)
_LONG_AD = struct.Struct("<IIH6x")
_SHORT_AD = struct.Struct("<II")


class Entry(NamedTuple):
    """What a file entry says: the form of its allocation, the file's type and size, where descriptors are."""

    at: int
    partition: int
    kind: int
    form: int
    size: int
    allocation: bytes
    allocation_at: int


class UdfSurvey:
    """The claims of a UDF volume."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._block = 0
        self._maps: list[list[tuple[int, int]]] = []  # of each partition: (first byte, bytes) of its pieces
        self._seen: set[int] = set()
        self._extents = 0

    def claims(self) -> Iterator[Claim]:
        """Everything of the volume; nothing where there is none."""
        anchors = self._anchors()
        if not anchors:
            return
        for at in anchors:
            yield self._claim(at, "")
        fields = struct.unpack_from("<IIII", self._source.read(anchors[0], self._block), 16)
        found: dict[int, bytes] = {}
        for which, (size, sector) in (("main", fields[:2]), ("reserve", fields[2:])):
            yield from self._sequence(which, size, sector, found)
        logical = found.get(LOGICAL)
        if logical is None:
            return
        size, sector = struct.unpack_from("<II", logical, 432)
        yield from self._sequence("integrity", size, sector, {})
        yield from self._partitions(logical, found)
        _, block, partition = _LONG_AD.unpack_from(logical, 248)
        yield from self._file_set(block, partition)

    def _claim(self, at: int, subject: str, context: object = None, size: int = 0) -> Claim:
        return Claim(at, at + (size or self._block), Layer.UDF, "UDF descriptor", subject, at, context)

    # --- volume structure ----------------------------------------------------------------------------------------

    def _anchors(self) -> list[int]:
        for self._block in BLOCK_SIZES:
            last = self._source.size // self._block - 1
            places = [sector * self._block for sector in (256, last, last - 256, 512)]
            found = [at for at in dict.fromkeys(places) if at > 0 and self._tag(at) == ANCHOR]
            if found:
                return found
        return []

    def _tag(self, at: int) -> int:
        """The tag identifier of a descriptor; 0 where there is none (3/7.2)."""
        data = self._source.read(at, 16)
        if len(data) < 16 or (sum(data[:4]) + sum(data[5:16])) & 0xFF != data[4]:
            return 0
        return int.from_bytes(data[:2], "little")

    def _sequence(self, which: str, size: int, sector: int, found: dict[int, bytes]) -> Iterator[Claim]:
        """A sequence of descriptors; in `found` the last of each kind, partitions by number and 1,000."""
        for _ in range(MAX_POINTERS):
            start, size = sector * self._block, min(size, MAX_SEQUENCE)
            subject = f"the {which} sequence"
            if size and start:
                yield Claim(start, start + size, Layer.AREA, "unused", f"blocks of {subject}", start)
            following = 0, 0
            for at in range(start, start + size, self._block):
                tag = self._tag(at)
                if not tag:
                    break
                yield self._claim(at, subject)
                data = self._source.read(at, self._block)
                found[tag if tag != PARTITION else 1000 + int.from_bytes(data[22:24], "little")] = data
                if tag == POINTER:
                    following = struct.unpack_from("<II", data, 20)
                elif tag == INTEGRITY:
                    following = struct.unpack_from("<II", data, 32)
                if tag == TERMINATOR:
                    break
            size, sector = following
            if not size:
                return

    def _partitions(self, logical: bytes, found: dict[int, bytes]) -> Iterator[Claim]:
        """The partition maps (3/10.7), and the bitmaps of partitions."""
        size, count = struct.unpack_from("<II", logical, 264)
        at, stop = 440, min(440 + size, len(logical))
        for _ in range(min(count, 16)):
            length = logical[at + 1] if at + 6 <= stop else 0
            if length < 6 or at + length > stop:
                break
            is_metadata = logical[at] == 2 and logical[at + 5 : at + 28] == METADATA and length >= 64
            number_at = at + 38 if is_metadata else at + 4
            descriptor = found.get(1000 + int.from_bytes(logical[number_at : number_at + 2], "little"))
            pieces = [] if descriptor is None else self._plain(descriptor)
            self._maps.append(pieces)
            if is_metadata and pieces:
                block = int.from_bytes(logical[at + 40 : at + 44], "little")
                yield from self._metadata(pieces, block)
            at += length
        for key, descriptor in found.items():
            if key >= 1000:
                yield from self._bitmaps(descriptor)

    def _plain(self, descriptor: bytes) -> list[tuple[int, int]]:
        start, length = struct.unpack_from("<II", descriptor, 188)
        return [(start * self._block, length * self._block)]

    def _metadata(self, pieces: list[tuple[int, int]], block: int) -> Iterator[Claim]:
        """A metadata partition (UDF 2.2.10): it is a file in a plain one."""
        index = len(self._maps) - 1
        entry = self._entry(block, index)
        if entry is None:
            return
        yield self._claim(entry.at, "the metadata file")
        extents = list(self._allocated(entry, []))
        self._maps[index] = extents or pieces

    def _bitmaps(self, descriptor: bytes) -> Iterator[Claim]:
        """The space bitmaps of a partition (4/14.3), in its contents use."""
        start = struct.unpack_from("<I", descriptor, 188)[0] * self._block
        for offset in (56 + 8, 56 + 32):  # unallocated and freed space bitmap
            size, block = struct.unpack_from("<II", descriptor, offset)
            at = start + block * self._block
            if size and self._tag(at) == BITMAP:
                yield self._claim(at, "the partition", None, size & 0x3FFFFFFF)

    def _file_set(self, block: int, partition: int) -> Iterator[Claim]:
        at = self._place(block, partition)
        if at is None or self._tag(at) != FILE_SET:
            return
        yield self._claim(at, "")
        if self._tag(at + self._block) == TERMINATOR:
            yield self._claim(at + self._block, "the file set sequence")
        data = self._source.read(at, 512).ljust(512, b"\0")
        _, block, partition = _LONG_AD.unpack_from(data, 400)
        yield from self._tree(block, partition)
        size, block, partition = _LONG_AD.unpack_from(data, 464)
        streams = self._entry(block, partition) if size else None
        if streams is not None:
            yield self._claim(streams.at, "the system stream directory")

    # --- files ---------------------------------------------------------------------------------------------------

    def _place(self, block: int, partition: int) -> int | None:
        """Where a logical block is, in bytes of the image."""
        if partition >= len(self._maps):
            return None
        offset = block * self._block
        for start, size in self._maps[partition]:
            if offset < size:
                return start + offset if start >= 0 else None
            offset -= size
        return None

    def _entry(self, block: int, partition: int) -> Entry | None:
        at = self._place(block, partition)
        if at is None or at in self._seen:
            return None
        self._seen.add(at)
        data = self._source.read(at, self._block)
        tag = int.from_bytes(data[:2], "little")
        if tag not in (FILE_ENTRY, EXTENDED_FILE_ENTRY) or len(data) < 216:
            return None
        head = 176 if tag == FILE_ENTRY else 216
        attributes, size = struct.unpack_from("<II", data, head - 8)
        start = head + attributes
        (length,) = struct.unpack_from("<Q", data, 56)
        return Entry(at, partition, data[27], data[34] & 7, length, data[start : start + size], at + start)

    def _allocated(self, entry: Entry, claims: list[Claim], subject: str = "") -> Iterator[tuple[int, int]]:
        """(first byte, bytes) of each extent of a file; -1 for a hole. Blocks of descriptors are claimed."""
        if entry.form == EMBEDDED:
            yield entry.allocation_at, min(entry.size, len(entry.allocation))
            return
        data, left = entry.allocation, entry.size
        while data and left > 0:
            following: int | None = None
            for size, block, partition in self._descriptors(data, entry):
                self._extents += 1
                kind, size = size >> 30, size & 0x3FFFFFFF
                if not size or left <= 0 or self._extents > MAX_EXTENTS:
                    return
                place = self._place(block, partition)
                if kind == 3:
                    following = place
                    break
                yield (place if kind == 0 and place is not None else -1), min(size, left)
                left -= size
            data = b""
            if following is not None and following not in self._seen and self._tag(following) == ALLOCATION_EXTENT:
                self._seen.add(following)
                claims.append(self._claim(following, subject, EntryContext(entry.form)))
                block_data = self._source.read(following, self._block)
                data = block_data[24 : 24 + int.from_bytes(block_data[20:24], "little")]

    @staticmethod
    def _descriptors(data: bytes, entry: Entry) -> Iterator[tuple[int, int, int]]:
        if entry.form == LONG:
            yield from _LONG_AD.iter_unpack(data[: len(data) // 16 * 16])
        else:
            for size, block in _SHORT_AD.iter_unpack(data[: len(data) // 8 * 8]):
                yield size, block, entry.partition

    def _tree(self, block: int, partition: int) -> Iterator[Claim]:
        """All files and directories, level by level."""
        level: list[tuple[str, int, int]] = [("/", block, partition)]
        left = 2 * self._source.size  # directories overlap in damaged images only
        for _ in range(MAX_DEPTH):
            below_it: list[tuple[str, int, int]] = []
            for path, block, partition in level:
                entry = self._entry(block, partition)
                if entry is None or len(self._seen) > MAX_FILES:
                    continue
                yield self._claim(entry.at, path)
                more: list[Claim] = []
                extents = list(self._allocated(entry, more, path))
                yield from more
                if entry.kind == DIRECTORY:
                    stream = Stream(extents, min(entry.size, MAX_DIRECTORY))
                    left -= stream.size
                    if left >= 0:
                        below_it.extend(self._children(stream, path))
                    yield from self._pieces(stream, entry, Layer.UDF, "UDF directory", path)
                elif entry.kind == LINK:
                    yield from self._pieces(Stream(extents, entry.size), entry, Layer.UDF, "UDF link", path)
                elif entry.form != EMBEDDED:
                    yield from self._pieces(Stream(extents, entry.size), entry, Layer.FILE, "file", path)
            level = below_it

    @staticmethod
    def _pieces(stream: Stream, entry: Entry, layer: Layer, kind: str, path: str) -> Iterator[Claim]:
        """A claim for each piece of a stream that is not inside the file entry."""
        if entry.form == EMBEDDED:
            return
        position = 0
        for start, size in stream.extents:
            if start >= 0:
                context = None if layer is Layer.FILE else stream
                yield Claim(start, start + size, layer, kind, path, position, context)
            position += size

    def _children(self, stream: Stream, path: str) -> Iterator[tuple[str, int, int]]:
        data = stream.read(self._source, 0, stream.size)
        starts = identifier_starts(data)
        for at in starts[:-1]:
            flags, count, block, partition, use = struct.unpack_from("<18xBB4xIH6xH", data, at)
            if not flags & 8 and count:
                name_at = at + 38 + use
                yield below(path, str(_NAME.value(data[name_at : name_at + count]))), block, partition

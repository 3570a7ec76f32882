"""Where the blocks of a UDF volume are (ECMA-167 part 3, UDF 2.2): anchors, descriptors, partition maps."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from qemu_viso.tree.existing.udf_entry import FileEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qemu_viso.tree.existing.medium import Medium

PRIMARY, ANCHOR, POINTER, PARTITION, LOGICAL, TERMINATOR = 1, 2, 3, 5, 6, 8
FILE_SET, ALLOCATION_EXTENT = 256, 258
BLOCK_SIZES = (2048, 512, 4096)
MAX_SEQUENCE_BYTES = 1 << 20
MAX_POINTERS = 16
MAX_EXTENTS = 2_000_000
"""Extents of all files together."""
CONTINUATION_COST = 200
"""How many extents a continuation of the descriptors counts for: about as many have room in it."""
RECORDED, CONTINUED = 0, 3
"""Types of extents (4/14.14.1.1): data, and more descriptors; between them two kinds of zeros."""
SHORT, LONG, EMBEDDED = 0, 1, 3

LONG_AD = struct.Struct("<IIH6x")
_SHORT_AD = struct.Struct("<II")


class Extent(NamedTuple):
    """A piece of a file: bytes from `offset` of the image on; zeros where `offset` is None."""

    offset: int | None
    size: int


class Map(NamedTuple):
    """A logical partition: where it starts and ends in the image, or the file that it is in (UDF 2.2.10)."""

    start: int
    stop: int
    extents: tuple[Extent, ...] = ()


class UdfVolume:
    """The blocks of a volume.

    Attributes:
        block: bytes of a logical block.
        root: block and partition of the root directory's file entry.
        label: the logical volume's identifier.

    Raises:
        RecipeError: the volume is damaged, or of a kind that is not supported.
    """

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self._maps: list[Map] = []
        self._extents = 0
        main, reserve = self._anchor()
        try:
            logical, partitions = self._sequence(main)
        except LookupError:
            try:
                logical, partitions = self._sequence(reserve)
            except LookupError:
                raise medium.error("its UDF volume has no descriptors where its anchor says") from None
        (block,) = struct.unpack_from("<I", logical, 212)
        if block != self.block:
            raise medium.unsupported(f"its UDF volume has blocks of {block} bytes on sectors of {self.block}")
        self.label = dstring(logical[84:212])
        self._read_maps(logical, partitions)
        self.root = self._root(logical)

    # --- volume structure ----------------------------------------------------------------------------------------

    def _anchor(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Length and sector of the main and of the reserve sequence (3/10.2)."""
        for self.block in BLOCK_SIZES:
            last = self.medium.size // self.block - 1
            for sector in (256, last, last - 256, 512):
                data = self._descriptor(sector, ANCHOR)
                if data:
                    fields = struct.unpack_from("<IIII", data, 16)
                    return (fields[0], fields[1]), (fields[2], fields[3])
        raise self.medium.error("its UDF volume has no anchor at sector 256 or at the end")

    def _descriptor(self, sector: int, *identifiers: int) -> bytes:
        """A descriptor of one of these kinds, or nothing where there is none (3/7.2)."""
        if sector < 0:
            return b""
        data = self.medium.peek(sector * self.block, self.block)
        if len(data) < 512 or struct.unpack_from("<H", data)[0] not in identifiers:
            return b""
        return data if (sum(data[:4]) + sum(data[5:16])) & 0xFF == data[4] else b""

    def _sequence(self, extent: tuple[int, int]) -> tuple[bytes, dict[int, bytes]]:
        """The prevailing descriptors (3/8.4.2): the logical volume, and partitions by their numbers.

        Raises:
            LookupError: they are not there.
        """
        logical, partitions = b"", dict[int, bytes]()
        for _ in range(MAX_POINTERS):
            size, sector = extent
            extent = (0, 0)
            for at in range(sector, sector + min(size, MAX_SEQUENCE_BYTES) // self.block):
                data = self._descriptor(at, PRIMARY, POINTER, PARTITION, LOGICAL, TERMINATOR, 4, 7)
                kind = struct.unpack_from("<H", data)[0] if data else TERMINATOR
                if kind == TERMINATOR:
                    break
                if kind == POINTER:
                    extent = struct.unpack_from("<II", data, 20)
                elif kind == LOGICAL and _sequence_number(data) >= _sequence_number(logical):
                    logical = data
                elif kind == PARTITION:
                    (number,) = struct.unpack_from("<H", data, 22)
                    if _sequence_number(data) >= _sequence_number(partitions.get(number, b"")):
                        partitions[number] = data
            if not extent[0]:
                break
        if not logical or not partitions:
            raise LookupError
        return logical, partitions

    def _read_maps(self, logical: bytes, partitions: dict[int, bytes]) -> None:
        """The partition maps (3/10.7): plain ones, and a metadata partition (UDF 2.2.10)."""
        size, count = struct.unpack_from("<II", logical, 264)
        at, stop = 440, min(440 + size, len(logical))
        later: list[tuple[int, int, int]] = []
        for _ in range(count):
            if at + 6 > stop or at + max(logical[at + 1], 6) > stop:
                raise self.medium.error("the partition maps of its UDF volume are cut short")
            kind, length = logical[at], logical[at + 1]
            if kind == 1:
                self._maps.append(self._plain_map(partitions, struct.unpack_from("<H", logical, at + 4)[0]))
            else:
                what = logical[at + 5 : at + 28].rstrip(b"\0").decode("latin-1")
                if what != "*UDF Metadata Partition" or length < 64:
                    raise self.medium.unsupported(
                        f"its UDF volume has a partition of type '{what}', which is not supported"
                    )
                number, metadata = struct.unpack_from("<HI", logical, at + 38)
                later.append((len(self._maps), number, metadata))
                self._maps.append(Map(0, 0))
            at += length
        for index, number, metadata in later:
            self._maps[index] = self._metadata_map(partitions, number, metadata)
        if not self._maps:
            raise self.medium.error("its UDF volume has no partitions")

    def _plain_map(self, partitions: dict[int, bytes], number: int) -> Map:
        if number not in partitions:
            raise self.medium.error(f"its UDF volume names partition {number}, which is not there")
        start, length = struct.unpack_from("<II", partitions[number], 188)
        return Map(start * self.block, (start + length) * self.block)

    def _metadata_map(self, partitions: dict[int, bytes], number: int, metadata: int) -> Map:
        plain = self._plain_map(partitions, number)
        self._maps.append(plain)
        index = len(self._maps) - 1
        entry = FileEntry(self.medium, *self.icb(metadata, index), index)
        extents = tuple(self.extents(entry))
        return Map(plain.start, plain.stop, extents)

    def _root(self, logical: bytes) -> tuple[int, int]:
        """The file set descriptor (4/14.1) tells where the root is."""
        _, block, partition = LONG_AD.unpack_from(logical, 248)
        data = self.medium.peek(self.place(block, partition), self.block)
        if len(data) < 512 or struct.unpack_from("<H", data)[0] != FILE_SET:
            raise self.medium.error("its UDF volume has no file set where its descriptors say")
        _, block, partition = LONG_AD.unpack_from(data, 400)
        return block, partition

    # --- blocks --------------------------------------------------------------------------------------------------

    def place(self, block: int, partition: int) -> int:
        """Where a logical block is, in bytes of the image."""
        if partition >= len(self._maps):
            raise self.medium.error(f"its UDF volume has no partition {partition}")
        where = self._maps[partition]
        if not where.extents:
            return where.start + block * self.block
        offset = block * self.block
        for extent in where.extents:
            if offset < extent.size and extent.offset is not None:
                return extent.offset + offset
            offset -= extent.size
        raise self.medium.error(f"block {block} is beyond the end of the UDF metadata partition")

    def icb(self, block: int, partition: int) -> tuple[bytes, int]:
        """The bytes of a file entry, and where they are."""
        at = self.place(block, partition)
        data = self.medium.peek(at, self.block)
        if len(data) < self.block:
            raise self.medium.error(f"a UDF file entry at {at:,} is beyond its end at {self.medium.size:,}")
        return data, at

    def extents(self, entry: FileEntry) -> Iterator[Extent]:
        """The pieces of a file, together as long as it is.

        Raises:
            RecipeError: there are too many, or they are too short for the file.
        """
        left = entry.size
        if entry.embedded == EMBEDDED:
            if left > len(entry.descriptors):
                raise self.medium.error(f"a UDF file of {left:,} bytes is said to be inside its file entry")
            if left:
                yield Extent(entry.at, left)
            return
        for kind, size, place in self._allocation(entry):
            if left <= 0:
                return
            size = min(size, left)
            yield Extent(place if kind == RECORDED else None, size)
            left -= size
        if left:
            raise self.medium.error(f"a UDF file of {entry.size:,} bytes has {left:,} bytes less in its extents")

    def _allocation(self, entry: FileEntry) -> Iterator[tuple[int, int, int]]:
        """Type, length and place of each allocation descriptor (4/14.14)."""
        if entry.embedded not in (SHORT, LONG):
            raise self.medium.unsupported(
                f"a UDF file has allocation descriptors of kind {entry.embedded}, which is not supported"
            )
        data = entry.descriptors
        while True:
            following: int | None = None
            for size, block, partition in self._descriptors(data, entry):
                self._extents += 1
                if self._extents > MAX_EXTENTS:
                    raise self.medium.unsupported(f"the files of its UDF volume have more than {MAX_EXTENTS:,} extents")
                if size & 0x3FFFFFFF == 0:
                    return
                kind = size >> 30
                place = self.place(block, partition) if kind in (RECORDED, CONTINUED) else 0
                if kind == CONTINUED:
                    following = place
                    break
                yield kind, size & 0x3FFFFFFF, place
            if following is None:
                return
            head = self.medium.peek(following, self.block)
            if len(head) < 24 or struct.unpack_from("<H", head)[0] != ALLOCATION_EXTENT:
                raise self.medium.error("the allocation descriptors of a UDF file lead to nowhere")
            (length,) = struct.unpack_from("<I", head, 20)
            data = head[24 : 24 + length]
            self._extents += CONTINUATION_COST

    @staticmethod
    def _descriptors(data: bytes, entry: FileEntry) -> Iterator[tuple[int, int, int]]:
        if entry.embedded == LONG:
            yield from LONG_AD.iter_unpack(data[: len(data) // 16 * 16])
        else:
            for size, block in _SHORT_AD.iter_unpack(data[: len(data) // 8 * 8]):
                yield size, block, entry.partition


def _sequence_number(descriptor: bytes) -> int:
    return struct.unpack_from("<I", descriptor, 16)[0] if descriptor else -1


def dstring(data: bytes) -> str:
    """A dstring (1/7.2.12): its last byte tells how many are used."""
    return dcharacters(data[: min(data[-1], len(data) - 1)]) if data else ""


def dcharacters(data: bytes) -> str:
    """OSTA compressed Unicode (UDF 2.1.1): bytes, or UTF-16BE."""
    if not data:
        return ""
    return data[1:].decode("utf-16-be" if data[0] in (16, 255) else "latin-1", "replace")

"""UDF volumes that are damaged in one place each: genisoimage's, with its ISO 9660 volume taken away or not."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from qemu_viso.ondisk.ecma119 import SECTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    Case = tuple[str, Callable[[Path], object]]
    Edit = tuple[int, int, bytes]

IMAGE = Path(__file__).parents[1] / "data" / "images" / "udf.iso.gz"
IMPORT = "--import-iso i.iso"
# Where things are in this image; blocks of the partition are counted from its first sector.
ANCHOR, LAST_ANCHOR, PARTITION = 256, 337, 257
LOGICAL, FILE_SET = 35, 257
ROOT, ROOT_CONTENT = 259, 260
README, README_BLOCK = 288, 31
"""The file entry of a file of seven bytes."""
EMBEDDED, KIND_2, SHORT = 3, 2, 0
MAPS_SIZE, MAPS_COUNT, MAPS = 264, 268, 440


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def changed(*edits: Edit, iso: bool = False) -> Case:
    """The image with bytes put into it: sector, offset, bytes. Without `iso`, nothing tells of ISO 9660."""

    def make(folder: Path) -> None:
        data = bytearray(gzip.decompress(IMAGE.read_bytes()))
        for sector in () if iso else range(16, 20):
            data[sector * SECTOR + 1 : sector * SECTOR + 6] = b"CDW02"
        for sector, offset, new in edits:
            data[sector * SECTOR + offset : sector * SECTOR + offset + len(new)] = new
        (folder / "i.iso").write_bytes(data)

    return IMPORT, make


def partition_map(name: bytes, number: int = 0, metadata: int = 0) -> bytes:
    """A partition map of type 2 (UDF 2.2.8, 2.2.10)."""
    identifier = b"\0" + name.ljust(31, b"\0")
    return b"\2\x40\0\0" + identifier + struct.pack("<HHI", 1, number, metadata).ljust(28, b"\0")


def only_map(partition_map: bytes, file_set_block: int = 0) -> tuple[Edit, ...]:
    return (
        (LOGICAL, MAPS_SIZE, number(len(partition_map))),
        (LOGICAL, MAPS, partition_map),
        (LOGICAL, 248 + 4, number(file_set_block)),
    )


def allocation(kind: int, descriptors: bytes = b"") -> tuple[Edit, ...]:
    """How the file tells where its data is, and what it tells."""
    return (
        (README, 34, number(kind, 2)),
        (README, 168, number(0) + number(len(descriptors))),
        (README, 176, descriptors),
    )


def continued(block: int) -> bytes:
    """A descriptor that leads to more of them (4/14.14.1.1)."""
    return number(3 << 30 | SECTOR) + number(block)


# An extent of allocation descriptors in the place of the file's data, which leads to itself (4/14.5).
ENDLESS = (335, 0, number(258, 2).ljust(20, b"\0") + number(8) + continued(335 - PARTITION))
LINK = (README, 27, b"\x0c")
NO_ANCHOR = ((ANCHOR, 0, bytes(16)), (LAST_ANCHOR, 0, bytes(16)))

UDF: dict[str, Case] = {
    "UDF: no anchor": changed(*NO_ANCHOR),
    "UDF: no anchor beside ISO 9660": changed(*NO_ANCHOR, iso=True),
    "UDF: an anchor that leads nowhere": changed((ANCHOR, 16, bytes(16))),
    "UDF: blocks of 512 bytes": changed((LOGICAL, 212, number(512))),
    "UDF: partition maps cut short": changed((LOGICAL, MAPS_SIZE, number(3))),
    "UDF: a virtual partition": changed(*only_map(partition_map(b"*UDF Virtual Partition"))),
    "UDF: no partition maps": changed((LOGICAL, MAPS_COUNT, number(0))),
    "UDF: a map of a partition that is not there": changed((LOGICAL, MAPS + 4, number(7, 2))),
    "UDF: a block in a partition that is not there": changed((LOGICAL, 248 + 8, number(3, 2))),
    "UDF: a block beyond the metadata partition": changed(
        *only_map(partition_map(b"*UDF Metadata Partition", metadata=README_BLOCK), file_set_block=9)
    ),
    "UDF: no file set": changed((FILE_SET, 0, number(0, 2))),
    "UDF: a root that is a file": changed((FILE_SET, 404, number(README_BLOCK))),
    "UDF: a root beyond the end": changed((FILE_SET, 404, number(1 << 20))),
    "UDF: a file entry that is none": changed((README, 0, number(0, 2))),
    "UDF: ICB strategy 4096": changed((README, 20, number(4096, 2))),
    "UDF: allocation descriptors that are too long": changed((README, 172, number(65535))),
    "UDF: allocation descriptors of an unknown kind": changed(*allocation(KIND_2)),
    "UDF: allocation descriptors that lead nowhere": changed(*allocation(SHORT, continued(ROOT - PARTITION))),
    "UDF: allocation descriptors that lead to themselves": changed(
        *allocation(SHORT, continued(335 - PARTITION)), ENDLESS
    ),
    "UDF: a file inside its file entry that has no room there": changed(*allocation(EMBEDDED, b"abc")),
    "UDF: a file without extents": changed(*allocation(SHORT)),
    "UDF: a file of an exabyte": changed((README, 56, number(1 << 60, 8))),
    "UDF: a link whose target is long": changed(LINK, (README, 56, number(100_000, 8))),
    "UDF: a directory of something else": changed((ROOT_CONTENT, 40, number(1, 2))),
    "UDF: a file identifier that is too long": changed((ROOT_CONTENT, 36, number(60_000, 2))),
}

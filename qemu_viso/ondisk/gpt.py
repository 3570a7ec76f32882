"""The GUID Partition Table (UEFI 2.10, section 5.3). Places are told in blocks of 512 bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

from qemu_viso.ondisk.mbr import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

BASIC_DATA = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
"""The partition type that Windows calls basic data."""
REQUIRED, READ_ONLY = 1, 1 << 60
"""Attributes (table 5-8): firmware must leave it alone; and, of basic data, that it cannot be written."""

ENTRY_SIZE = 128
ENTRIES = 128
TABLE_BLOCKS = ENTRIES * ENTRY_SIZE // BLOCK
"""5.3.1: 16 KiB are reserved for the entries at least."""
HEADER_SIZE = 92
PRIMARY_HEADER, PRIMARY_TABLE = 1, 2
PRIMARY_END = PRIMARY_TABLE + TABLE_BLOCKS
BACKUP_BLOCKS = TABLE_BLOCKS + 1
_NAME_UNITS = 36
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


def entry(kind: UUID, identifier: UUID, first: int, last: int, attributes: int, name: str) -> bytes:
    """A partition entry (5.3.3); `last` is still inside."""
    text = name.encode("utf-16-le", "replace")[: 2 * (_NAME_UNITS - 1)]
    return struct.pack("<16s16sQQQ72s", kind.bytes_le, identifier.bytes_le, first, last, attributes, text)


def table(entries: Sequence[bytes]) -> bytes:
    """All entries, used and unused."""
    return b"".join(entries).ljust(ENTRIES * ENTRY_SIZE, b"\0")


def _header(here: int, other: int, table_at: int, usable: tuple[int, int], disk: UUID, entries: bytes) -> bytes:
    """The header (5.3.2) in block `here`."""

    def pack(checksum: int) -> bytes:
        return _HEADER.pack(
            *(b"EFI PART", 0x10000, HEADER_SIZE, checksum, 0, here, other, *usable),
            *(disk.bytes_le, table_at, ENTRIES, ENTRY_SIZE, crc32(entries)),
        )

    return pack(crc32(pack(0))).ljust(BLOCK, b"\0")


def primary(blocks: int, first_usable: int, disk: UUID, entries: bytes) -> bytes:
    """Header and entries from block 1 on, of a disk that has so many blocks."""
    usable = (first_usable, last_usable(blocks))
    return _header(PRIMARY_HEADER, blocks - 1, PRIMARY_TABLE, usable, disk, entries) + entries


def backup(blocks: int, first_usable: int, disk: UUID, entries: bytes) -> bytes:
    """Entries and header that fill the last `BACKUP_BLOCKS` blocks of a disk."""
    usable = (first_usable, last_usable(blocks))
    return entries + _header(blocks - 1, PRIMARY_HEADER, blocks - BACKUP_BLOCKS, usable, disk, entries)


def last_usable(blocks: int) -> int:
    """The last block that a partition can have."""
    return blocks - BACKUP_BLOCKS - 1
